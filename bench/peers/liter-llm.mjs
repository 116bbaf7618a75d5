// liter-llm, whose core is Rust behind napi too. Its binary wants a newer glibc than many systems have; where it does not
// load, the bench says so and goes on.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

const require = createRequire(import.meta.url)

export const entry = '@xberg-io/liter-llm'
/** Its manifest is not among what it exports. */
const MANIFEST = path.join(path.dirname(require.resolve('@xberg-io/liter-llm')), 'package.json')
export const version = JSON.parse(readFileSync(MANIFEST, 'utf8')).version

export async function open({ origin, apiKey }) {
  const { createClient } = require('@xberg-io/liter-llm')
  const client = createClient(apiKey, `${origin}/v1`)
  return {
    chat: async (request) => (await client.chat(request)).choices[0].message.content,
    async stream(request, first) {
      let text = ''
      for await (const chunk of await client.chatStream(request)) {
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
