// The numbers: a scripted run, and the table that it must come to.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { Upstream, chunk, cutBody, ok, sse, status } from './support/upstream.mjs'
import { ask, drain, inOrder, openPool, provider, rejection } from './support/pool.mjs'
import { bounded } from './support/wait.mjs'

const usage = (prompt_tokens, completion_tokens) => ({
  usage: { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
})
const near = (seen, expected, what) =>
  assert.ok(Math.abs(seen - expected) < 1e-9, `${what}: ${seen}, expected ${expected}`)

describe('LLMPool stats', () => {
  it('of a scripted run of ten calls equal the table', bounded, async (t) => {
    const a = await Upstream.start(t)
    const b = await Upstream.start(t)
    const c = await Upstream.start(t)
    // USD per 1,000 tokens
    const pool = await openPool(
      t,
      inOrder(
        provider('a', a, {
          input_token_price: 0.03,
          output_token_price: 0.06,
          requests_per_minute: 100,
          requests_per_day: 1000,
        }),
        provider('b', b, { input_token_price: 0.5, output_token_price: 0.1 }),
        provider('c', c, { model: 'nobody-knows-its-price' }),
      ),
      { maxRetries: 0 },
    )
    const began = Date.now()
    const call = () => pool.chat(ask())
    const cost = async (promise) => (await promise).cost

    a.next(ok('1', usage(1000, 500)))
    near(await cost(call()), 0.03 + 0.03, 'call 1')
    a.next(ok('2', usage(10, 1)))
    near(await cost(call()), 0.0003 + 0.00006, 'call 2')
    a.next(status(500))
    b.next(ok('3', usage(2000, 100)))
    near(await cost(call()), 1 + 0.01, 'call 3')
    a.next(status(502))
    b.next(cutBody())
    c.next(ok('4', usage(7, 7)))
    assert.equal(await cost(call()), null) // call 4: unknown is not zero
    a.next(ok('5', usage(0, 0)))
    near(await cost(call()), 0, 'call 5')
    a.next(status(503))
    b.next(status(503))
    c.next(status(503))
    await rejection(call()) // call 6: nobody
    a.next(
      sse(async (stream) => {
        await stream.push(chunk({ content: '7' }))
        await stream.finish('stop', usage(100, 50).usage)
        await stream.done()
      }),
    )
    near((await pool.stream(ask()).response()).cost, 0.003 + 0.003, 'call 7')
    b.next(ok('8', usage(4, 20)))
    near(await cost(pool.chat(ask(), { providers: ['b'] })), 0.002 + 0.002, 'call 8')
    a.next(
      sse(async (stream) => {
        await stream.text('9')
        stream.cut()
      }),
    )
    assert.ok((await drain(pool.stream(ask()))).error) // call 9: interrupted
    a.next(ok('10', usage(333, 333)))
    near(await cost(call()), 0.00999 + 0.01998, 'call 10')

    const stats = pool.getProviderStats()
    assert.deepEqual(Object.keys(stats), ['a', 'b', 'c'])
    const table = {
      //   requests, successes, errors, prompt, completion
      a: [9, 5, 4, 1443, 884],
      b: [4, 2, 2, 2004, 120],
      c: [2, 1, 1, 7, 7],
    }
    for (const [name, [totalRequests, successfulRequests, errors, promptTokens, completionTokens]] of Object.entries(
      table,
    )) {
      const { usage: used, health, performance: numbers, ...rest } = stats[name]
      assert.equal(used.totalRequests, totalRequests, `${name}.totalRequests`)
      assert.equal(used.successfulRequests, successfulRequests, `${name}.successfulRequests`)
      assert.equal(used.errors, errors, `${name}.errors`)
      if (name !== 'a')
        assert.deepEqual([used.promptTokens, used.completionTokens], [promptTokens, completionTokens], name)
      // what an interrupted stream used is an estimate on top of what was reported
      else
        assert.ok(
          used.promptTokens >= promptTokens &&
            used.promptTokens <= promptTokens + 20 &&
            used.completionTokens - completionTokens <= 5,
          `${name}: ${used.promptTokens}, ${used.completionTokens}`,
        )
      assert.equal(used.totalTokensUsed, used.promptTokens + used.completionTokens)
      assert.equal(used.inFlight, 0)
      const rate = (successfulRequests / totalRequests) * 100
      near(numbers.successRate, rate, `${name}.successRate`)
      near(health.successRate, rate, `${name}.health.successRate`)
      assert.deepEqual([health.totalRequests, health.errors], [totalRequests, errors])
      assert.deepEqual([health.name, health.type, rest.type], [name, 'openai', 'openai'])
      assert.ok(health.reliabilityScore >= 0 && health.reliabilityScore <= 100)
      assert.equal(health.reliabilityScore, numbers.reliabilityScore)
      assert.ok(health.lastUsed >= began && health.lastUsed <= Date.now(), `${name}.lastUsed`)
      assert.equal(typeof health.lastError, 'string')
      for (const key of ['averageResponseTime', 'p50', 'p95', 'p99']) assert.ok(numbers[key] > 0, `${name}.${key}`)
      assert.ok(numbers.p50 <= numbers.p95 && numbers.p95 <= numbers.p99)
      assert.equal(health.circuitState, 'closed')
      assert.equal(rest.enabled, true)
    }
    assert.ok(stats.a.performance.timeToFirstToken > 0)
    const costOfA = 0.06 + 0.00036 + 0 + 0.006 + 0.02997
    assert.ok(
      stats.a.usage.totalCost >= costOfA - 1e-9 && stats.a.usage.totalCost < costOfA + 0.001,
      `a.totalCost ${stats.a.usage.totalCost}`,
    )
    near(stats.b.usage.totalCost, 1.01 + 0.004, 'b.totalCost')
    near(stats.c.usage.totalCost, 0, 'c.totalCost')
    assert.deepEqual([stats.a.usage.requestsRemaining, stats.a.usage.dailyRequestsRemaining], [91, 991])
    assert.deepEqual([stats.b.usage.requestsRemaining, stats.b.usage.dailyRequestsRemaining], [null, null])
    assert.deepEqual([stats.a.priority, stats.b.priority, stats.c.priority], [1, 2, 3])
    assert.deepEqual([stats.a.weight, stats.b.weight, stats.c.weight], [1, 1, 1])
    assert.equal(stats.c.model, 'nobody-knows-its-price')

    const totals = pool.getStats()
    assert.equal(totals.totalRequests, 10)
    assert.equal(totals.successfulRequests, 8)
    assert.equal(totals.failedRequests, 2)
    near(totals.successRate, 80, 'successRate')
    assert.equal(totals.activeConnections, 0)
    assert.equal(totals.retryCount, 0)
    assert.equal(totals.circuitBreakerTrips, 0)
    assert.ok(totals.failoverCount >= 2) // calls 3 and 4, at least
    assert.equal(
      totals.totalTokens,
      ['a', 'b', 'c'].reduce((sum, name) => sum + stats[name].usage.totalTokensUsed, 0),
    )
    near(totals.totalCost, stats.a.usage.totalCost + stats.b.usage.totalCost, 'totalCost')
    for (const key of ['avgRequestDurationMs', 'p50', 'p95', 'p99', 'overheadP50Us', 'overheadP99Us'])
      assert.ok(totals[key] > 0, key)

    const health = pool.getPoolHealth()
    assert.deepEqual(
      [health.healthy, health.totalProviders, health.availableProviders, health.bestProvider],
      [true, 3, 3, 'a'],
    )
    // by name, or in a list: either way each provider is there
    const names = Array.isArray(health.providers)
      ? health.providers.map((each) => each.name)
      : Object.keys(health.providers)
    assert.deepEqual(names, ['a', 'b', 'c'])
  })

  it('before the first request are those of a pool that is well', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a, { requests_per_minute: 7 })])
    const { health, usage: used, performance: numbers } = pool.getProviderStats().a
    assert.equal(health.available, true)
    assert.equal(health.successRate, 100)
    assert.equal(numbers.successRate, 100)
    assert.deepEqual([health.requestsRemaining, health.dailyRequestsRemaining, health.tokensRemaining], [7, null, null])
    assert.deepEqual(
      [health.totalRequests, health.errors, health.lastUsed, health.lastError, health.retryAt],
      [0, 0, null, null, null],
    )
    assert.deepEqual([used.totalRequests, used.totalCost, used.inFlight], [0, 0, 0])
    assert.equal(pool.getStats().successRate, 100)
    assert.equal(JSON.stringify(pool.getProviderStats()).includes('NaN'), false)
    assert.ok(
      Object.values(numbers).every((each) => each === null || Number.isFinite(each) || typeof each === 'boolean'),
    )
  })

  it('sums of small prices do not drift', bounded, async (t) => {
    const a = await Upstream.start(t, ok('x', usage(1, 1)))
    const pool = await openPool(t, [provider('a', a, { input_token_price: 0.0001, output_token_price: 0.0002 })])
    for (let call = 0; call < 100; call++) assert.equal((await pool.chat(ask())).cost, 3e-7)
    assert.equal(pool.getProviderStats().a.usage.totalCost, 3e-5)
    assert.equal(pool.getStats().totalCost, 3e-5)
  })

  it('a response says how long it took, and every line of its trail', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const b = await Upstream.start(t)
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    const before = performance.now()
    const response = await pool.chat(ask())
    const took = performance.now() - before
    assert.ok(response.latencyMs > 0 && response.latencyMs <= took + 1)
    const sum = response.attempts.reduce((total, line) => total + line.latencyMs + line.waitedMs, 0)
    assert.ok(sum > 0 && sum <= response.latencyMs + 1, `${sum} of ${response.latencyMs}`)
  })

  it('a response is complete', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    const response = await pool.chat(ask())
    assert.equal(response.id, 'chatcmpl-loop')
    assert.equal(response.role, 'assistant')
    assert.equal(response.finish_reason, 'stop')
    assert.equal(response.raw_finish_reason, 'stop')
    assert.equal(response.model, 'gpt-4o')
    assert.equal(response.created, 1795300000)
    assert.deepEqual(response.warnings, [])
    assert.match(response.requestId, /\S{8,}/)
    assert.deepEqual(response.usage, {
      prompt_tokens: 10,
      completion_tokens: 5,
      total_tokens: 15,
      cached_tokens: 0,
      cache_write_tokens: 0,
      reasoning_tokens: 0,
      estimated: false,
    })
    const again = JSON.parse(JSON.stringify(response))
    assert.equal(again.content, 'pong')
    assert.equal(again.attempts.length, 1)
  })

  it('have every name that is documented for them', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    const response = await pool.chat(ask())
    const missing = (object, names) => names.split(' ').filter((name) => object[name] === undefined)
    assert.deepEqual(
      {
        response: missing(
          response,
          'id content role finish_reason raw_finish_reason model provider created usage cost latencyMs requestId warnings attempts',
        ),
        getStats: missing(
          pool.getStats(),
          'totalRequests successfulRequests failedRequests successRate activeConnections circuitBreakerTrips failoverCount retryCount avgRequestDurationMs p50 p95 p99 overheadP50Us overheadP99Us totalTokens totalCost',
        ),
        getProviderStats: missing(
          pool.getProviderStats().a,
          'type model priority weight enabled health usage performance',
        ),
        health: missing(
          pool.getProviderStats().a.health,
          'name type available circuitBreakerOpen circuitState retryAt requestsRemaining dailyRequestsRemaining tokensRemaining successRate reliabilityScore averageResponseTime totalRequests errors lastUsed lastError',
        ),
        usage: missing(
          pool.getProviderStats().a.usage,
          'totalRequests successfulRequests errors totalTokensUsed promptTokens completionTokens totalCost requestsRemaining dailyRequestsRemaining inFlight',
        ),
        performance: missing(
          pool.getProviderStats().a.performance,
          'successRate reliabilityScore averageResponseTime p50 p95 p99 timeToFirstToken circuitBreakerOpen',
        ),
        getPoolHealth: missing(
          pool.getPoolHealth(),
          'healthy totalProviders availableProviders bestProvider providers',
        ),
      },
      { response: [], getStats: [], getProviderStats: [], health: [], usage: [], performance: [], getPoolHealth: [] },
    )
  })

  it('usage that the upstream does not report is estimated and says so', bounded, async (t) => {
    const a = await Upstream.start(t, ok('four words of answer', { usage: null }))
    const pool = await openPool(t, [provider('a', a, { input_token_price: 1, output_token_price: 1 })])
    const response = await pool.chat(ask('a prompt of some length, to be counted'))
    assert.equal(response.usage.estimated, true)
    assert.ok(response.usage.prompt_tokens > 3 && response.usage.prompt_tokens < 60)
    assert.ok(response.usage.completion_tokens > 1 && response.usage.completion_tokens < 30)
    assert.ok(response.cost > 0)
  })
})
