// What may be spent, as a caller sees it. Limits are of a month, so that no midnight falls into a test.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { folder } from './support/child.mjs'
import { keyOf, readMetrics } from './support/openmetrics.mjs'
import { ask, drain, inOrder, openPool, poolOf, provider, record, rejection, trail } from './support/pool.mjs'
import { Upstream, chunk, hang, ok, sse } from './support/upstream.mjs'
import { bounded, until } from './support/wait.mjs'
import {
  BudgetExceededError,
  ConfigurationError,
  InvalidRequestError,
  LLMPool,
  LLMPoolError,
  NoProviderError,
} from '../index.mjs'

const MILLION = 1e6
const prices = { input_price_per_million: 10, output_price_per_million: 20 }
const usage = { prompt_tokens: 100, completion_tokens: 50, total_tokens: 150 }
/** What an answer with that usage costs. */
const ANSWER = (100 * 10 + 50 * 20) / MILLION

const priced = (name, upstream, more) => provider(name, upstream, { ...prices, max_tokens: 50, ...more })
const near = (seen, expected) => assert.ok(Math.abs(seen - expected) < 1e-12, `${seen} is not ${expected}`)

/** A pool of one provider with this budget, and its upstream. */
async function limited(t, budget, options) {
  const a = await Upstream.start(t, ok('hi', { usage }))
  return { a, pool: await openPool(t, [priced('a', a)], { config: { budget }, maxRetries: 0, ...options }) }
}

