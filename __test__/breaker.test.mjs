// The circuit breaker: hard failures open it, nothing else does, and an open one is neither bypassed nor waited for.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { NoProviderError } from '../index.mjs'
import { Upstream, after, hang, ok, resetBeforeBytes, status } from './support/upstream.mjs'
import { ask, inOrder, openPool, provider, record, rejection, trail } from './support/pool.mjs'
import { bounded, gate, roomy, settled, until } from './support/wait.mjs'

const stateOf = (pool, name = 'a') => pool.getProviderStats()[name].health.circuitState
const fail = async (pool, times, options) => {
  for (let call = 0; call < times; call++) await rejection(pool.chat(ask(), options))
}
const oneTry = { maxRetries: 0 }

describe('Provider breaker', () => {
  for (const threshold of [1, 3, 5]) {
    it(`opens after exactly ${threshold} consecutive hard failure(s)`, bounded, async (t) => {
      const a = await Upstream.start(t, status(500))
      const pool = await openPool(
        t,
        [provider('a', a, { circuit_breaker_threshold: threshold, circuit_breaker_timeout: 60_000 })],
        oneTry,
      )
      const told = record(pool, 'circuitOpen')
      await fail(pool, threshold - 1)
      assert.equal(stateOf(pool), 'closed')
      assert.equal(told.length, 0)
      await fail(pool, 1)
      assert.equal(stateOf(pool), 'open')
      assert.equal(a.count, threshold)

      const { health, performance: numbers } = pool.getProviderStats().a
      assert.equal(health.circuitBreakerOpen, true)
      assert.equal(numbers.circuitBreakerOpen, true)
      assert.equal(health.available, false)
      assert.ok(Math.abs(health.retryAt - Date.now() - 60_000) < 20_000, `retryAt ${health.retryAt}`)
      assert.equal(told.length, 1)
      const [, event] = told[0]
      assert.equal(event.provider, 'a')
      assert.equal(typeof event.reason, 'string')
      assert.ok(event.retryAt > Date.now())
      const pooled = pool.getPoolHealth()
      assert.deepEqual(
        [pooled.healthy, pooled.totalProviders, pooled.availableProviders, pooled.bestProvider],
        [false, 1, 0, null],
      )
      assert.equal(pool.getStats().circuitBreakerTrips, 1)
    })
  }

  it('opens on connections that break, too', bounded, async (t) => {
    const a = await Upstream.start(t, resetBeforeBytes())
    const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 2 })], oneTry)
    await fail(pool, 2)
    assert.equal(stateOf(pool), 'open')
  })

  it('opens on timeouts, too', bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 2, timeout: 30 })], oneTry)
    await fail(pool, 2)
    assert.equal(stateOf(pool), 'open')
  })

  it('a success in between starts the count again', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 3 })], oneTry)
    for (let round = 0; round < 2; round++) {
      await fail(pool, 2)
      a.next(ok())
      await pool.chat(ask())
    }
    assert.equal(stateOf(pool), 'closed')
  })

  it('opens when half of ten calls failed, though never two in a row', bounded, async (t) => {
    const a = await Upstream.start(t)
    a.next(...Array.from({ length: 10 }, (_, index) => (index % 2 ? status(500) : ok())))
    const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 100 })], oneTry)
    for (let call = 0; call < 9; call++) await pool.chat(ask()).catch(() => {})
    assert.equal(stateOf(pool), 'closed')
    await pool.chat(ask()).catch(() => {})
    assert.equal(stateOf(pool), 'open')
  })

  it('while open its provider is skipped and the next one asked', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, inOrder(provider('a', a, { circuit_breaker_threshold: 2 }), provider('b', b)))
    for (let call = 0; call < 2; call++) await pool.chat(ask())
    const response = await pool.chat(ask())
    assert.deepEqual(trail(response), ['a:breaker_open', 'b:success'])
    assert.deepEqual([a.count, b.count], [2, 3])
    assert.equal(pool.getPoolHealth().bestProvider, 'b')
    assert.equal(pool.getPoolHealth().healthy, true)
  })

  it('with all of them open a call sends nothing and says why', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const b = await Upstream.start(t, status(502))
    const open = { circuit_breaker_threshold: 1 }
    const pool = await openPool(t, inOrder(provider('a', a, open), provider('b', b, open)))
    await rejection(pool.chat(ask()))
    const sent = [a.count, b.count]
    const connections = [a.connections.length, b.connections.length]
    for (let call = 0; call < 20; call++) {
      const error = await rejection(pool.chat(ask()))
      assert.ok(error instanceof NoProviderError, error.stack)
      assert.equal(error.code, 'ERR_LLMPOOL_NO_PROVIDER')
      assert.deepEqual(error.reasons.map((each) => each.provider).sort(), ['a', 'b'])
      assert.ok(
        error.reasons.every((each) => /open|circuit|breaker/i.test(each.reason)),
        JSON.stringify(error.reasons),
      )
      assert.ok(error.attempts.every((line) => line.outcome === 'breaker_open' && line.waitedMs < 5))
    }
    assert.deepEqual([a.count, b.count], sent)
    assert.deepEqual([a.connections.length, b.connections.length], connections)
  })

  it('an open one is not waited for, even when it would close in time', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 1, circuit_breaker_timeout: 5000 })])
    await rejection(pool.chat(ask()))
    assert.equal(a.count, 1)
    const error = await rejection(pool.chat(ask()))
    assert.ok(error instanceof NoProviderError, error.stack)
    assert.equal(a.count, 1)
  })
})

