// `pool.explain()`: what a call would do, said without making it.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { Upstream, ok, status } from './support/upstream.mjs'
import { InvalidRequestError, PoolClosedError } from '../index.mjs'
import { ask, inOrder, openPool, poolOf, provider, rejection, trail } from './support/pool.mjs'
import { bounded } from './support/wait.mjs'

const told = ({ providers }) => providers.map(({ name, verdict, reason }) => [name, verdict, reason])

describe('LLMPool explain', () => {
  it('says who would be asked, who would follow and why the others are not', bounded, async (t) => {
    const [a, b, c] = [await Upstream.start(t, status(500)), await Upstream.start(t), await Upstream.start(t)]
    const providers = inOrder(
      provider('broken', a, { circuit_breaker_threshold: 1 }),
      provider('busy', b, { requests_per_minute: 1 }),
      provider('good', c),
      provider('off', c, { enabled: false }),
    )
    const pool = await openPool(t, providers)
    await pool.chat(ask())
    const asked = [a.count, b.count, c.count]
    const before = pool.getStats()
    const explained = pool.explain(ask())
    assert.deepEqual([explained.outcome, explained.wouldAsk, explained.reason], ['ask', 'good', 'good would be asked'])
    const [first, ...others] = told(explained)
    assert.deepEqual(first, ['good', 'first', null])
    assert.deepEqual(
      others.map(([name, verdict]) => [name, verdict]),
      [
        ['broken', 'blocked'],
        ['busy', 'blocked'],
        ['off', 'excluded'],
      ],
    )
    assert.match(others[0][2], /circuit breaker is open/)
    assert.match(others[1][2], /requests_per_minute is reached/)
    const { rules, retryAt, rank, priority, model } = explained.providers[1]
    assert.deepEqual([rank, priority, model], [null, 1, providers[0].model])
    assert.deepEqual(
      rules.filter((rule) => !rule.ok).map(({ rule, retryAt }) => [rule, retryAt]),
      [['circuit_breaker', retryAt]],
    )
    assert.ok(retryAt > Date.now())
    assert.deepEqual([a.count, b.count, c.count], asked, 'nobody was asked')
    assert.deepEqual(pool.getStats(), before, 'nothing was counted')
    assert.equal((await pool.chat(ask())).provider, explained.wouldAsk)
    assert.equal(pool.getPoolHealth().bestProvider, 'good')
  })

  it('takes what chat() takes, and takes nobody’s turn', bounded, async (t) => {
    const upstream = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', upstream), provider('b', upstream)])
    const options = { behaviour: 'combination' }
    const next = () => pool.explain([{ role: 'user', content: 'hi' }], options).wouldAsk
    assert.deepEqual([next(), next(), next()], ['a', 'a', 'a'])
    assert.equal((await pool.chat(ask(), options)).provider, 'a')
    assert.equal(next(), 'b')
    assert.equal(pool.explain(ask(), { ...options, providers: ['a'] }).wouldAsk, 'a')
    assert.equal(pool.explain(ask(), { ...options, stream: true }).behaviour, 'combination')
    assert.throws(() => pool.explain(ask(), { providers: ['x'] }), { name: 'InvalidRequestError', field: 'providers' })
    assert.throws(() => pool.explain('hi'), InvalidRequestError)
    assert.throws(() => pool.explain({ messages: [] }), InvalidRequestError)
  })

  it('says what a call that fails would say', bounded, async (t) => {
    const upstream = await Upstream.start(t, ok())
    const pool = await openPool(t, [provider('a', upstream, { requests_per_minute: 0 })])
    const explained = pool.explain(ask())
    assert.deepEqual([explained.outcome, explained.wouldAsk], ['fail', null])
    const error = await rejection(pool.chat(ask()))
    assert.equal(explained.reason, error.message)
    assert.deepEqual(trail(error), ['a:rate_limited'])
  })

  it('knows nobody before the pool is initialized, and is refused after its end', bounded, async (t) => {
    const upstream = await Upstream.start(t)
    const early = poolOf(t, [provider('a', upstream)])
    const { outcome, reason, providers } = early.explain(ask())
    assert.deepEqual([outcome, reason, providers], ['fail', 'the pool is not initialized', []])
    await early.shutdown()
    assert.throws(() => early.explain(ask()), PoolClosedError)
  })
})
