// Tenants inside the program: whose call it is, what it may, what it has left, and that nothing of one reaches another.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { BudgetExceededError, ConfigurationError, LLMPool, PermissionDeniedError, RateLimitError } from '../index.mjs'
import { folder } from './support/child.mjs'
import { ask, drain, openPool, provider, record, rejection } from './support/pool.mjs'
import { Upstream, ok, sseOk } from './support/upstream.mjs'
import { bounded } from './support/wait.mjs'

const PRICES = { input_price_per_million: 1000, output_price_per_million: 1000 }

async function open(t, tenants, { config = {}, ...options } = {}) {
  const upstream = await Upstream.start(t)
  const providers = [provider('main', upstream, { ...PRICES, models: { fast: 'gpt-4o-mini' } })]
  const pool = await openPool(t, providers, { ...options, config: { ...config, tenants } })
  return { pool, upstream }
}

describe('a tenant', () => {
  it('that comes too often is told whose limit it was and how long it lasts', bounded, async (t) => {
    const { pool, upstream } = await open(t, [{ id: 'acme', rps: 0.001, burst: 2 }, { id: 'other' }])
    upstream.next(ok(), sseOk('pong'))
    const refused = record(pool, 'tenantRefused')
    await pool.chat(ask(), { tenant: 'acme' })
    await drain(pool.stream(ask(), { tenant: 'acme' }))
    const error = await rejection(pool.chat(ask(), { tenant: 'acme', requestId: 'r-1' }))
    assert.ok(error instanceof RateLimitError, error.stack)
    const { tenant, tenantLimit, retryable, code } = error
    assert.deepEqual([tenant, tenantLimit, retryable, code], ['acme', 'rps', true, 'ERR_LLMPOOL_RATE_LIMITED'])
    assert.ok(error.resetTime > 990 && error.resetTime <= 1000, `${error.resetTime} s`)
    assert.equal(JSON.parse(JSON.stringify(error)).tenantLimit, 'rps')
    assert.equal(refused.length, 1)
    assert.deepEqual([refused[0][1].tenant, refused[0][1].limit], ['acme', 'rps'])
    assert.ok(refused[0][1].resetAt > Date.now())
    await pool.chat(ask(), { tenant: 'other' })
    await pool.chat(ask())
    assert.equal(upstream.count, 4)
  })

  it('is refused what is none of its own, as PermissionDeniedError', bounded, async (t) => {
    const tenants = [
      { id: 'off', enabled: false },
      { id: 'tasks', tasks: ['sum'] },
      { id: 'models', models: ['fast'] },
    ]
    const { pool, upstream } = await open(t, tenants, { config: { tasks: { sum: {}, rate: {} } } })
    const own = await rejection(pool.execute(() => 1, { tenant: 'off' }))
    assert.equal(own.tenantLimit, 'enabled')
    const calls = {
      id: () => pool.chat(ask(), { tenant: 'nobody' }),
      enabled: () => pool.embed({ input: 'x' }, { tenant: 'off' }),
      tasks: () => pool.infer({ task: 'rate', prompt: 'x', tenant: 'tasks' }),
      models: () => pool.chat({ messages: ask(), model: 'gpt-4o' }, { tenant: 'models' }),
    }
    for (const [limit, call] of Object.entries(calls)) {
      const error = await rejection(call())
      assert.ok(error instanceof PermissionDeniedError && PermissionDeniedError.isInstance(error), error.stack)
      const { code, tenantLimit, retryable } = error
      assert.deepEqual([code, tenantLimit, retryable], ['ERR_LLMPOOL_PERMISSION', limit, false])
    }
    assert.equal(upstream.count, 0)
    assert.equal((await pool.infer({ task: 'sum', prompt: 'x', tenant: 'tasks' })).content, 'pong')
    assert.equal((await pool.chat({ messages: ask(), model: 'fast' }, { tenant: 'models' })).content, 'pong')
  })

  it('has budgets of its own', bounded, async (t) => {
    const { pool } = await open(t, [{ id: 'acme', budget: { daily_usd: 0.000001 } }, { id: 'other' }])
    const error = await rejection(pool.chat(ask(), { tenant: 'acme' }))
    assert.ok(error instanceof BudgetExceededError, error.stack)
    const { scope, tenant, tenantLimit, provider: whose } = error
    assert.deepEqual([scope, tenant, tenantLimit, whose], ['tenant', 'acme', 'budget', null])
    await pool.chat(ask(), { tenant: 'other' })
  })

  it('is in the statistics, in the metrics and in events', bounded, async (t) => {
    const { pool } = await open(t, [{ id: 'acme', tokens_per_day: 1_000_000, rps: 100 }, { id: 'other' }])
    const seen = record(pool, 'requestSuccess')
    const { usage, cost } = await pool.chat(ask(), { tenant: 'acme' })
    const { acme, other } = pool.getStats().tenants
    assert.deepEqual([acme.totalRequests, acme.totalTokens, acme.totalCost], [1, usage.total_tokens, cost])
    assert.equal(acme.tokensRemaining, 1_000_000 - usage.total_tokens)
    assert.deepEqual([other.totalRequests, other.requestsRemaining, other.tokensRemaining], [0, null, null])
    assert.equal(seen[0][1].tenant, 'acme')
    assert.match(pool.metrics(), /^llmpool_tenant_requests_total\{tenant="acme"\} 1$/m)
    assert.match(pool.metrics(), /^llmpool_tenant_requests_total\{tenant="other"\} 0$/m)
    await rejection(pool.chat(ask(), { tenant: 'made-up' }))
    assert.doesNotMatch(pool.metrics(), /made-up/)
  })

  it('finds what it has used after a restart, with statsFile', bounded, async (t) => {
    const statsFile = join(folder(t), 'stats.json')
    const tenants = [{ id: 'acme', tokens_per_day: 1_000_000, budget: { monthly_usd: 5 } }]
    const { pool } = await open(t, tenants, { statsFile })
    await pool.chat(ask(), { tenant: 'acme' })
    const before = pool.getStats().tenants.acme
    await pool.shutdown()
    const { pool: next } = await open(t, tenants, { statsFile })
    const after = next.getStats().tenants.acme
    await next.shutdown() // before its folder is gone
    assert.deepEqual(after, before)
    assert.ok(after.totalCost > 0 && after.budget.monthly.spent === after.totalCost)
  })

  it('is switched off by a reload, and on again with what it had used', bounded, async (t) => {
    const upstream = await Upstream.start(t)
    const config = (enabled) => ({
      providers: [provider('main', upstream)],
      tenants: [{ id: 'acme', enabled, tokens_per_day: 1_000_000 }],
    })
    const pool = await LLMPool.create({ config: config(true) })
    t.after(() => pool.shutdown({ drainTimeout: 0 }))
    await pool.chat(ask(), { tenant: 'acme' })
    const left = pool.getStats().tenants.acme.tokensRemaining
    await pool.reload(config(false))
    assert.equal((await rejection(pool.chat(ask(), { tenant: 'acme' }))).tenantLimit, 'enabled')
    await pool.reload(config(true))
    assert.equal(pool.getStats().tenants.acme.tokensRemaining, left)
    await pool.chat(ask(), { tenant: 'acme' })
  })

  it('shares neither kept answers, nor ids, nor runs under way', bounded, async (t) => {
    const { pool, upstream } = await open(t, [{ id: 'a' }, { id: 'b' }], { config: { tasks: { sum: {} } } })
    let number = 0
    upstream.always((exchange) => ok(`answer ${++number}`)(exchange))
    const cached = { cache: { ttl: 60_000 }, session: 's' }
    const of = (tenant) => pool.chat(ask('the same'), { ...cached, tenant })
    const [a, b] = await Promise.all([of('a'), of('b')])
    assert.notEqual(a.content, b.content)
    assert.deepEqual([(await of('a')).content, (await of('b')).content], [a.content, b.content])
    const infer = async (tenant) => (await pool.infer({ task: 'sum', prompt: 'x', request_id: 'id', tenant })).content
    const first = await infer('a')
    assert.notEqual(await infer('b'), first)
    assert.equal(await infer('a'), first)
  })

  it('is a label while the configuration has none', bounded, async (t) => {
    const { pool } = await open(t, undefined)
    await pool.chat(ask(), { tenant: 'whoever' })
    assert.deepEqual(pool.getStats().tenants, {})
  })

  it('with the key of another is a problem that repeats no key', bounded, async (t) => {
    const key = 'secret-of-acme'
    const tenants = [
      { id: 'a', api_keys: [key] },
      { id: 'b', api_keys: [key] },
    ]
    const error = await rejection(open(t, tenants))
    assert.ok(error instanceof ConfigurationError, error.stack)
    assert.deepEqual(
      error.problems.map(({ path }) => path),
      ['tenants[1].api_keys[0]'],
    )
    assert.doesNotMatch(JSON.stringify(error) + error.stack, /secret-of/)
  })
})
