// The main job: the preferred provider fails, another answers, and the program can see what happened.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import {
  Upstream,
  after,
  closeBeforeBytes,
  completion,
  cutBody,
  cutChunkedBody,
  hang,
  ok,
  resetAfterHeaders,
  resetBeforeBytes,
  status,
} from './support/upstream.mjs'
import { LLMPoolError, NoProviderError, ProviderError, RateLimitError, TimeoutError } from '../index.mjs'
import { ask, inOrder, openPool, poolOf, provider, record, rejection, trail } from './support/pool.mjs'
import { bounded, gate } from './support/wait.mjs'

const html = '<html><body><h1>502 Bad Gateway</h1></body></html>'

// what the preferred provider does → the class its line of the trail must carry (undefined: any)
const failures = {
  'answers 500': [status(500), 'server_error', 500],
  'answers 503': [
    status(503, { error: { message: 'overloaded', type: 'service_unavailable_error', code: 'server_is_overloaded' } }),
    'overloaded',
    503,
  ],
  'answers 429 with retry-after': [status(429, undefined, { 'retry-after': '30' }), 'rate_limit', 429],
  'answers 401': [status(401, { error: { message: 'bad key', code: 'invalid_api_key' } }), 'auth', 401],
  'answers 403': [status(403), 'permission', 403],
  'answers 402': [status(402), 'quota_exhausted', 402],
  'answers 404 for its model': [
    status(404, { error: { message: 'no such model', code: 'model_not_found' } }),
    'model_not_found',
    404,
  ],
  'answers 408': [status(408), 'timeout', 408],
  'answers 502 in HTML': [status(502, html, { 'content-type': 'text/html' }), 'server_error', 502],
  'answers an empty 500': [status(500, ''), 'server_error', 500],
  'answers 200 in HTML': [status(200, html, { 'content-type': 'text/html' })],
  'answers 200 with an error object': [
    status(200, { error: { message: 'boom', type: 'server_error' } }),
    'server_error',
  ],
  'answers 200 with an error string': [status(200, { code: 'internal', error: 'boom' })],
  'answers invalid JSON': [status(200, '{"id": "x", "choices": [{"mess'), 'bad_reply'],
  'answers something that is not a completion': [status(200, [1, 2, 3]), 'bad_reply'],
  'answers empty choices': [status(200, { ...completion(), choices: [] }), 'bad_reply'],
  'answers nothing in an empty body': [status(200, ''), 'bad_reply'],
  'stops without having said anything': [ok(''), 'bad_reply'],
  'says that it failed in its finish reason': [ok('half an', { finish: 'error' })],
  'resets the connection': [resetBeforeBytes(), 'network'],
  'closes the connection without a reply': [closeBeforeBytes(), 'network'],
  'resets after its headers': [resetAfterHeaders()],
  'cuts its body': [cutBody()],
  'cuts its chunked body': [cutChunkedBody()],
}

