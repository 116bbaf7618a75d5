// Failing over is free, repeating is counted: how many requests one call may cause, and whose fault goes where.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { InvalidRequestError, LLMPoolError, NoProviderError, ProviderError } from '../index.mjs'
import { Upstream, hang, ok, resetBeforeBytes, status } from './support/upstream.mjs'
import { ask, inOrder, openPool, provider, record, rejection, trail } from './support/pool.mjs'
import { bounded } from './support/wait.mjs'

const sum = (upstreams) => upstreams.reduce((total, upstream) => total + upstream.count, 0)
const start = (t, count, behaviour) => Promise.all(Array.from({ length: count }, () => Upstream.start(t, behaviour)))

describe('LLMPool attempts: the bound', () => {
  const down = {
    500: status(500),
    503: status(503),
    'a reset': resetBeforeBytes(),
    401: status(401),
    429: status(429, undefined, { 'retry-after-ms': '1' }),
    404: status(404),
    402: status(402),
    'invalid JSON': status(200, '{'),
    '400 unsupported parameter': status(400, {
      error: {
        message: "Unsupported parameter: 'max_tokens'",
        type: 'invalid_request_error',
        param: 'max_tokens',
        code: 'unsupported_parameter',
      },
    }),
  }
  for (const [what, behaviour] of Object.entries(down)) {
    for (const [providers, keys, maxRetries] of [
      [1, 1, 3],
      [3, 1, 3],
      [2, 3, 2],
      [3, 1, 0],
    ]) {
      it(
        `${what} everywhere: ${providers} provider(s) with ${keys} key(s), maxRetries ${maxRetries}`,
        bounded,
        async (t) => {
          const upstreams = await start(t, providers, behaviour)
          const configured = upstreams.map((upstream, index) => ({
            ...provider(`p${index}`, upstream),
            api_key: undefined,
            api_keys: Array.from({ length: keys }, (_, key) => `p${index}-key-${key}`),
          }))
          const pool = await openPool(t, inOrder(...configured), { maxRetries })
          const error = await rejection(pool.chat({ messages: ask(), max_tokens: 5 }))
          assert.ok(error instanceof LLMPoolError, error.stack)
          const bound = providers * keys + maxRetries + 1 + 1
          assert.ok(sum(upstreams) >= 1 && sum(upstreams) <= bound, `${sum(upstreams)} requests, bound ${bound}`)
          const sent = error.attempts.filter((line) => ['success', 'failure', 'cancelled'].includes(line.outcome))
          assert.ok(sent.length >= 1 && sent.length <= sum(upstreams), 'the trail tells of what was sent')
        },
      )
    }
  }

  it('each is visited once, then the retries, no more', bounded, async (t) => {
    const upstreams = await start(t, 3, status(500))
    const pool = await openPool(t, inOrder(...upstreams.map((upstream, index) => provider(`p${index}`, upstream))), {
      maxRetries: 2,
    })
    const error = await rejection(pool.chat(ask()))
    assert.equal(sum(upstreams), 3 + 2)
    assert.ok(upstreams.every((upstream) => upstream.count >= 1))
    assert.deepEqual(trail(error).slice(0, 3), ['p0:failure', 'p1:failure', 'p2:failure'])
  })

  it('maxRetries 0 still fails over', bounded, async (t) => {
    const [a, b] = await start(t, 2, status(500))
    const c = await Upstream.start(t, ok('from c'))
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b), provider('c', c)), { maxRetries: 0 })
    assert.equal((await pool.chat(ask())).content, 'from c')
    assert.deepEqual([a.count, b.count, c.count], [1, 1, 1])
    c.always(status(500))
    await rejection(pool.chat(ask()))
    assert.deepEqual([a.count, b.count, c.count], [2, 2, 2])
  })

  it("a call may set its own number, over the pool's, over the config's", bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const quiet = { circuit_breaker_threshold: 0 }
    const pool = await openPool(t, [provider('a', a, quiet)], {
      maxRetries: 2,
      config: { routing: { max_retries: 5 } },
    })
    await rejection(pool.chat(ask()))
    assert.equal(a.count, 3)
    await rejection(pool.chat(ask(), { maxRetries: 0 }))
    assert.equal(a.count, 4)
    await rejection(pool.chat({ messages: ask(), maxRetries: 1 }))
    assert.equal(a.count, 6)
    const configured = await openPool(t, [provider('a', a, quiet)], { config: { routing: { max_retries: 1 } } })
    await rejection(configured.chat(ask()))
    assert.equal(a.count, 8)
  })

  it('retries draw on the budget of the pool, and a refusal shows in the trail', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 0 })], {
      maxRetries: 3,
      config: { routing: { retry_budget: { ratio: 0, per_second: 0, burst: 2 } } },
    })
    const errors = []
    for (let call = 0; call < 5; call++) errors.push(await rejection(pool.chat(ask())))
    assert.equal(a.count, 5 + 2)
    assert.ok(errors.some((error) => error.attempts.some((line) => line.outcome === 'retry_budget')))
  })
})

