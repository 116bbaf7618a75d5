// The official SDK with its defaults: two retries, ten minutes of timeout, Node's fetch underneath. Where a second upstream
// takes over, the first is tried once.

import OpenAI from 'openai'
import { VERSION } from 'openai/version'

export const entry = 'openai'
export const version = VERSION

export async function open({ origins, row, apiKey }) {
  const maxRetries = row.needs === 'failover' ? 0 : 2
  const [main, second] = origins.map((origin) => new OpenAI({ apiKey, baseURL: `${origin}/v1`, maxRetries }))
  const ask = async (client, request) => (await client.chat.completions.create(request)).choices[0].message.content
  return {
    chat: second ? (request) => ask(main, request).catch(() => ask(second, request)) : (request) => ask(main, request),
    async stream(request, first) {
      let text = ''
      for await (const chunk of await main.chat.completions.create({ ...request, stream: true })) {
        const delta = chunk.choices[0]?.delta.content
        if (!delta) continue
        if (text === '') first()
        text += delta
      }
      return text
    },
    async close() {},
  }
}