describe('Provider failover: another answers when the preferred one', () => {
  for (const [what, [behaviour, errorClass, code]] of Object.entries(failures)) {
    it(what, bounded, async (t) => {
      const a = await Upstream.start(t, behaviour)
      const b = await Upstream.start(t, ok('from b'))
      const pool = await openPool(
        t,
        inOrder(provider('a', a, { model: 'model-a' }), provider('b', b, { model: 'model-b' })),
      )
      const told = record(pool, 'requestError', 'requestSuccess')

      const response = await pool.chat({ messages: ask() }, { requestId: 'call-7' })

      assert.equal(response.content, 'from b')
      assert.equal(response.provider, 'b')
      assert.equal(response.requestId, 'call-7')
      assert.deepEqual([a.count, b.count], [1, 1])
      assert.deepEqual(trail(response), ['a:failure', 'b:success'])
      const [first, second] = response.attempts
      assert.equal(first.model, 'model-a')
      assert.equal(second.model, 'model-b')
      assert.equal(typeof first.errorClass, 'string')
      if (errorClass) assert.equal(first.errorClass, errorClass)
      if (code) assert.equal(first.status, code)
      assert.equal(second.errorClass ?? null, null)
      for (const line of response.attempts) {
        assert.equal(line.keyIndex, 0)
        assert.ok(line.latencyMs >= 0 && line.waitedMs >= 0)
      }

      // the events said the same, in order, before the promise settled
      assert.deepEqual(
        told.map(([name, event]) => `${name} ${event.provider} ${event.attempt}`),
        ['requestError a 1', 'requestSuccess b 2'],
      )
      const [[, failed], [, succeeded]] = told
      assert.equal(failed.requestId, 'call-7')
      assert.equal(failed.errorClass, first.errorClass)
      assert.equal(typeof failed.error, 'string')
      assert.notEqual(failed.error, '')
      assert.equal(failed.status ?? null, first.status ?? null)
      assert.equal(typeof failed.retryable, 'boolean')
      assert.equal(succeeded.requestId, 'call-7')
      assert.equal(succeeded.model, response.model)
      assert.equal(succeeded.totalErrors, 1)
      assert.deepEqual(succeeded.excludedProviders, ['a'])
      assert.equal(succeeded.usage.total_tokens, 15)
    })
  }

  it('refuses connections', bounded, async (t) => {
    const a = await Upstream.start(t)
    await a.stop()
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    const response = await pool.chat(ask())
    assert.deepEqual(trail(response), ['a:failure', 'b:success'])
    assert.equal(response.attempts[0].errorClass, 'network')
    assert.equal(response.attempts[0].status ?? null, null)
  })

  it('never answers within the timeout of an attempt', bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, inOrder(provider('a', a, { timeout: 50 }), provider('b', b)))
    const response = await pool.chat(ask())
    assert.deepEqual(trail(response), ['a:failure', 'b:success'])
    assert.equal(response.attempts[0].errorClass, 'timeout')
    await a.last.closed // the attempt that was given up is not left running
  })

  it('is killed in the middle of a call', bounded, async (t) => {
    const a = await Upstream.start(t, ok('from a'))
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    assert.equal((await pool.chat(ask())).provider, 'a')

    a.always(hang())
    const running = pool.chat(ask())
    await a.request(2)
    await a.stop()

    const response = await running
    assert.equal(response.content, 'from b')
    assert.deepEqual(trail(response), ['a:failure', 'b:success'])
    const next = await pool.chat(ask())
    assert.equal(next.content, 'from b')
    assert.equal(next.attempts[0].provider, 'a')
  })

  it('and every one before the last fails, each in its own way', bounded, async (t) => {
    const behaviours = [status(500), resetBeforeBytes(), status(401), status(200, '{'), ok('at last')]
    const upstreams = await Promise.all(behaviours.map((behaviour) => Upstream.start(t, behaviour)))
    const pool = await openPool(t, inOrder(...upstreams.map((upstream, index) => provider(`p${index}`, upstream))), {
      retryDelay: 60_000,
    })
    const response = await pool.chat(ask()) // while another is left there is no sleep
    assert.equal(response.content, 'at last')
    assert.deepEqual(trail(response), ['p0:failure', 'p1:failure', 'p2:failure', 'p3:failure', 'p4:success'])
    assert.deepEqual(
      response.attempts.map((line) => line.errorClass ?? null),
      ['server_error', 'network', 'auth', 'bad_reply', null],
    )
    assert.ok(response.attempts.every((line) => line.waitedMs < 1000))
  })
})

