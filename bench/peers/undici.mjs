// undici's `request()`, the function most programs call: one string out, one parse in.

import { createRequire } from 'node:module'
import { Agent, request as send, setGlobalDispatcher } from 'undici'

export const entry = 'undici'
export const version = createRequire(import.meta.url)('undici/package.json').version

export async function open({ origin, path, apiKey, concurrency }) {
  const agent = new Agent({ connections: concurrency })
  setGlobalDispatcher(agent)
  const url = `${origin}${path}`
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${apiKey}` }
  return {
    async chat(request) {
      const { statusCode, body } = await send(url, { method: 'POST', headers, body: JSON.stringify(request) })
      if (statusCode !== 200) throw new Error(`status ${statusCode}: ${await body.text()}`)
      const answer = await body.json()
      return answer.choices[0].message.content
    },
    close: () => agent.close(),
  }
}
