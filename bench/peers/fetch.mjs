// The fetch that comes with Node.

import { textOfEvents } from './events.mjs'

/** Nothing to import: Node loads it with the first call. */
export const entry = null
export const version = `built in (undici ${process.versions.undici})`

export async function open({ origins, row, path, apiKey }) {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${apiKey}` }
  const post = async (origin, request) => {
    const response = await fetch(origin + path, { method: 'POST', headers, body: JSON.stringify(request) })
    if (!response.ok) throw new Error(`status ${response.status}: ${await response.text()}`)
    return response
  }
  const ask = async (origin, request) => {
    const answer = await (await post(origin, request)).json()
    return answer.choices[0].message.content
  }
  return {
    chat:
      row.needs === 'failover'
        ? (request) => ask(origins[0], request).catch(() => ask(origins[1], request))
        : (request) => ask(origins[0], request),
    stream: async (request, first) => textOfEvents((await post(origins[0], { ...request, stream: true })).body, first),
    async close() {},
  }
}
