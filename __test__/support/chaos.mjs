// An upstream that does anything at all, drawn from a seeded source. Whatever it answers well belongs to the question that
// was asked, so that an answer that is lost, mixed up or made up is seen.

import { setTimeout as pause } from 'node:timers/promises'
import { chunk, completion, frame } from './upstream.mjs'

/** The number of the question in a request. */
const numberOf = (exchange) => Number(/question (\d+)/.exec(exchange.text)?.[1] ?? Number.NaN)

export const question = (number) => [{ role: 'user', content: `question ${number}` }]

/** What a good answer to it says, in pieces. */
export const pieces = (number) => ['answer ', `to ${number}`, '.']
export const answerTo = (number) => pieces(number).join('')

const error = (code) => ({ error: { message: `chaos says ${code}`, type: 'some_error' } })

/** Answers well. */
export const well = async (exchange) => {
  const number = numberOf(exchange)
  if (!exchange.json.stream) return exchange.reply(200, completion(answerTo(number)))
  exchange.head(200, { 'content-type': 'text/event-stream' })
  for (const piece of pieces(number)) await exchange.write(frame(chunk({ content: piece })))
  await exchange.write(frame(chunk({}, { finish: 'stop' })))
  await exchange.write('data: [DONE]\n\n')
  return exchange.end()
}

const slow = (random) => async (exchange) => {
  await pause(1 + random() * 30)
  if (!exchange.socket.destroyed) await well(exchange)
}

/** A good beginning without an end. */
const cut = async (exchange) => {
  const number = numberOf(exchange)
  const stream = exchange.json.stream
  exchange.head(200, stream ? { 'content-type': 'text/event-stream' } : { 'content-type': 'application/json' })
  await exchange.write(
    stream ? frame(chunk({ content: pieces(number)[0] })) : JSON.stringify(completion(answerTo(number))).slice(0, 90),
  )
  exchange.cut()
}

/** The same, and then silence. */
const stall = async (exchange) => {
  exchange.head(200, { 'content-type': exchange.json.stream ? 'text/event-stream' : 'application/json' })
  await exchange.write(exchange.json.stream ? ': still here\n\n' : '{"id":')
}

const errorInside = async (exchange) => {
  exchange.head(200, { 'content-type': exchange.json.stream ? 'text/event-stream' : 'application/json' })
  await exchange.write(exchange.json.stream ? frame(error('overloaded')) : JSON.stringify(error('overloaded')))
  await exchange.end()
}

const garbage = (random) => (exchange) => {
  const bytes = Buffer.from(Array.from({ length: 1 + Math.floor(random() * 300) }, () => Math.floor(random() * 256)))
  const bodies = ['', '<html>busy</html>', '{"choices":[]}', '[1,2', '{}', 'data: {"choices"\n\n', bytes]
  return exchange.reply(200, bodies[Math.floor(random() * bodies.length)])
}

/** Draws what becomes of each request: well in about every second case. */
export function wild(random) {
  const statuses = [500, 502, 503, 504, 529, 408, 500]
  const acts = [
    [45, () => well],
    [10, () => slow(random)],
    [12, () => (exchange) => exchange.reply(statuses[Math.floor(random() * statuses.length)], error('no'))],
    [8, () => (exchange) => exchange.reply(429, error(429), { 'retry-after-ms': `${Math.floor(random() * 40)}` })],
    [5, () => (exchange) => exchange.reset()],
    [4, () => (exchange) => exchange.cut()],
    [6, () => cut],
    [5, () => errorInside],
    [4, () => garbage(random)],
    [1, () => stall],
  ]
  const all = acts.reduce((sum, [share]) => sum + share, 0)
  return (exchange) => {
    let drawn = random() * all
    const act = acts.find(([share]) => {
      drawn -= share
      return drawn < 0
    })
    return act[1]()(exchange)
  }
}

/** Stalls end soon, breakers open for a moment only: ten minutes of bad luck in ten seconds. */
export const impatient = {
  timeout: 250,
  first_content_timeout_ms: 250,
  content_idle_timeout_ms: 250,
  circuit_breaker_timeout: 20,
  max_concurrent: 12,
}

/** Of the pool. */
export const routing = { max_concurrent: 40, breaker: { max_open_ms: 40 } }

/** Runs `each(0 … count - 1)`, so many at a time. */
export async function crowd(count, width, each) {
  let next = 0
  const worker = async () => {
    while (next < count) await each(next++)
  }
  await Promise.all(Array.from({ length: width }, worker))
}
