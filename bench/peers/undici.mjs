// undici's `request()`, the function most programs call: one string out, one parse in. What a case asks for beyond that is
// written by hand here, as short as it can be.

import { createRequire } from 'node:module'
import { Agent, request as send, setGlobalDispatcher } from 'undici'
import { textOfEvents } from './events.mjs'

export const entry = 'undici'
export const version = createRequire(import.meta.url)('undici/package.json').version

export async function open({ origins, row, path, apiKey, concurrency }) {
  const agent = new Agent({ connections: concurrency })
  setGlobalDispatcher(agent)
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${apiKey}` }
  const ask = async (origin, request) => {
    const { statusCode, body } = await send(`${origin}${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(request),
    })
    if (statusCode !== 200) throw new Error(`status ${statusCode}: ${await body.text()}`)
    const answer = await body.json()
    return answer.choices[0].message.content
  }
  const [main, ...others] = origins
  const ways = {
    failover: (request) => ask(main, request).catch(() => ask(others[0], request)),
    async votes(request) {
      const answers = await Promise.all(origins.map((origin) => ask(origin, request)))
      return answers.find((answer, at) => answers.indexOf(answer) !== at) ?? answers[0]
    },
  }
  return {
    chat: ways[row.needs] ?? ((request) => ask(main, request)),
    async stream(request, first) {
      const body = JSON.stringify({ ...request, stream: true })
      const answer = await send(`${main}${path}`, { method: 'POST', headers, body })
      if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}: ${await answer.body.text()}`)
      return textOfEvents(answer.body, first)
    },
    close: () => agent.close(),
  }
}
