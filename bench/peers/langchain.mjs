// LangChain's client for OpenAI, made once as its guides do.

import { createRequire } from 'node:module'
import { ChatOpenAI } from '@langchain/openai'

export const entry = '@langchain/openai'
export const version = createRequire(import.meta.url)('@langchain/openai/package.json').version

export async function open({ origins, row, apiKey }) {
  const maxRetries = row.needs === 'failover' ? 0 : 2
  const [main, second] = origins.map(
    (origin) =>
      new ChatOpenAI({ model: 'gpt-4o-mini', apiKey, maxRetries, configuration: { baseURL: `${origin}/v1` } }),
  )
  const runnable = second ? main.withFallbacks([second]) : main
  return {
    chat: async ({ messages }) => (await runnable.invoke(messages)).content,
    async stream({ messages }, first) {
      let text = ''
      for await (const { content } of await main.stream(messages)) {
        if (!content) continue
        if (text === '') first()
        text += content
      }
      return text
    },
    async close() {},
  }
}
