// A hundred calls, and every count of health, statistics, analytics and metrics against a table made by hand; and that
// what is to be scraped can be.

import { after, before, describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { folder, ROOT } from './support/child.mjs'
import { Upstream, chunk, hang, ok, sse, status } from './support/upstream.mjs'
import { ask, drain, inOrder, openPool, poolOf, provider, rejection } from './support/pool.mjs'
import { keyOf, readMetrics } from './support/openmetrics.mjs'
import { bounded, roomy } from './support/wait.mjs'
import { ConfigurationError, LLMPool } from '../index.mjs'

const read = (path) => readFileSync(join(ROOT, path), 'utf8')
const usage = (prompt_tokens, completion_tokens) => ({
  usage: { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
})
const near = (seen, expected, what) =>
  assert.ok(Math.abs(seen - expected) < 1e-9, `${what}: ${seen}, the table says ${expected}`)

/** What of `expected` is not so. */
function compare(seen, expected, where) {
  for (const [field, value] of Object.entries(expected)) {
    if (typeof value === 'number' && !Number.isInteger(value)) near(seen[field], value, `${where}.${field}`)
    else assert.deepEqual(seen[field], value, `${where}.${field}`)
  }
}

// The calls come in tens; the last digit of a call's number says what happens:
//
//   0 1 2 3   `a` answers: 10 tokens in, 5 out
//   4         `a` streams: 20 in, 5 out
//   5         `a` says 500, `b` answers: 10 in, 5 out
//   6         `a` answers what is no answer, `b` answers: 10 in, 5 out
//   7         `a` says 400: the caller's own fault
//   8         `a` says nothing and the caller leaves
//   9         `a` 503, `b` 503, `c` answers: 100 in, 50 out; but call 99, where `c` says 500, which opens its breaker
//
// USD per 1,000 tokens: `a` 0.01 in and 0.02 out, `b` 0.03 and 0.06, `c` unknown.
async function hundredCalls(t) {
  const [a, b, c] = [await Upstream.start(t), await Upstream.start(t), await Upstream.start(t)]
  const pool = await openPool(
    t,
    inOrder(
      provider('a', a, {
        requests_per_minute: 1000,
        requests_per_day: 5000,
        input_token_price: 0.01,
        output_token_price: 0.02,
      }),
      provider('b', b, { input_token_price: 0.03, output_token_price: 0.06 }),
      provider('c', c, { model: 'nobody-knows-its-price', circuit_breaker_threshold: 1 }),
    ),
    { maxRetries: 0 },
  )
  const streamed = sse(async (stream) => {
    await stream.push(chunk({ content: 'one' }))
    await stream.finish('stop', usage(20, 5).usage)
    await stream.done()
  })
  for (let n = 0; n < 100; n++) {
    const digit = n % 10
    if (digit <= 3) a.next(ok('yes', usage(10, 5)))
    else if (digit === 4) a.next(streamed)
    else if (digit === 5) a.next(status(500))
    else if (digit === 6) a.next(status(200, 'not JSON'))
    else if (digit === 7) a.next(status(400))
    else if (digit === 8) a.next(hang())
    else a.next(status(503))
    if (digit === 5 || digit === 6) b.next(ok('yes', usage(10, 5)))
    if (digit === 9) b.next(status(503))
    if (digit === 9) c.next(n === 99 ? status(500) : ok('yes', { ...usage(100, 50), model: `invented-${n}` }))

    if (digit === 4) assert.equal((await drain(pool.stream(ask()))).error, undefined)
    else if (digit === 8) {
      const arrived = a.request()
      const leaving = new AbortController()
      const left = rejection(pool.chat(ask(), { signal: leaving.signal }))
      await arrived
      leaving.abort()
      await left
    } else if (digit === 7 || n === 99) await rejection(pool.chat(ask()))
    else await pool.chat(ask())
  }
  return pool
}

/** A context for what lives as long as a suite. */
function suite() {
  const undo = []
  after(async () => {
    for (const each of undo.reverse()) await each()
  })
  return { after: (each) => undo.push(each) }
}

describe('LLMPool numbers of a hundred calls', () => {
  const t = suite()
  let pool
  /** Tokens that each of the ten calls that were left is booked with: what the pool reckons for the prompt. */
  let left
  before(async () => {
    pool = await hundredCalls(t)
    left = (pool.getProviderStats().a.usage.promptTokens - 600) / 10
    assert.ok(Number.isInteger(left) && left > 0 && left < 20, `${left} tokens for a prompt of four letters`)
  }, roomy)

  it('getProviderStats() equals the table', bounded, () => {
    const { a, b, c } = pool.getProviderStats()
    // 40 whole answers and 10 streams; 10 of 500, 10 of no answer, 10 of 503; 10 of 400 and 10 left are neither.
    compare(
      a.usage,
      {
        totalRequests: 100,
        successfulRequests: 50,
        errors: 30,
        promptTokens: 600 + 10 * left,
        completionTokens: 250,
        totalTokensUsed: 850 + 10 * left,
        totalCost: 0.011 + 0.0001 * left,
        unpricedRequests: 0,
        requestsRemaining: 900,
        dailyRequestsRemaining: 4900,
        inFlight: 0,
      },
      'a.usage',
    )
    compare(
      b.usage,
      {
        totalRequests: 30,
        successfulRequests: 20,
        errors: 10,
        promptTokens: 200,
        completionTokens: 100,
        totalTokensUsed: 300,
        totalCost: 0.012,
        unpricedRequests: 0,
        requestsRemaining: null,
        inFlight: 0,
      },
      'b.usage',
    )
    compare(
      c.usage,
      { totalRequests: 10, successfulRequests: 9, errors: 1, totalTokensUsed: 1350, totalCost: 0, unpricedRequests: 9 },
      'c.usage',
    )
    near(a.performance.successRate, 5000 / 80, 'a.successRate')
    near(b.performance.successRate, 2000 / 30, 'b.successRate')
    near(c.performance.successRate, 90, 'c.successRate')
    for (const { performance, health } of [a, b, c]) {
      // All of them within the last thousand attempts, so the only difference is latency.
      const score = performance.successRate - Math.min(20, performance.p95 / 1000)
      near(performance.reliabilityScore, score, 'reliabilityScore')
      compare(
        health,
        { reliabilityScore: performance.reliabilityScore, successRate: performance.successRate },
        'health',
      )
      assert.ok(performance.p50 > 0 && performance.p50 <= performance.p95 && performance.p95 <= performance.p99)
    }
    assert.ok(a.performance.timeToFirstToken > 0)
    assert.equal(b.performance.timeToFirstToken, null)
  })

  it('getPoolHealth() equals the table', bounded, () => {
    const health = pool.getPoolHealth()
    compare(health, { healthy: true, totalProviders: 3, availableProviders: 2, bestProvider: 'a' }, 'health')
    const { a, c } = health.providers
    compare(a, { available: true, circuitState: 'closed', retryAt: null, totalRequests: 100, errors: 30 }, 'a')
    compare(a, { requestsRemaining: 900, dailyRequestsRemaining: 4900, tokensRemaining: null }, 'a')
    compare(c, { available: false, circuitState: 'open', circuitBreakerOpen: true, totalRequests: 10, errors: 1 }, 'c')
    assert.ok(c.retryAt > Date.now())
  })

  it('getStats() equals the table', bounded, () => {
    const stats = pool.getStats()
    compare(
      stats,
      {
        totalRequests: 100,
        successfulRequests: 79,
        failedRequests: 11,
        cancelledRequests: 10,
        successRate: 7900 / 90,
        activeConnections: 0,
        circuitBreakerTrips: 1,
        failoverCount: 40,
        retryCount: 0,
        totalTokens: 2500 + 10 * left,
        totalCost: 0.023 + 0.0001 * left,
        unpricedRequests: 9,
      },
      'stats',
    )
    assert.ok(stats.p50 > 0 && stats.p50 <= stats.p95 && stats.p95 <= stats.p99)
    assert.ok(stats.overheadP50Us > 0 && stats.overheadP50Us < stats.p50 * 1000)
    assert.ok(stats.overheadP50Us <= stats.overheadP99Us)
  })

  it('getAnalytics() equals the table in every window', bounded, () => {
    const stats = pool.getStats()
    for (const [window, slots, stepMs] of [
      ['1h', 60, 60_000],
      ['24h', 24, 3_600_000],
      ['7d', 168, 3_600_000],
    ]) {
      const analytics = pool.getAnalytics(window)
      const same = ['totalRequests', 'successfulRequests', 'failedRequests', 'cancelledRequests', 'successRate']
      same.push('circuitBreakerTrips', 'failoverCount', 'retryCount', 'totalTokens', 'totalCost', 'unpricedRequests')
      compare(analytics, Object.fromEntries(same.map((field) => [field, stats[field]])), window)
      compare(analytics, { window, stepMs, promptTokens: 1700 + 10 * left, completionTokens: 800 }, window)
      near(analytics.avgRequestDurationMs, stats.avgRequestDurationMs, 'avgRequestDurationMs')
      for (const field of ['p50', 'p95', 'p99', 'overheadP50Us', 'overheadP99Us']) {
        assert.ok(Math.abs(analytics[field] - stats[field]) <= stats[field] / 16 + 1e-3, `${window}.${field}`)
      }
      const { a, b, c } = analytics.providerBreakdown
      compare(a, { totalRequests: 100, successfulRequests: 50, errors: 30, totalTokens: 850 + 10 * left }, 'a')
      compare(b, { totalRequests: 30, successfulRequests: 20, errors: 10, totalCost: 0.012 }, 'b')
      compare(c, { totalRequests: 10, errors: 1, circuitBreakerTrips: 1, unpricedRequests: 9, successRate: 90 }, 'c')
      const sum = (field) => analytics.timeSeries.reduce((total, point) => total + point[field], 0)
      assert.equal(analytics.timeSeries.length, slots)
      assert.deepEqual([sum('totalRequests'), sum('failoverCount'), sum('cancelledRequests')], [100, 40, 10])
      assert.equal(sum('totalTokens'), analytics.totalTokens)
      assert.equal(analytics.timeSeries[0].at, analytics.from)
      assert.ok(analytics.to - analytics.from > (slots - 1) * stepMs && analytics.to <= Date.now())
    }
  })

  it('metrics() equals the table', bounded, () => {
    const { samples } = readMetrics(pool.metrics())
    const rows = (name, ...table) => {
      for (const [labels, expected] of table) near(samples.get(keyOf(name, labels)), expected, keyOf(name, labels))
    }
    const chat = { route: 'chat' }
    rows(
      'llmpool_requests_total',
      [{ ...chat, outcome: 'success' }, 69],
      [{ ...chat, outcome: 'error' }, 11],
      [{ ...chat, outcome: 'cancelled' }, 10],
      [{ route: 'stream', outcome: 'success' }, 10],
      [{ route: 'stream', outcome: 'error' }, 0],
    )
    const [a, b, c] = [
      { provider: 'a', model: 'gpt-4o' },
      { provider: 'b', model: 'gpt-4o' },
      { provider: 'c', model: 'nobody-knows-its-price' },
    ]
    const failed = (of, error_type) => ({ ...of, outcome: 'failure', error_type })
    rows(
      'llmpool_attempts_total',
      [{ ...a, outcome: 'success', error_type: '' }, 50],
      [{ ...a, outcome: 'cancelled', error_type: '' }, 10],
      [failed(a, 'server_error'), 10],
      [failed(a, 'bad_reply'), 10],
      [failed(a, 'invalid_request'), 10],
      [failed(a, 'overloaded'), 10],
      [{ ...b, outcome: 'success', error_type: '' }, 20],
      [failed(b, 'overloaded'), 10],
      [{ ...c, outcome: 'success', error_type: '' }, 9],
      [failed(c, 'server_error'), 1],
    )
    const moved = (from, to, reason) => ({ from, to, reason })
    rows(
      'llmpool_failovers_total',
      [moved('a', 'b', 'server_error'), 10],
      [moved('a', 'b', 'bad_reply'), 10],
      [moved('a', 'b', 'overloaded'), 10],
      [moved('b', 'c', 'overloaded'), 10],
    )
    rows('llmpool_model_selections_total', [a, 100], [b, 0], [c, 0])
    rows('llmpool_retries_total', [{}, 0])
    rows('llmpool_request_duration_seconds_count', [chat, 80], [{ route: 'stream' }, 10])
    rows('llmpool_overhead_seconds_count', [{}, 79])
    rows('llmpool_attempt_duration_seconds_count', [a, 50], [b, 20], [c, 9])
    rows('llmpool_time_to_first_token_seconds_count', [a, 10], [b, 0])
    rows('llmpool_inter_token_seconds_count', [a, 10], [b, 0])
    rows(
      'llmpool_tokens_total',
      [{ ...a, kind: 'input' }, 600 + 10 * left],
      [{ ...a, kind: 'output' }, 250],
      [{ ...b, kind: 'input' }, 200],
      [{ ...c, kind: 'output' }, 450],
    )
    rows('llmpool_cost_usd_total', [a, 0.011 + 0.0001 * left], [b, 0.012], [c, 0])
    rows('llmpool_unpriced_requests_total', [a, 0], [c, 9])
    rows('llmpool_provider_up', [{ provider: 'a' }, 1], [{ provider: 'c' }, 0])
    rows('llmpool_breaker_state', [{ provider: 'a' }, 0], [{ provider: 'c' }, 2])
    rows('llmpool_breaker_trips_total', [{ provider: 'a' }, 0], [{ provider: 'c' }, 1])
    rows('llmpool_inflight_requests', [{ provider: 'a' }, 0])
    rows('llmpool_queue_depth', [{}, 0])
    rows('llmpool_rate_limit_remaining', [{ provider: 'a', kind: 'requests_per_minute' }, 900])
    rows('llmpool_build_info', [{ version: JSON.parse(read('package.json')).version }, 1])
  })

  it('labels come from the configuration, whatever a reply calls itself', bounded, () => {
    const { families } = readMetrics(pool.metrics())
    const models = new Set()
    for (const { samples } of families.values()) for (const { labels } of samples) models.add(labels.model)
    models.delete(undefined)
    assert.deepEqual([...models].sort(), ['gpt-4o', 'nobody-knows-its-price'])
    assert.equal(pool.metrics().includes('key-of-'), false)
  })

  const python = spawnSync('python3', ['-c', 'import prometheus_client.openmetrics.parser'])
  const skip = python.status === 0 ? false : 'needs python3 with prometheus_client'
  it("Prometheus's own reader of OpenMetrics takes it", { ...roomy, skip }, () => {
    const script = `
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
print(sum(len(family.samples) for family in text_string_to_metric_families(sys.stdin.read())))`
    const text = pool.metrics()
    const parsed = spawnSync('python3', ['-c', script], { input: text, encoding: 'utf8' })
    assert.equal(parsed.status, 0, parsed.stderr)
    assert.equal(Number(parsed.stdout), readMetrics(text).samples.size)
  })

  it('the documentation names each family with its labels, and no other', bounded, () => {
    const { families } = readMetrics(pool.metrics())
    const shown = [...families.values()].map(({ name, type }) => {
      return type === 'counter' ? `${name}_total` : type === 'info' ? `${name}_info` : name
    })
    assert.deepEqual([...documented().keys()].sort(), shown.sort())
    for (const { name, samples } of families.values()) {
      for (const label of new Set(samples.flatMap(({ labels }) => Object.keys(labels)))) {
        assert.ok(label === 'le' || documentedLabels(name).includes(`\`${label}\``), `${label} of ${name}`)
      }
    }
  })

  it('the board for Grafana asks for families and labels that exist', bounded, () => {
    const { families } = readMetrics(pool.metrics())
    const board = JSON.parse(read('deploy/grafana/llmpool.json'))
    const queries = board.panels.flatMap((panel) => (panel.targets ?? []).map((target) => target.expr))
    queries.push(...board.templating.list.flatMap((variable) => variable.query?.query ?? []))
    assert.ok(queries.length > 20)
    const used = new Set()
    for (const query of queries) {
      for (const [name] of query.matchAll(/llmpool_[a-z_]+/g)) {
        const family = [...families.values()].find((each) => belongs(each, name))
        assert.ok(family !== undefined, `${name} in ${query}`)
        used.add(family.name)
      }
      for (const label of labelsIn(query)) {
        const names = [...query.matchAll(/llmpool_[a-z_]+/g)].map(([name]) => name)
        const known = label === 'le' || names.some((name) => documentedLabels(name).includes(`\`${label}\``))
        assert.ok(known, `label ${label} in ${query}`)
      }
    }
    assert.deepEqual([...families.keys()].filter((name) => !used.has(name)).sort(), [], 'every family is on the board')
    const ids = board.panels.map((panel) => panel.id)
    assert.equal(new Set(ids).size, ids.length)
  })
})

function belongs({ name, type }, sample) {
  const endings = { counter: ['_total'], gauge: [''], histogram: ['_bucket', '_count', '_sum'], info: ['_info'] }
  return endings[type].some((ending) => name + ending === sample)
}

function labelsIn(query) {
  const grouped = [...query.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list]) =>
    list.split(',').map((each) => each.trim()),
  )
  const matched = [...query.matchAll(/[{,]\s*([a-z_]+)\s*(?:=~|!~|!=|=)/g)].map(([, label]) => label)
  return [...grouped, ...matched]
}

/** The rows of the table of metrics: name → its labels, as they are written there. */
function documented() {
  const rows = read('docs/stats.md').matchAll(/^\| `(llmpool_[a-z_]+)` \| (.*?) ?\|/gm)
  return new Map([...rows].map(([, name, labels]) => [name, labels]))
}

/** @param {string} name of a family or of one of its samples */
function documentedLabels(name) {
  const rows = documented()
  const endings = ['', '_total', '_info']
  const family = name.replace(/_(bucket|count|sum)$/, '')
  return endings.map((ending) => rows.get(family + ending)).find((labels) => labels !== undefined) ?? ''
}

describe('LLMPool metrics', () => {
  it('are valid before there is a configuration, and so is everything else', bounded, async (t) => {
    const pool = poolOf(t, [{ name: 'a', type: 'openai', api_key: 'k', model: 'm' }])
    const { samples } = readMetrics(pool.metrics())
    assert.equal(samples.size, 1)
    const analytics = pool.getAnalytics('1h')
    assert.deepEqual([analytics.totalRequests, analytics.successRate, analytics.p50], [0, 100, null])
    assert.deepEqual(analytics.providerBreakdown, {})
    assert.equal(analytics.timeSeries.length, 60)
    const before = Object.keys(pool.getStats())
    await pool.initialize()
    assert.deepEqual(Object.keys(pool.getStats()), before)
  })

  it('say which configuration is in force, and how reloads went', bounded, async (t) => {
    const upstream = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', upstream)])
    const config = () => {
      const { samples } = readMetrics(pool.metrics())
      const reloads = (result) => samples.get(keyOf('llmpool_config_reloads_total', { result }))
      return {
        version: samples.get('llmpool_config_version'),
        hash: samples.get(keyOf('llmpool_config_info', { hash: pool.getStats().configChecksum })),
        reloads: [reloads('success'), reloads('error')],
        age: Date.now() / 1000 - samples.get('llmpool_config_last_success_timestamp_seconds'),
      }
    }
    const is = (version, ...reloads) => {
      const { age, ...rest } = config()
      assert.deepEqual(rest, { version, hash: 1, reloads })
      assert.ok(age > -1 && age < 60, `${age}`)
    }
    is(1, 0, 0)
    await pool.reload({ providers: [provider('a', upstream, { priority: 7 })] })
    is(2, 1, 0)
    await pool.reload({ providers: [provider('a', upstream, { priority: 7 })] })
    is(2, 1, 0)
    await rejection(pool.reload({ providers: [] }))
    is(2, 1, 1)
    pool.setProviderPriority('a', 3)
    is(3, 1, 1)
  })

  it('name their content type', bounded, () => {
    assert.equal(LLMPool.METRICS_CONTENT_TYPE, 'application/openmetrics-text; version=1.0.0; charset=utf-8')
  })

  it('names that break lines and quotes are escaped', bounded, async (t) => {
    const upstream = await Upstream.start(t)
    const name = 'a "quoted" \\ name'
    const pool = await openPool(t, [provider(name, upstream, { api_key: 'key', model: 'vendor/model:"x"\\y' })])
    await pool.chat(ask())
    const { samples } = readMetrics(pool.metrics())
    const labels = { provider: name, model: 'vendor/model:"x"\\y' }
    assert.equal(samples.get(keyOf('llmpool_model_selections_total', labels)), 1)
  })

  it('a window that there is not is refused by name', bounded, async (t) => {
    const upstream = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', upstream)])
    for (const window of ['2h', '', undefined, null, 24, {}, 'toString']) {
      assert.throws(
        () => pool.getAnalytics(window),
        (error) => {
          return error instanceof ConfigurationError && /window: must be '1h', '24h' or '7d'/.test(error.message)
        },
      )
    }
  })

  it('are served by the example', bounded, async (t) => {
    const config = join(folder(t), 'config.json')
    writeFileSync(config, JSON.stringify({ providers: [{ name: 'a', type: 'openai', api_key: 'k', model: 'm' }] }))
    const example = join(ROOT, 'examples', 'metrics.mjs')
    const child = spawn(process.execPath, [example, config, '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = once(child, 'exit')
    t.after(() => child.kill('SIGKILL'))
    const [address] = await once(child.stdout.setEncoding('utf8'), 'data')
    const response = await fetch(address.trim())
    assert.equal(response.headers.get('content-type'), LLMPool.METRICS_CONTENT_TYPE)
    const { samples } = readMetrics(await response.text())
    assert.equal(samples.get(keyOf('llmpool_provider_up', { provider: 'a' })), 1)
    assert.equal((await fetch(new URL('/', address.trim()))).status, 404)
    child.kill('SIGTERM')
    assert.deepEqual(await exited, [0, null])
  })
})