describe('Provider breaker: what never opens it', () => {
  const innocent = {
    "the caller's fault (400)": status(400, { error: { message: 'bad field', type: 'invalid_request_error' } }),
    "the caller's fault (422)": status(422),
    'too large a prompt': status(400, { error: { message: 'too long', code: 'context_length_exceeded' } }),
    'a rate signal (429)': status(429, undefined, { 'retry-after-ms': '1' }),
  }
  for (const [what, behaviour] of Object.entries(innocent)) {
    it(what, bounded, async (t) => {
      const a = await Upstream.start(t, behaviour)
      const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 2 })], oneTry)
      const told = record(pool, 'circuitOpen')
      await fail(pool, 12)
      assert.equal(a.count, 12)
      assert.equal(stateOf(pool), 'closed')
      assert.equal(told.length, 0)
      await until(() => pool.getPoolHealth().healthy) // a rest of 1 ms may still run
      a.always(ok('fine after all'))
      assert.equal((await pool.chat(ask())).content, 'fine after all')
    })
  }

  it('refused keys: they rest, the provider is not broken', bounded, async (t) => {
    const a = await Upstream.start(t, status(401))
    const keys = Array.from({ length: 8 }, (_, index) => `key-${index}`)
    const pool = await openPool(
      t,
      [{ ...provider('a', a, { circuit_breaker_threshold: 2 }), api_key: undefined, api_keys: keys }],
      oneTry,
    )
    await rejection(pool.chat(ask()))
    assert.equal(a.count, 8)
    assert.equal(stateOf(pool), 'closed')
  })

  it('calls that were aborted', bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 2 })], oneTry)
    for (let call = 1; call <= 6; call++) {
      const controller = new AbortController()
      const running = rejection(pool.chat(ask(), { signal: controller.signal }))
      await a.request(call)
      controller.abort()
      await running
    }
    assert.equal(stateOf(pool), 'closed')
  })

  it('threshold 0: there is no breaker', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 0 })], oneTry)
    await fail(pool, 25)
    assert.equal(a.count, 25)
    assert.equal(stateOf(pool), 'closed')
  })

  it('enable_circuit_breaker: false', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 1 })], {
      ...oneTry,
      config: { routing: { enable_circuit_breaker: false } },
    })
    await fail(pool, 15)
    assert.equal(a.count, 15)
  })
})