describe('LLMPool budget', () => {
  it('of the pool that is spent rejects at once with BudgetExceededError', bounded, async (t) => {
    const { a, pool } = await limited(t, { monthly_usd: 2.2 * ANSWER })
    await pool.chat(ask())
    await pool.chat(ask())
    const error = await rejection(pool.chat(ask()))
    assert.ok(error instanceof BudgetExceededError && error instanceof LLMPoolError, error.stack)
    assert.ok(BudgetExceededError.isInstance(error))
    const { name, code, scope, provider, period, limit, spent, reserved, retryable, retryAfterMs, resetAt } = error
    assert.deepEqual([name, code, scope, provider], ['BudgetExceededError', 'ERR_LLMPOOL_BUDGET', 'pool', null])
    assert.deepEqual([period, limit, reserved, retryable], ['monthly', 2.2 * ANSWER, 0, false])
    near(spent, 2 * ANSWER)
    assert.ok(resetAt > Date.now() && resetAt < Date.now() + 32 * 86_400_000)
    assert.ok(Math.abs(Date.now() + retryAfterMs - resetAt) < 5_000)
    const end = new Date(resetAt)
    assert.deepEqual([end.getUTCDate(), end.getUTCHours(), end.getUTCMinutes(), end.getUTCMilliseconds()], [1, 0, 0, 0])
    assert.deepEqual(trail(error), ['a:budget'])
    assert.match(error.message, /a: the pool's monthly budget of 0\.0044 USD has no room/)
    assert.equal(JSON.parse(JSON.stringify(error)).scope, 'pool')
    assert.equal(a.count, 2)
    assert.equal(pool.getPoolHealth().healthy, false)
  })

  it('of a provider sends calls to the others, and health says until when', bounded, async (t) => {
    const a = await Upstream.start(t, ok('a', { usage }))
    const b = await Upstream.start(t, ok('b', { usage }))
    const own = { budget: { monthly_usd: 1.2 * ANSWER } }
    const pool = await openPool(t, inOrder(priced('a', a, own), priced('b', b)))
    assert.equal((await pool.chat(ask())).provider, 'a')
    assert.deepEqual(trail(await pool.chat(ask())), ['a:budget', 'b:success'])
    const { budget, health } = pool.getProviderStats().a
    assert.deepEqual([health.available, health.retryAt], [false, budget.monthly.resetAt])
    near(budget.monthly.spent, ANSWER)
    assert.deepEqual([budget.daily, budget.monthly.reserved, pool.getProviderStats().b.budget], [null, 0, null])
    assert.deepEqual([pool.getPoolHealth().healthy, pool.getPoolHealth().bestProvider], [true, 'b'])
    const explained = pool.explain(ask()).providers.find((each) => each.name === 'a')
    assert.match(explained.reason, /its monthly budget of .* USD has no room/)
    assert.deepEqual([explained.verdict, explained.retryAt], ['blocked', budget.monthly.resetAt])
    const error = await rejection(pool.chat(ask(), { providers: ['a'] }))
    assert.ok(error instanceof BudgetExceededError, error.stack)
    assert.deepEqual([error.scope, error.provider], ['provider', 'a'])
  })

  it('is told of once when warn_at is spent, before the call resolves', bounded, async (t) => {
    const { pool } = await limited(t, { monthly_usd: 4 * ANSWER, warn_at: 0.5 })
    const seen = record(pool, 'budgetWarning')
    await pool.chat(ask())
    assert.deepEqual(seen, [])
    await pool.chat(ask())
    await pool.chat(ask())
    assert.equal(seen.length, 1)
    const { spent, resetAt, ...rest } = seen[0][1]
    near(spent, 2 * ANSWER)
    assert.ok(resetAt > Date.now())
    assert.deepEqual(rest, { scope: 'pool', period: 'monthly', limit: 4 * ANSWER })
  })

  it('is never passed by calls at once when it is strict, and needs max_tokens', bounded, async (t) => {
    const a = await Upstream.start(t, ok('hi', { usage }))
    const unbounded = provider('a', a, prices)
    const budget = { monthly_usd: 40 * ANSWER, mode: 'strict' }
    const pool = await openPool(t, [unbounded], { config: { budget }, maxRetries: 0 })
    const missing = await rejection(pool.chat(ask()))
    assert.ok(missing instanceof InvalidRequestError && missing.field === 'max_tokens', missing.stack)
    const outcomes = await Promise.allSettled(Array.from({ length: 200 }, () => pool.chat(ask(), { max_tokens: 50 })))
    const refused = outcomes.filter((each) => each.status === 'rejected').map((each) => each.reason)
    assert.ok(refused.length > 0 && refused.every((error) => error instanceof BudgetExceededError))
    const { monthly } = pool.getStats().budget
    near(monthly.spent, (200 - refused.length) * ANSWER)
    assert.ok(monthly.spent <= monthly.limit && monthly.reserved === 0)
    assert.equal(a.count, 200 - refused.length)
  })

  it('books streams, embeddings and functions, and gives back what was not needed', bounded, async (t) => {
    const a = await Upstream.start(t, ok('hi', { usage }))
    const models = { vectors: { model: 'text-embedding-3-small', prices: { input_price_per_million: 10 } } }
    const pool = await openPool(t, [priced('a', a, { models })], {
      config: { budget: { monthly_usd: 1 } },
      maxRetries: 0,
    })
    a.next(
      sse(async (stream) => {
        await stream.push(chunk({ content: 'one' }))
        await stream.finish('stop', usage)
        await stream.done()
      }),
    )
    await drain(pool.stream(ask()))
    await pool.execute(async () => ({ usage }))
    a.next((exchange) => exchange.reply(200, { data: [{ index: 0, embedding: [1] }], usage: { prompt_tokens: 100 } }))
    await pool.embed({ input: 'x', model: 'vectors' })
    near(pool.getStats().budget.monthly.spent, 2 * ANSWER + (100 * 10) / MILLION)

    a.next(hang())
    const leaving = new AbortController()
    const left = rejection(pool.chat(ask(), { signal: leaving.signal }))
    await until(() => pool.getStats().budget.monthly.reserved > 0)
    leaving.abort()
    await left
    const { spent, reserved } = pool.getStats().budget.monthly
    assert.equal(reserved, 0)
    near(spent, pool.getStats().totalCost)
  })

  it('refuses what nobody knows the price of, or lets it pass uncounted', bounded, async (t) => {
    const a = await Upstream.start(t)
    const unknown = provider('a', a, { model: 'not-yet-released' })
    const denied = await openPool(t, [unknown], { config: { budget: { daily_usd: 1 } } })
    const error = await rejection(denied.chat(ask()))
    assert.ok(error instanceof NoProviderError, error.stack)
    assert.match(error.reasons[0].reason, /nobody knows the price of the model: set input_token_price/)
    const allowed = await openPool(t, [unknown], { config: { budget: { daily_usd: 1, on_unknown_price: 'allow' } } })
    assert.equal((await allowed.chat(ask())).cost, null)
    assert.deepEqual([allowed.getStats().budget.daily.spent, allowed.getStats().unpricedRequests], [0, 1])
  })

  it('keeps what was spent when the limit changes, and over a restart', bounded, async (t) => {
    const statsFile = join(folder(t), 'stats.json')
    const { a, pool } = await limited(t, { monthly_usd: 10 * ANSWER }, { statsFile })
    await pool.chat(ask())
    await pool.reload({ providers: [priced('a', a)], budget: { monthly_usd: ANSWER } })
    near(pool.getStats().budget.monthly.spent, ANSWER)
    assert.ok((await rejection(pool.chat(ask()))) instanceof BudgetExceededError)
    await pool.shutdown()
    assert.equal(JSON.parse(readFileSync(statsFile, 'utf8')).budgets.pool.monthly.spent, Math.round(ANSWER * 1e9))

    const config = { budget: { monthly_usd: ANSWER } }
    const next = await openPool(t, [priced('a', a)], { config, statsFile, maxRetries: 0 })
    assert.ok((await rejection(next.chat(ask()))) instanceof BudgetExceededError)
    assert.equal(a.count, 1)
  })

  it('is in the metrics', bounded, async (t) => {
    const a = await Upstream.start(t, ok('hi', { usage }))
    const own = priced('a', a, { budget: { daily_usd: 3 } })
    const pool = await openPool(t, [own], { config: { budget: { daily_usd: 1, monthly_usd: 2 } } })
    await pool.chat(ask())
    const { samples } = readMetrics(pool.metrics())
    const of = (name, period, provider = '') => {
      const scope = provider === '' ? 'pool' : 'provider'
      return samples.get(keyOf(`llmpool_budget_${name}`, { scope, provider, tenant: '', period }))
    }
    assert.deepEqual([of('limit_usd', 'daily'), of('limit_usd', 'monthly'), of('limit_usd', 'daily', 'a')], [1, 2, 3])
    near(of('spent_usd', 'monthly'), ANSWER)
    assert.equal(of('reserved_usd', 'monthly'), 0)
    assert.equal(of('reset_timestamp_seconds', 'monthly'), pool.getStats().budget.monthly.resetAt / 1000)
  })

  it('with a mistake is refused by name, and without a limit is none', bounded, async (t) => {
    const a = await Upstream.start(t)
    const bad = { daily_usd: -1, mode: 'hard' }
    const error = await rejection(poolOf(t, [provider('a', a)], { config: { budget: bad } }).initialize())
    assert.ok(error instanceof ConfigurationError)
    assert.deepEqual(
      error.problems.map((each) => each.path),
      ['budget.daily_usd', 'budget.mode'],
    )
    const pool = new LLMPool({ config: { providers: [provider('a', a)] } })
    t.after(() => pool.shutdown())
    assert.equal(pool.getStats().budget, null)
    await pool.initialize()
    assert.equal(pool.getStats().budget, null)
  })
})

describe('LLMPool models.prices', () => {
  it('go over those of the provider, by alias and by name', bounded, async (t) => {
    const a = await Upstream.start(t, ok('hi', { usage }))
    const models = { cheap: { model: 'small', prices: { input_token_price: 0.001, output_token_price: 0.002 } } }
    const pool = await openPool(t, [priced('a', a, { models })])
    const cost = async (model) => (await pool.chat(ask(), { model })).cost
    near(await cost('gpt-4o'), ANSWER)
    near(await cost('cheap'), ANSWER / 10)
    near(await cost('small'), ANSWER / 10)
  })
})
