// Limits bound dispatch: what is reserved before sending is what is sent.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { LLMPoolError, RateLimitError } from '../index.mjs'
import { Upstream, after, ok, status } from './support/upstream.mjs'
import { ask, inOrder, openPool, provider, record, rejection, trail } from './support/pool.mjs'
import { bounded, gate } from './support/wait.mjs'

const together = (count, call) => Promise.allSettled(Array.from({ length: count }, (_, index) => call(index)))
const day = () => new Date().toISOString().slice(0, 10)

describe('Provider limits: requests_per_minute', () => {
  it('200 concurrent calls against 50 a minute send exactly 50', bounded, async (t) => {
    const held = gate()
    const a = await Upstream.start(t, after(held.opened, ok()))
    const pool = await openPool(t, [provider('a', a, { requests_per_minute: 50 })])
    const all = together(200, () => pool.chat(ask()))
    await a.requests(50)
    held.open()
    const results = await all

    const answers = results.filter((result) => result.status === 'fulfilled')
    const refusals = results.filter((result) => result.status === 'rejected').map((result) => result.reason)
    assert.equal(answers.length, 50)
    assert.equal(refusals.length, 150)
    for (const error of refusals) {
      assert.ok(error instanceof RateLimitError, error.stack)
      assert.equal(error.code, 'ERR_LLMPOOL_RATE_LIMITED')
      assert.ok(error.resetTime > 30 && error.resetTime <= 60, `resetTime in seconds, got ${error.resetTime}`)
      assert.ok(error.attempts.every((line) => line.outcome === 'rate_limited'))
    }
    assert.equal(a.count, 50)
    const { health, usage } = pool.getProviderStats().a
    assert.equal(health.requestsRemaining, 0)
    assert.equal(usage.totalRequests, 50)
    assert.equal(usage.inFlight, 0)
    await rejection(pool.chat(ask()))
    assert.equal(a.count, 50)
  })

  it('what is over the limit of the first goes to the second', bounded, async (t) => {
    const a = await Upstream.start(t, ok('from a'))
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, inOrder(provider('a', a, { requests_per_minute: 50 }), provider('b', b)))
    const results = await together(200, () => pool.chat(ask()))
    assert.ok(results.every((result) => result.status === 'fulfilled'))
    assert.deepEqual([a.count, b.count], [50, 150])
    const late = results.map((result) => result.value).filter((answer) => answer.provider === 'b')
    assert.deepEqual(trail(late[0]), ['a:rate_limited', 'b:success'])
  })

  it('retries are requests too', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = await openPool(t, [provider('a', a, { requests_per_minute: 2 })], { maxRetries: 3 })
    await rejection(pool.chat(ask()))
    assert.equal(a.count, 2)
  })

  it('failed requests count as sent', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = await openPool(t, [provider('a', a, { requests_per_minute: 3 })], { maxRetries: 0 })
    await together(10, () => pool.chat(ask()))
    assert.equal(a.count, 3)
  })

  it('a refused request of the caller takes no place', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a, { requests_per_minute: 1 })])
    for (let call = 0; call < 5; call++) await rejection(pool.chat({ messages: [] }))
    assert.equal(pool.getProviderStats().a.health.requestsRemaining, 1)
    assert.equal((await pool.chat(ask())).content, 'pong')
  })

  it('says that it was reached', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a, { requests_per_minute: 1 })])
    const told = record(pool, 'rateLimited')
    await pool.chat(ask())
    await rejection(pool.chat(ask()))
    assert.ok(told.length >= 1)
    const [, event] = told[0]
    assert.equal(event.provider, 'a')
    assert.equal(event.kind, 'requests_per_minute')
    assert.ok(event.resetAt > Date.now() && event.resetAt <= Date.now() + 60_000)
  })
})

describe('Provider limits: requests_per_day', () => {
  it('holds whatever the minute allows, until the UTC day ends', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a, { requests_per_minute: 100, requests_per_day: 3 })], {
      config: { routing: { queue_timeout_ms: 0 } },
    })
    const today = day()
    const results = await together(10, () => pool.chat(ask()))
    if (day() !== today) return t.skip('the day changed in the middle')
    assert.equal(results.filter((result) => result.status === 'fulfilled').length, 3)
    assert.equal(a.count, 3)
    const error = await rejection(pool.chat(ask()))
    assert.ok(error instanceof RateLimitError, error.stack)
    const midnight = (Date.parse(`${today}T00:00:00Z`) + 86_400_000 - Date.now()) / 1000
    assert.ok(Math.abs(error.resetTime - midnight) < 5, `resetTime ${error.resetTime}, midnight in ${midnight}`)
    const { health } = pool.getProviderStats().a
    assert.equal(health.dailyRequestsRemaining, 0)
    assert.equal(health.requestsRemaining, 97)
  })
})

describe('Provider limits: zero and none', () => {
  for (const limit of ['requests_per_minute', 'requests_per_day']) {
    it(`${limit} 0 means never used`, bounded, async (t) => {
      const a = await Upstream.start(t)
      const b = await Upstream.start(t, ok('from b'))
      const pool = await openPool(t, inOrder(provider('a', a, { [limit]: 0 }), provider('b', b)))
      assert.equal((await pool.chat(ask())).content, 'from b')
      const alone = await openPool(t, [provider('a', a, { [limit]: 0 })])
      assert.ok((await rejection(alone.chat(ask()))) instanceof LLMPoolError)
      assert.equal(a.count, 0)
    })
  }

  it('no limit is null, not zero', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a, { requests_per_minute: null })])
    await together(120, () => pool.chat(ask()))
    assert.equal(a.count, 120)
    const { health, usage } = pool.getProviderStats().a
    assert.equal(health.requestsRemaining, null)
    assert.equal(health.dailyRequestsRemaining, null)
    assert.equal(usage.requestsRemaining, null)
  })
})

describe('Provider limits: waiting', () => {
  it('a short rest is waited for by a call that has nobody else', bounded, async (t) => {
    const a = await Upstream.start(t)
    a.next(status(429, undefined, { 'retry-after-ms': '60' }))
    const pool = await openPool(t, [provider('a', a)], { maxRetries: 0 })
    await rejection(pool.chat(ask()))
    const response = await pool.chat(ask()) // another call: its first visit, after the rest of the key
    assert.equal(response.content, 'pong')
    assert.ok(a.exchanges[1].at - a.exchanges[0].at >= 58)
  })

  it('queue_timeout_ms 0 never waits', bounded, async (t) => {
    const a = await Upstream.start(t)
    a.next(status(429, undefined, { 'retry-after': '5' }))
    const pool = await openPool(t, [provider('a', a)], { config: { routing: { queue_timeout_ms: 0 } } })
    assert.ok((await rejection(pool.chat(ask()))) instanceof RateLimitError)
    assert.ok((await rejection(pool.chat(ask()))) instanceof RateLimitError)
    assert.equal(a.count, 1)
  })

  it('a wait that would pass the deadline is refused at once', bounded, async (t) => {
    const a = await Upstream.start(t)
    a.next(status(429, undefined, { 'retry-after': '9' }))
    const pool = await openPool(t, [provider('a', a)])
    const error = await rejection(pool.chat(ask(), { deadline: 8000 }))
    assert.ok(error instanceof RateLimitError, error.stack)
    assert.ok(error.resetTime > 5 && error.resetTime <= 9)
    assert.equal(a.count, 1)
  })
})