describe('Provider order', () => {
  it('is priority, lower first, whatever the order in the config', bounded, async (t) => {
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((name) => Upstream.start(t, ok(`from ${name}`))))
    const pool = await openPool(t, [
      provider('a', a, { priority: 30 }),
      provider('b', b, { priority: 10 }),
      provider('c', c, { priority: 20 }),
    ])
    b.always(status(500))
    assert.deepEqual(trail(await pool.chat(ask())), ['b:failure', 'c:success'])
    assert.equal(a.count, 0)
  })

  it('follows setProviderPriority at once', bounded, async (t) => {
    const a = await Upstream.start(t, ok('from a'))
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    const told = record(pool, 'providerPriorityChanged')
    assert.equal((await pool.chat(ask())).provider, 'a')
    pool.setProviderPriority('b', 0)
    assert.equal((await pool.chat(ask())).provider, 'b')
    assert.equal(pool.getProviderStats().b.priority, 0)
    assert.equal(told.length, 1)
  })

  it('goes only to providers that serve the model or alias asked for', bounded, async (t) => {
    const a = await Upstream.start(t, ok('from a'))
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(
      t,
      inOrder(provider('a', a, { model: 'big' }), provider('b', b, { model: 'small', models: { fast: 'small-v2' } })),
    )
    const response = await pool.chat({ model: 'fast', messages: ask() })
    assert.equal(response.provider, 'b')
    assert.equal(b.last.json.model, 'small-v2')
    assert.equal((await pool.chat({ model: 'big', messages: ask() })).provider, 'a')
    const error = await rejection(pool.chat({ model: 'huge', messages: ask() }))
    assert.ok(error instanceof NoProviderError, error.stack)
    assert.deepEqual([a.count, b.count], [1, 1])
  })

  it('leaves out disabled providers', bounded, async (t) => {
    const a = await Upstream.start(t)
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, inOrder(provider('a', a, { enabled: false }), provider('b', b)))
    const response = await pool.chat(ask())
    assert.equal(response.provider, 'b')
    assert.equal(a.count, 0)
  })

  it('skips a provider whose key was refused, from the next call on', bounded, async (t) => {
    const a = await Upstream.start(t, status(401))
    const b = await Upstream.start(t)
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    for (let call = 0; call < 3; call++) assert.equal((await pool.chat(ask())).provider, 'b')
    assert.deepEqual([a.count, b.count], [1, 3])
  })

  it('skips a provider that said how long it is limited', bounded, async (t) => {
    const a = await Upstream.start(t, status(429, undefined, { 'retry-after': '60' }))
    const b = await Upstream.start(t)
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    for (let call = 0; call < 3; call++) assert.equal((await pool.chat(ask())).provider, 'b')
    assert.deepEqual([a.count, b.count], [1, 3])
    assert.equal(pool.getProviderStats().a.health.circuitState, 'closed')
  })

  it('tries the next key of the same provider when one is refused', bounded, async (t) => {
    const a = await Upstream.start(t, (exchange) =>
      (exchange.headers.authorization === 'Bearer good' ? ok('with the good key') : status(401))(exchange),
    )
    const pool = await openPool(t, [{ ...provider('a', a), api_key: undefined, api_keys: ['revoked', 'good'] }])
    const response = await pool.chat(ask())
    assert.equal(response.content, 'with the good key')
    assert.deepEqual(trail(response), ['a:failure', 'a:success'])
    assert.deepEqual(
      response.attempts.map((line) => line.keyIndex),
      [0, 1],
    )
    for (let call = 0; call < 3; call++) await pool.chat(ask())
    assert.equal(a.exchanges.filter((exchange) => exchange.headers.authorization === 'Bearer revoked').length, 1)
  })
})

describe('Provider keys', () => {
  it('are used in turn', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [{ ...provider('a', a), api_key: undefined, api_keys: ['k0', 'k1', 'k2'] }])
    const indexes = []
    for (let call = 0; call < 6; call++) indexes.push((await pool.chat(ask())).attempts[0].keyIndex)
    assert.deepEqual(indexes, [0, 1, 2, 0, 1, 2])
    assert.deepEqual(
      a.exchanges.map((exchange) => exchange.headers.authorization),
      indexes.map((index) => `Bearer k${index}`),
    )
  })

  it('one that is limited rests, the others go on', bounded, async (t) => {
    const a = await Upstream.start(t, (exchange) =>
      (exchange.headers.authorization === 'Bearer k0' ? status(429, undefined, { 'retry-after': '60' }) : ok())(
        exchange,
      ),
    )
    const pool = await openPool(t, [{ ...provider('a', a), api_key: undefined, api_keys: ['k0', 'k1'] }])
    for (let call = 0; call < 4; call++) assert.equal((await pool.chat(ask())).content, 'pong')
    assert.equal(a.exchanges.filter((exchange) => exchange.headers.authorization === 'Bearer k0').length, 1)
  })
})

