// The official SDK of Anthropic with its defaults, against the same upstream's other API.

import Anthropic from '@anthropic-ai/sdk'
import { VERSION } from '@anthropic-ai/sdk/version'

export const entry = '@anthropic-ai/sdk'
export const version = VERSION

const MAX_TOKENS = 1024

export async function open({ origins, row, apiKey }) {
  const maxRetries = row.needs === 'failover' ? 0 : 2
  const [main, second] = origins.map((origin) => new Anthropic({ apiKey, baseURL: origin, maxRetries }))
  const ask = async (client, request) => (await client.messages.create(translate(request))).content[0].text
  return {
    chat: second ? (request) => ask(main, request).catch(() => ask(second, request)) : (request) => ask(main, request),
    async stream(request, first) {
      let text = ''
      for await (const event of await main.messages.create({ ...translate(request), stream: true })) {
        if (event.type !== 'content_block_delta') continue
        if (text === '') first()
        text += event.delta.text
      }
      return text
    },
    async close() {},
  }
}

/** The same work in the shape of this API. */
function translate({ model, messages: [system, user] }) {
  return { model, max_tokens: MAX_TOKENS, system: system.content, messages: [user] }
}