describe('LLMPool attempts: narrowing', () => {
  it('failover: false asks the first only', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const b = await Upstream.start(t)
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)), { maxRetries: 1 })
    const error = await rejection(pool.chat(ask(), { failover: false }))
    assert.ok(error instanceof ProviderError)
    assert.deepEqual([a.count, b.count], [2, 0])
    assert.deepEqual(trail(error), ['a:failure', 'a:failure'])
  })

  it('enable_failover: false in the config does the same, unless the call says otherwise', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)), {
      maxRetries: 0,
      config: { routing: { enable_failover: false } },
    })
    await rejection(pool.chat(ask()))
    assert.deepEqual([a.count, b.count], [1, 0])
    assert.equal((await pool.chat(ask(), { failover: true })).content, 'from b')
  })

  it('providers: [name] restricts, whatever the order', bounded, async (t) => {
    const a = await Upstream.start(t)
    const b = await Upstream.start(t, ok('from b'))
    const c = await Upstream.start(t)
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b), provider('c', c)), { maxRetries: 0 })
    assert.equal((await pool.chat(ask(), { providers: ['b'] })).content, 'from b')
    assert.equal((await pool.chat({ messages: ask(), providers: ['b'] })).content, 'from b')
    b.always(status(500))
    await rejection(pool.chat(ask(), { providers: ['b'] }))
    assert.deepEqual([a.count, b.count, c.count], [0, 3, 0])
  })

  it('a name nobody has is refused, not ignored', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    const error = await rejection(pool.chat(ask(), { providers: ['nobody'] }))
    assert.ok(error instanceof NoProviderError || error instanceof InvalidRequestError, error.stack)
    assert.match(`${error.message} ${JSON.stringify(error.reasons ?? '')}`, /nobody/)
    assert.equal(a.count, 0)
  })
})

describe("LLMPool attempts: the caller's own fault", () => {
  const faults = {
    '400 invalid request': [
      status(400, { error: { message: 'no such field', type: 'invalid_request_error' } }),
      'invalid_request',
      400,
    ],
    422: [status(422, { detail: [{ loc: ['body'], msg: 'nope', type: 'value_error' }] }), 'invalid_request', 422],
    'a prompt over the window': [
      status(400, { error: { message: 'too long', type: 'invalid_request_error', code: 'context_length_exceeded' } }),
      'context_length',
      400,
    ],
    413: [status(413), 'request_too_large', 413],
    'refused content': [status(400, { error: { message: 'filtered', code: 'content_filter' } }), 'content_filter', 400],
  }
  for (const [what, [behaviour, errorClass, code]] of Object.entries(faults)) {
    it(`${what}: thrown at once, tried nowhere else, nobody blamed`, bounded, async (t) => {
      const a = await Upstream.start(t, behaviour)
      const b = await Upstream.start(t, ok('from b'))
      const pool = await openPool(t, inOrder(provider('a', a, { circuit_breaker_threshold: 1 }), provider('b', b)))
      const told = record(pool, 'requestError', 'circuitOpen')
      const error = await rejection(pool.chat(ask()))
      assert.ok(error instanceof ProviderError, error.stack)
      assert.equal(error.errorClass, errorClass)
      assert.equal(error.status, code)
      assert.equal(error.retryable, false)
      assert.equal(error.provider, 'a')
      assert.deepEqual(trail(error), ['a:failure'])
      assert.deepEqual([a.count, b.count], [1, 0])
      assert.deepEqual(
        told.map(([name]) => name),
        ['requestError'],
      )
      assert.equal(told[0][1].retryable, false)

      const { health } = pool.getProviderStats().a
      assert.equal(health.available, true)
      assert.equal(health.circuitState, 'closed')
      a.always(ok('from a'))
      assert.equal((await pool.chat(ask())).provider, 'a') // it is still the preferred one
    })
  }
})

describe('LLMPool attempts: one straight line', () => {
  it("calls do not stand in each other's way: a slow provider holds only its own call", bounded, async (t) => {
    const slow = await Upstream.start(t, hang())
    const fast = await Upstream.start(t, ok('fast'))
    const pool = await openPool(t, inOrder(provider('slow', slow), provider('fast', fast)))
    const controller = new AbortController()
    const held = rejection(pool.chat(ask(), { providers: ['slow'], signal: controller.signal }))
    await slow.request(1)
    for (let call = 0; call < 20; call++)
      assert.equal((await pool.chat(ask(), { providers: ['fast'] })).content, 'fast')
    controller.abort()
    await held
  })
})