describe('Provider failover: what is thrown when nobody answers', () => {
  it('a ProviderError with the whole trail', bounded, async (t) => {
    const a = await Upstream.start(t, status(500, { error: { message: 'a broke' } }))
    const b = await Upstream.start(t, status(503, { error: { message: 'b is full' } }))
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)), { maxRetries: 0 })
    const told = record(pool, 'requestError', 'requestSuccess')
    const error = await rejection(pool.chat(ask(), { requestId: 'lost' }))
    assert.ok(error instanceof ProviderError && error instanceof LLMPoolError && error instanceof Error)
    assert.equal(error.name, 'ProviderError')
    assert.equal(error.code, 'ERR_LLMPOOL_PROVIDER')
    assert.deepEqual(trail(error), ['a:failure', 'b:failure'])
    assert.equal(error.requestId, 'lost')
    assert.ok(['a', 'b'].includes(error.provider))
    assert.equal(error.status, error.provider === 'a' ? 500 : 503)
    assert.equal(error.statusCode, error.status)
    assert.equal(error.retryable, true)
    assert.equal(error.retryAfterMs, null)
    assert.match(error.message, error.provider === 'a' ? /a broke/ : /b is full/)
    assert.deepEqual(
      told.map(([name, event]) => `${name} ${event.provider}`),
      ['requestError a', 'requestError b'],
    )
  })

  it('a RateLimitError with the seconds until the soonest is free', bounded, async (t) => {
    const a = await Upstream.start(t, status(429, undefined, { 'retry-after': '90' }))
    const b = await Upstream.start(t, status(429, undefined, { 'retry-after-ms': '45000.5' }))
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    const error = await rejection(pool.chat(ask()))
    assert.ok(error instanceof RateLimitError && error instanceof ProviderError, error.stack)
    assert.equal(error.code, 'ERR_LLMPOOL_RATE_LIMITED')
    assert.ok(error.resetTime > 40 && error.resetTime <= 46, `resetTime ${error.resetTime}`)
    assert.ok(error.retryAfterMs > 40_000 && error.retryAfterMs <= 46_000, `retryAfterMs ${error.retryAfterMs}`)
    assert.deepEqual([a.count, b.count], [1, 1])
    // limited is known now: the next call is refused without asking anyone
    assert.ok((await rejection(pool.chat(ask()))) instanceof RateLimitError)
    assert.deepEqual([a.count, b.count], [1, 1])
  })

  it('a TimeoutError that says which timer, when an attempt was too slow', bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const pool = await openPool(t, [provider('a', a)], { maxRetries: 0 })
    const error = await rejection(pool.chat(ask(), { timeout: 50 }))
    assert.ok(error instanceof TimeoutError && error instanceof ProviderError, error.stack)
    assert.equal(error.code, 'ERR_LLMPOOL_TIMEOUT')
    assert.equal(error.phase, 'attempt')
    assert.deepEqual(trail(error), ['a:failure'])
    await a.last.closed
  })

  it('a TimeoutError at once, when the call gives nobody any time', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    const error = await rejection(pool.chat(ask(), { timeout: 0 }))
    assert.ok(error instanceof TimeoutError, error.stack)
    assert.deepEqual([error.phase, error.attempts, a.count], ['attempt', [], 0])
    assert.equal((await pool.chat(ask())).content, 'pong')
  })

  it('a NoProviderError that says when one can be asked again', bounded, async (t) => {
    const a = await Upstream.start(t, status(401))
    const b = await Upstream.start(t, status(404, { error: { message: 'no such model', code: 'model_not_found' } }))
    for (const [upstream, outcome] of [
      [a, 'a:key_cooling'],
      [b, 'a:model_missing'],
    ]) {
      const pool = await openPool(t, [provider('a', upstream)])
      await rejection(pool.chat(ask()))
      const error = await rejection(pool.chat(ask()))
      assert.ok(error instanceof NoProviderError, error.stack)
      assert.deepEqual(trail(error), [outcome])
      assert.ok(error.retryAfterMs > 250_000 && error.retryAfterMs <= 300_000, `retryAfterMs ${error.retryAfterMs}`)
      assert.deepEqual(
        error.reasons.map((reason) => Object.keys(reason)),
        [['provider', 'reason']],
      )
      const { available, retryAt } = pool.getProviderStats().a.health
      assert.deepEqual([available, pool.getPoolHealth().healthy], [false, false])
      assert.ok(Math.abs(retryAt - Date.now() - error.retryAfterMs) < 5000, `retryAt ${retryAt}`)
    }
  })

  it('a TimeoutError at the deadline of the call, whatever is still to be tried', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const b = await Upstream.start(t, hang())
    const c = await Upstream.start(t)
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b), provider('c', c)))
    const error = await rejection(pool.chat(ask(), { deadline: 60 }))
    assert.ok(error instanceof TimeoutError, error.stack)
    assert.equal(error.phase, 'deadline')
    assert.equal(error.attempts[0].provider, 'a')
    assert.equal(c.count, 0)
    if (b.count > 0) await b.last.closed
  })

  it('a deadline of 0 is over before anything is sent', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    const error = await rejection(pool.chat(ask(), { deadline: 0 }))
    assert.ok(error instanceof TimeoutError, error.stack)
    assert.equal(error.phase, 'deadline')
    assert.equal(a.count, 0)
  })

  it('the deadline ends a backoff too', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = await openPool(t, [provider('a', a)], { retryDelay: 3_600_000 })
    const error = await rejection(pool.chat(ask(), { deadline: 50 }))
    assert.ok(error instanceof LLMPoolError)
    assert.equal(a.count, 1)
  })
})

