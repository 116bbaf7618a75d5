// undici bound to one origin, as lean as it can be written: a pool, one string out, one parse in.

import { createRequire } from 'node:module'
import { Pool } from 'undici'

export const entry = 'undici'
export const version = createRequire(import.meta.url)('undici/package.json').version

export async function open({ origin, path, apiKey, concurrency }) {
  const pool = new Pool(origin, { connections: concurrency })
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${apiKey}` }
  return {
    async chat(request) {
      const { statusCode, body } = await pool.request({ path, method: 'POST', headers, body: JSON.stringify(request) })
      if (statusCode !== 200) throw new Error(`status ${statusCode}: ${await body.text()}`)
      const answer = await body.json()
      return answer.choices[0].message.content
    },
    close: () => pool.close(),
  }
}
