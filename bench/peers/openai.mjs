// The official SDK with its defaults: two retries, ten minutes of timeout, Node's fetch underneath.

import OpenAI from 'openai'
import { VERSION } from 'openai/version'

export const entry = 'openai'
export const version = VERSION

export async function open({ origin, apiKey }) {
  const client = new OpenAI({ apiKey, baseURL: `${origin}/v1` })
  return {
    async chat(request) {
      const answer = await client.chat.completions.create(request)
      return answer.choices[0].message.content
    },
    async close() {},
  }
}