describe('Provider breaker: the way back', () => {
  /** A pool whose provider `a` has just come to the end of its open period. */
  async function halfOpen(t, a, others = [], more = {}) {
    const pool = await openPool(
      t,
      inOrder(provider('a', a, { circuit_breaker_threshold: 1, circuit_breaker_timeout: 1, ...more }), ...others),
      oneTry,
    )
    a.next(status(500))
    await pool.chat(ask()).catch(() => {})
    await until(() => stateOf(pool) === 'half-open')
    return pool
  }

  it('admits one probe however many calls wait, and closes when it succeeds', bounded, async (t) => {
    const held = gate()
    const a = await Upstream.start(t, after(held.opened, ok('from a')))
    const b = await Upstream.start(t, ok('from b'))
    const pool = await halfOpen(t, a, [provider('b', b)])
    const told = record(pool, 'circuitHalfOpen', 'circuitClose')
    const probed = a.count
    const calls = Array.from({ length: 30 }, () => pool.chat(ask()))
    await b.requests(b.count + 29)
    assert.equal(a.count, probed + 1)
    held.open()
    const answers = await Promise.all(calls)
    assert.equal(answers.filter((answer) => answer.provider === 'a').length, 1)
    assert.equal(a.count, probed + 1)
    assert.equal(stateOf(pool), 'closed')
    assert.deepEqual(
      told.map(([name, event]) => `${name} ${event.provider}`),
      ['circuitHalfOpen a', 'circuitClose a'],
    )
    assert.equal((await pool.chat(ask())).provider, 'a')
  })

  it('1,000 callers of a lone provider send exactly one probe; the others are told so at once', roomy, async (t) => {
    const held = gate()
    const a = await Upstream.start(t, after(held.opened, ok('from a')))
    const pool = await halfOpen(t, a)
    const probed = a.count
    const calls = Array.from({ length: 1000 }, () => settled(pool.chat(ask())))
    await a.request(probed + 1)
    await until(() => pool.getStats().failedRequests === 1000) // the first call, and 999 of these
    held.open()
    const ended = await Promise.all(calls)
    assert.equal(a.count, probed + 1)
    assert.equal(ended.filter(({ value }) => value?.content === 'from a').length, 1)
    const refused = ended.flatMap(({ error }) => error ?? [])
    assert.equal(refused.length, 999)
    assert.ok(refused.every((error) => error instanceof NoProviderError && /probe/.test(error.reasons[0].reason)))
    assert.equal(stateOf(pool), 'closed')
    const { usage } = pool.getProviderStats().a
    assert.equal(usage.inFlight, 0)
  })

  it('opens again when the probe fails, for longer', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const b = await Upstream.start(t)
    const pool = await halfOpen(t, a, [provider('b', b)], { circuit_breaker_timeout: 400 })
    const opened = record(pool, 'circuitOpen')
    const before = Date.now()
    await pool.chat(ask())
    assert.equal(opened.length, 1)
    const [, event] = opened[0]
    assert.ok(event.retryAt - before >= 790, `open for ${event.retryAt - before} ms, doubled from 400`)
    assert.equal(stateOf(pool), 'open')
  })

  it('a cancelled probe gives its place to the next call', bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const pool = await halfOpen(t, a)
    const controller = new AbortController()
    const probed = a.count
    const probe = rejection(pool.chat(ask(), { signal: controller.signal }))
    await a.request(probed + 1)
    assert.ok((await rejection(pool.chat(ask()))) instanceof NoProviderError) // one probe is under way
    controller.abort()
    await probe
    a.always(ok('back'))
    assert.equal((await pool.chat(ask())).content, 'back')
    assert.equal(stateOf(pool), 'closed')
  })

  it('resetCircuitBreakers closes them by hand: one by name, or all', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const b = await Upstream.start(t, status(500))
    const open = { circuit_breaker_threshold: 1 }
    const pool = await openPool(t, inOrder(provider('a', a, open), provider('b', b, open)), oneTry)
    const told = record(pool, 'circuitBreakersReset')
    await rejection(pool.chat(ask()))
    assert.deepEqual([stateOf(pool, 'a'), stateOf(pool, 'b')], ['open', 'open'])

    pool.resetCircuitBreakers('b')
    assert.deepEqual([stateOf(pool, 'a'), stateOf(pool, 'b')], ['open', 'closed'])
    b.always(ok('from b'))
    assert.equal((await pool.chat(ask())).provider, 'b')

    a.always(ok('from a'))
    pool.resetCircuitBreakers()
    assert.equal((await pool.chat(ask())).provider, 'a')
    assert.equal(told.length, 2)
  })
})
