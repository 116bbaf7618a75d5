// The AI SDK of Vercel with its provider for OpenAI-shaped upstreams.

import { createRequire } from 'node:module'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, streamText } from 'ai'

export const entry = 'ai'
export const version = createRequire(import.meta.url)('ai/package.json').version

export async function open({ origins, row, apiKey }) {
  const [main, second] = origins.map((origin) =>
    createOpenAICompatible({ name: 'bench', apiKey, baseURL: `${origin}/v1` }),
  )
  const maxRetries = row.needs === 'failover' ? 0 : 2
  const ask = async (provider, { model, messages }) =>
    (await generateText({ model: provider(model), ...split(messages), maxRetries })).text
  return {
    chat: second ? (request) => ask(main, request).catch(() => ask(second, request)) : (request) => ask(main, request),
    async stream({ model, messages }, first) {
      let text = ''
      for await (const delta of streamText({ model: main(model), ...split(messages) }).textStream) {
        if (text === '') first()
        text += delta
      }
      return text
    },
    async close() {},
  }
}

const split = ([system, ...messages]) => ({ system: system.content, messages })
