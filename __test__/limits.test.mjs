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

describe('Provider limits: tokens', () => {
  it('what was used is what counts, and what does not fit goes to the next', bounded, async (t) => {
    const a = await Upstream.start(t, ok('from a'))
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, inOrder(provider('a', a, { tokens_per_minute: 100 }), provider('b', b)))
    assert.equal(pool.getProviderStats().a.health.tokensRemaining, 100)
    assert.equal((await pool.chat(ask(), { max_tokens: 60 })).provider, 'a')
    assert.equal(pool.getProviderStats().a.health.tokensRemaining, 85) // 15 were used of some 61 reserved
    const response = await pool.chat(ask(), { max_tokens: 90 })
    assert.deepEqual(trail(response), ['a:rate_limited', 'b:success'])
    assert.equal((await pool.chat(ask(), { max_tokens: 50 })).provider, 'a')
    assert.equal(pool.getProviderStats().b.health.tokensRemaining, null)
  })

  it('the day has its own, and says when it is over', bounded, async (t) => {
    const a = await Upstream.start(t, ok())
    const pool = await openPool(t, [provider('a', a, { tokens_per_day: 20, day_timezone: 'Asia/Tokyo' })])
    await pool.chat(ask())
    const error = await rejection(pool.chat(ask(), { max_tokens: 10 }))
    assert.ok(error instanceof RateLimitError, error.stack)
    const midnight = Date.now() + error.resetTime * 1000 + 9 * 3_600_000 // as a clock in Tokyo shows it
    const off = midnight % 86_400_000
    assert.ok(Math.min(off, 86_400_000 - off) < 20_000, new Date(midnight).toISOString())
  })
})

describe('Provider limits: max_concurrent', () => {
  it('calls wait in line for a provider and are served by arrival', bounded, async (t) => {
    const a = await Upstream.start(t, (exchange) => ok(exchange.json.messages[0].content)(exchange))
    const pool = await openPool(t, [provider('a', a, { max_concurrent: 1 })])
    const order = []
    const calls = Array.from({ length: 50 }, async (_, index) => {
      const { content } = await pool.chat(ask(`${index}`))
      order.push(content)
    })
    await Promise.all(calls)
    const expected = calls.map((_, index) => `${index}`)
    assert.deepEqual(order, expected)
    assert.deepEqual(
      a.exchanges.map((exchange) => exchange.json.messages[0].content),
      expected,
    )
  })

  it('the pool has its own over all providers, and tells how many are left', bounded, async (t) => {
    const held = gate()
    const a = await Upstream.start(t, after(held.opened, ok()))
    const b = await Upstream.start(t, after(held.opened, ok()))
    const pool = await openPool(t, inOrder(provider('a', a, { max_concurrent: 2 }), provider('b', b)), {
      config: { routing: { max_concurrent: 3 } },
    })
    const all = together(10, () => pool.chat(ask()))
    await Promise.all([a.requests(2), b.requests(1)])
    assert.deepEqual([a.count, b.count], [2, 1])
    const { maxPermits, availablePermits, activeConnections } = pool.getStats()
    assert.deepEqual([maxPermits, availablePermits, activeConnections], [3, 0, 3])
    assert.equal(pool.getProviderStats().a.health.available, false)
    held.open()
    assert.ok((await all).every((result) => result.status === 'fulfilled'))
    assert.equal(pool.getStats().availablePermits, 3)
  })

  it('null is no limit for the pool', bounded, async (t) => {
    const held = gate()
    const a = await Upstream.start(t, after(held.opened, ok()))
    const pool = await openPool(t, [provider('a', a)], { config: { routing: { max_concurrent: null } } })
    const all = together(300, () => pool.chat(ask()))
    await a.requests(300)
    assert.deepEqual([pool.getStats().maxPermits, pool.getStats().availablePermits], [null, null])
    held.open()
    await all
  })

  it('a call that is aborted in line leaves it', bounded, async (t) => {
    const held = gate()
    const a = await Upstream.start(t, after(held.opened, ok()))
    const pool = await openPool(t, [provider('a', a, { max_concurrent: 1 })])
    const first = pool.chat(ask())
    await a.request(1)
    const controller = new AbortController()
    const second = rejection(pool.chat(ask(), { signal: controller.signal }))
    const third = pool.chat(ask())
    controller.abort(new Error('not any more'))
    assert.equal((await second).message, 'not any more')
    held.open()
    await Promise.all([first, third])
    assert.equal(a.count, 2)
  })
})

describe('Provider keys', () => {
  it('each shows how it stands, by its place and never by its value', bounded, async (t) => {
    const a = await Upstream.start(t)
    const keys = ['key-zero', 'key-one', 'key-two']
    const pool = await openPool(t, [{ ...provider('a', a), api_key: undefined, api_keys: keys }])
    a.next(status(401), status(429, undefined, { 'retry-after': '30' }), ok())
    const response = await pool.chat(ask())
    assert.deepEqual(
      response.attempts.map((line) => line.keyIndex),
      [0, 1, 2],
    )
    const stats = pool.getProviderStats().a
    assert.deepEqual(
      stats.keys.map(({ index, state, errorClass }) => [index, state, errorClass]),
      [
        [0, 'retired', 'auth'],
        [1, 'resting', 'rate_limit'],
        [2, 'ready', null],
      ],
    )
    const [retired, resting, ready] = stats.keys.map(({ retryAt }) => retryAt && (retryAt - Date.now()) / 1000)
    assert.ok(retired > 270 && retired <= 300, `retired for ${retired} s`)
    assert.ok(resting > 0 && resting <= 30, `resting for ${resting} s`)
    assert.equal(ready, null)
    assert.ok(!keys.some((key) => JSON.stringify(stats).includes(key)))
  })
})

describe('Provider health', () => {
  it('says when a spent limit frees', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a, { requests_per_minute: 1 })])
    assert.equal(pool.getProviderStats().a.health.retryAt, null)
    await pool.chat(ask())
    const { available, retryAt } = pool.getProviderStats().a.health
    assert.equal(available, false)
    assert.ok(retryAt > Date.now() + 30_000 && retryAt <= Date.now() + 60_000, `in ${retryAt - Date.now()} ms`)
  })
})
