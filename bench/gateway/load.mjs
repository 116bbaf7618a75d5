// An open loop: request after request at its time, whether or not earlier ones were answered. A latency counts from
// the time at which its request was due, so that a server which stalls is not spared the requests that it holds up.

import { setTimeout as wait } from 'node:timers/promises'
import { Agent } from 'undici'
import { API_KEY, contentOf, PATH, requestsOf } from '../exchange.mjs'

const { origin, requests, rate } = JSON.parse(process.argv[2])

// As many connections as there are requests under way: nothing waits on this side.
const agent = new Agent({ connections: null, pipelining: 1 })
const headers = { 'content-type': 'application/json', authorization: `Bearer ${API_KEY}` }

process.on('disconnect', () => process.exit())

const requestOf = requestsOf({})
const CONTENT = contentOf({})

const latencies = new Float64Array(requests)
const failures = { count: 0, first: null }
let answered = 0

async function one(number, due) {
  try {
    const body = JSON.stringify(requestOf(number))
    const answer = await agent.request({ origin, path: PATH, method: 'POST', headers, body })
    const text = await answer.body.text()
    if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}: ${text}`)
    if (JSON.parse(text).choices[0].message.content !== CONTENT) throw new Error(`wrong content: ${text.slice(0, 80)}`)
    latencies[answered++] = performance.now() - due
  } catch (error) {
    failures.first ??= String(error)
    failures.count++
  }
}

const began = performance.now()
const dueAt = (number) => began + (number * 1000) / rate
const running = []
for (let number = 0; number < requests; number++) {
  const early = dueAt(number) - performance.now()
  if (early > 0) await wait(early)
  if (number === requests >> 1) process.send({ type: 'half' })
  running.push(one(number, dueAt(number)))
}
await Promise.all(running)

const sorted = latencies.subarray(0, answered).sort()
const quantile = (share) => sorted[Math.min(answered - 1, Math.floor(answered * share))] ?? null
process.send({
  type: 'result',
  seconds: (performance.now() - began) / 1000,
  failures,
  latency: { p50: quantile(0.5), p99: quantile(0.99), max: quantile(1) },
})
await agent.close()
process.disconnect()
