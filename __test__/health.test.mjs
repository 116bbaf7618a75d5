// Asking providers whether they are up: `health.active`, and the connections that are kept: `warm`, `max_connections`.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { Upstream, ok, status } from './support/upstream.mjs'
import { ConfigurationError, NoProviderError, PoolClosedError } from '../index.mjs'
import { ask, inOrder, openPool, poolOf, provider, record, rejection, trail } from './support/pool.mjs'
import { bounded, deferred, until } from './support/wait.mjs'

/** Lists its models while it is well, and answers calls anyway. */
const listing = (well) => (exchange) =>
  exchange.method === 'POST' ? ok()(exchange) : well() ? exchange.reply(200, { data: [] }) : status(503)(exchange)

describe('LLMPool active health', () => {
  it('puts a provider that fails its checks behind the others until a good one', bounded, async (t) => {
    let well = true
    const a = await Upstream.start(
      t,
      listing(() => well),
    )
    const b = await Upstream.start(
      t,
      listing(() => true),
    )
    const health = { active: true, interval_ms: 5, failures: 2 }
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)), { config: { health } })
    const changes = []
    pool.on('healthChanged', (event) => changes.push(event))
    assert.equal((await pool.chat(ask())).provider, 'a')
    well = false
    await until(() => changes.length === 1)
    assert.deepEqual([changes[0].provider, changes[0].healthy, typeof changes[0].reason], ['a', false, 'string'])
    assert.equal((await pool.chat(ask())).provider, 'b')
    assert.equal(pool.getPoolHealth().providers.a.available, false)
    well = true
    await until(() => changes.length === 2)
    assert.deepEqual(changes[1], { provider: 'a', healthy: true, reason: null, retryAt: null })
    assert.equal((await pool.chat(ask())).provider, 'a')
  })

  it('asks nobody unless it is on', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)], { config: { health: { interval_ms: 1 } } })
    await pool.chat(ask())
    assert.deepEqual(
      a.exchanges.map((exchange) => exchange.method),
      ['POST'],
    )
  })
})

describe('LLMPool markError', () => {
  it('passes a provider over until clearError, and says so everywhere', bounded, async (t) => {
    const a = await Upstream.start(t)
    const b = await Upstream.start(t)
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    const changes = []
    pool.on('healthChanged', (event) => changes.push(event))
    const until = Date.now() + 60_000
    assert.equal(pool.markError('a'), undefined)
    const { available, retryAt } = pool.getPoolHealth().providers.a
    assert.equal(available, false)
    assert.ok(Math.abs(retryAt - until) < 5_000, `${retryAt - until} ms from what was meant`)
    assert.equal(pool.getPoolHealth().bestProvider, 'b')
    assert.deepEqual(trail(await pool.chat(ask())), ['a:marked', 'b:success'])
    const alone = await rejection(pool.chat(ask(), { providers: ['a'] }))
    assert.ok(alone instanceof NoProviderError)
    assert.match(alone.reasons[0].reason, /marked/)
    assert.equal(alone.attempts[0].outcome, 'marked')

    assert.equal(pool.clearError('a'), true)
    assert.equal(pool.clearError('a'), false)
    assert.equal(pool.getPoolHealth().providers.a.available, true)
    assert.deepEqual(trail(await pool.chat(ask())), ['a:success'])
    assert.equal(a.count, 1)
    const { retryAt: told, ...marked } = changes[0]
    assert.deepEqual(marked, { provider: 'a', healthy: false, reason: 'marked as broken' })
    assert.ok(Math.abs(told - until) < 5_000)
    assert.deepEqual(changes.slice(1), [{ provider: 'a', healthy: true, reason: null, retryAt: null }])
  })

  it('takes a name that there is, of a pool that is open', bounded, async (t) => {
    const a = await Upstream.start(t)
    const early = poolOf(t, [provider('a', a)])
    assert.throws(() => early.markError('a'), /not been initialized/)
    const pool = await openPool(t, [provider('a', a)])
    assert.throws(() => pool.markError('b'), ConfigurationError)
    assert.throws(() => pool.clearError(), ConfigurationError)
    await pool.shutdown()
    assert.throws(() => pool.markError('a'), PoolClosedError)
  })

  it('holds for routing.error_cooldown_ms: 0 is no mark, null one that only clearError ends', bounded, async (t) => {
    const a = await Upstream.start(t)
    const b = await Upstream.start(t)
    const marked = async (error_cooldown_ms) => {
      const providers = inOrder(provider('a', a), provider('b', b))
      const pool = await openPool(t, providers, { config: { routing: { error_cooldown_ms } } })
      const changes = record(pool, 'healthChanged')
      pool.markError('a')
      const { available, retryAt } = pool.getPoolHealth().providers.a
      return { available, retryAt, told: changes.length, provider: (await pool.chat(ask())).provider }
    }
    assert.deepEqual(await marked(0), { available: true, retryAt: null, told: 0, provider: 'a' })
    assert.deepEqual(await marked(null), { available: false, retryAt: null, told: 1, provider: 'b' })
  })
})

describe('LLMPool connections', () => {
  it('warm opens one at the start, before any call', bounded, async (t) => {
    const a = await Upstream.start(
      t,
      listing(() => true),
    )
    const b = await Upstream.start(
      t,
      listing(() => true),
    )
    const pool = await openPool(t, inOrder(provider('a', a, { warm: true }), provider('b', b)))
    await a.request(1)
    assert.equal(a.exchanges[0].method, 'GET')
    assert.equal((await pool.chat(ask())).provider, 'a')
    assert.equal(b.connections.length, 0)
  })

  it('max_connections bounds what is under way to a host', bounded, async (t) => {
    let underWay = 0
    let most = 0
    const gate = deferred()
    const a = await Upstream.start(t, async (exchange) => {
      most = Math.max(most, ++underWay)
      await gate.promise
      underWay--
      await ok()(exchange)
    })
    const pool = await openPool(t, [provider('a', a, { max_connections: 2 })])
    const calls = [1, 2, 3, 4, 5].map(() => pool.chat(ask()))
    await a.requests(2)
    gate.resolve()
    await Promise.all(calls)
    assert.deepEqual([a.count, most], [5, 2])
  })
})