describe('Provider retry', () => {
  it('asks the same provider again when nobody else is left', bounded, async (t) => {
    const a = await Upstream.start(t, ok('third time'))
    a.next(resetBeforeBytes(), status(500)) // the reset on a fresh connection: a used one is resent and blames nobody
    const pool = await openPool(t, [provider('a', a)])
    const response = await pool.chat(ask())
    assert.equal(response.content, 'third time')
    assert.deepEqual(trail(response), ['a:failure', 'a:failure', 'a:success'])
  })

  it('waits as long as the server says, not as long as its own backoff would', bounded, async (t) => {
    const a = await Upstream.start(t, ok('after the wait'))
    a.next(status(429, undefined, { 'retry-after-ms': '80' }))
    const pool = await openPool(t, [provider('a', a)], { retryDelay: 3_600_000 })
    const response = await pool.chat(ask())
    assert.equal(response.content, 'after the wait')
    const [first, second] = a.exchanges
    assert.ok(second.at - first.at >= 78, `waited ${second.at - first.at} ms`)
    assert.ok(response.attempts.at(-1).waitedMs >= 70)
  })

  for (const hint of ['-5', 'NaN', 'soon', '', 'Thu, 01 Jan 1970 00:00:00 GMT']) {
    it(`ignores a wait that is no time: retry-after: "${hint}"`, bounded, async (t) => {
      const a = await Upstream.start(t, ok('again'))
      a.next(status(429, undefined, { 'retry-after': hint }))
      const pool = await openPool(t, [provider('a', a)])
      assert.equal((await pool.chat(ask())).content, 'again')
      assert.equal(a.count, 2)
    })
  }

  it('takes an absurd wait as "not soon" and fails at once', bounded, async (t) => {
    const a = await Upstream.start(t, status(429, undefined, { 'retry-after': '99999999999999999999' }))
    const pool = await openPool(t, [provider('a', a)])
    const error = await rejection(pool.chat(ask()))
    assert.ok(error instanceof RateLimitError, error.stack)
    assert.ok(Number.isFinite(error.resetTime) && error.resetTime > 3600)
    assert.equal(a.count, 1)
  })

  it('x-should-retry: false keeps it off the same provider and nothing else', bounded, async (t) => {
    const a = await Upstream.start(t, status(500, undefined, { 'x-should-retry': 'false' }))
    const b = await Upstream.start(t, ok('from b'))
    const alone = await openPool(t, [provider('a', a)])
    await rejection(alone.chat(ask()))
    assert.equal(a.count, 1)
    const both = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    assert.equal((await both.chat(ask())).content, 'from b')
  })
})

describe('LLMPool events', () => {
  it('of a call come in order and before its promise settles', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const b = await Upstream.start(t)
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    const order = []
    pool.on('requestError', (event) => order.push(`error ${event.requestId}`))
    pool.on('requestSuccess', (event) => order.push(`success ${event.requestId}`))
    const call = async (requestId) => {
      await pool.chat(ask(), { requestId })
      order.push(`settled ${requestId}`)
    }
    await Promise.all(['x', 'y', 'z'].map(call))
    for (const id of ['x', 'y', 'z']) {
      assert.deepEqual(
        order.filter((line) => line.endsWith(` ${id}`)),
        [`error ${id}`, `success ${id}`, `settled ${id}`],
      )
    }
  })

  it('reach listeners added with once() once, and removed listeners not at all', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    let once = 0
    let removed = 0
    const listener = () => removed++
    pool.once('requestSuccess', () => once++)
    pool.on('requestSuccess', listener)
    await pool.chat(ask())
    pool.off('requestSuccess', listener)
    await pool.chat(ask())
    assert.deepEqual([once, removed], [1, 1])
    let late = 0
    pool.on('requestSuccess', () => late++)
    await pool.chat(ask())
    assert.equal(late, 1)
  })

  it('ready is told once, by whoever initializes', bounded, async (t) => {
    const held = gate()
    const a = await Upstream.start(t, after(held.opened, ok()))
    const pool = poolOf(t, [provider('a', a)])
    let ready = 0
    pool.on('ready', () => ready++)
    const calls = [pool.chat(ask()), pool.chat(ask())]
    held.open()
    await Promise.all(calls)
    await pool.initialize()
    assert.equal(ready, 1)
  })
})
