// Everything goes wrong at once, from a seed: no answer is lost, none comes twice, none belongs to another call, and
// whoever fails has asked everybody.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { LLMPoolError, StreamInterruptedError } from '../index.mjs'
import { answerTo, crowd, impatient, pieces, question, routing, well, wild } from './support/chaos.mjs'
import { Upstream } from './support/upstream.mjs'
import { drain, inOrder, openPool, provider } from './support/pool.mjs'
import { roomy, seeded, until } from './support/wait.mjs'

const NAMES = ['a', 'b', 'c', 'd', 'e']

/** Five upstreams and a pool over them; the last one does what it is told. */
async function play(t, seed, last) {
  const upstreams = []
  for (const [index, _] of NAMES.entries()) {
    const random = seeded(seed * 100 + index)
    upstreams.push(await Upstream.start(t, index === NAMES.length - 1 && last ? last : wild(random)))
  }
  const unhandled = []
  const note = (reason) => unhandled.push(reason)
  process.on('unhandledRejection', note)
  t.after(() => process.off('unhandledRejection', note))
  // Two of a priority, so that ties are part of the play.
  const providers = inOrder(...NAMES.map((name, index) => provider(name, upstreams[index], impatient)))
  // A machine under load must not look like a stall of the one that is well.
  if (last)
    providers[NAMES.length - 1] = { ...provider('e', upstreams[NAMES.length - 1], { max_concurrent: 12 }), priority: 5 }
  providers[1].priority = 1
  const pool = await openPool(t, providers, { deadline: 20_000, config: { routing: { seed, ...routing } } })
  return { pool, upstreams, unhandled }
}

/** One call, whole or streamed; how it ended. */
async function call(pool, number) {
  const requestId = `call-${number}`
  if (number % 3 > 0) {
    try {
      const response = await pool.chat(question(number), { requestId })
      return { text: response.content, response }
    } catch (error) {
      return { error }
    }
  }
  const stream = pool.stream(question(number), { requestId })
  const { text, error } = await drain(stream)
  return error ? { text, error } : { text, response: await stream.response() }
}

/** An answer is the call's own and whole; a failure says that everybody was asked, or why not. */
function check(number, { text, response, error }) {
  if (response) {
    assert.equal(response.requestId, `call-${number}`)
    assert.equal(response.content, answerTo(number))
    assert.equal(text, answerTo(number))
    const answered = response.attempts.filter((line) => line.outcome === 'success')
    assert.deepEqual(
      answered.map((line) => line.provider),
      [response.provider],
    )
    return 'answered'
  }
  assert.ok(error instanceof LLMPoolError, error?.stack)
  assert.equal(error.requestId, `call-${number}`)
  if (error instanceof StreamInterruptedError) {
    // What had come is the beginning of this call's answer; after it nobody else may go on.
    assert.equal(text, pieces(number)[0])
    return 'interrupted'
  }
  assert.equal(text ?? '', '')
  const met = new Set(error.attempts.map((line) => line.provider))
  assert.deepEqual([...met].sort(), NAMES, `${error}: ${JSON.stringify(error.attempts)}`)
  return 'failed'
}

async function settle({ pool, unhandled }, counts, calls) {
  assert.equal(counts.answered + counts.interrupted + counts.failed, calls, 'each call ended once')
  await until(() => pool.getStats().activeConnections === 0)
  const stats = pool.getStats()
  assert.equal(stats.totalRequests, calls)
  assert.equal(stats.successfulRequests, counts.answered)
  assert.equal(stats.failedRequests, counts.interrupted + counts.failed)
  assert.equal(stats.availablePermits, stats.maxPermits)
  assert.deepEqual(unhandled, [])
}

describe('Chaos', () => {
  it('2,500 calls to four that misbehave and one that is well: every one that can be answered is', roomy, async (t) => {
    const played = await play(t, 1, well)
    const counts = { answered: 0, interrupted: 0, failed: 0 }
    const told = new Map()
    played.pool.on('requestSuccess', ({ requestId }) => told.set(requestId, (told.get(requestId) ?? 0) + 1))
    await crowd(2500, 48, async (number) => {
      counts[check(number, await call(played.pool, number))]++
    })
    await settle(played, counts, 2500)
    assert.equal(counts.failed, 0)
    assert.ok(counts.answered > 2300, JSON.stringify(counts))
    assert.equal(told.size, counts.answered)
    assert.ok([...told.values()].every((times) => times === 1))
  })

  it('2,500 calls to five that misbehave: who fails has asked them all', roomy, async (t) => {
    const played = await play(t, 2)
    const counts = { answered: 0, interrupted: 0, failed: 0 }
    await crowd(2500, 48, async (number) => {
      counts[check(number, await call(played.pool, number))]++
    })
    await settle(played, counts, 2500)
    assert.ok(counts.answered > 2000, JSON.stringify(counts))
  })
})
