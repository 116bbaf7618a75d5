// Your own function under the pool: chosen, limited, retried and booked like a chat.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import OpenAI from 'openai'
import { ask, inOrder, openPool, poolOf, provider, rejection, trail } from './support/pool.mjs'
import { hang, ok, status, Upstream } from './support/upstream.mjs'
import { bounded, deferred, settled, until } from './support/wait.mjs'
import { InvalidRequestError, PoolClosedError, ProviderError, RateLimitError, TimeoutError } from '../index.mjs'

const nowhere = { base: 'http://127.0.0.1:9/v1' }
const two = () => inOrder(provider('a', nowhere), provider('b', nowhere))

/** An error as SDKs throw it. */
const sdkError = (status, fields = {}) =>
  Object.assign(new Error(`${status} no`), { status, headers: new Headers(), ...fields })

/** A function that does this with each turn, and remembers the turns. */
function scripted(act) {
  const turns = []
  const fn = (turn) => {
    turns.push(turn)
    return act(turn)
  }
  return { fn, turns, names: () => turns.map((turn) => turn.provider) }
}

/** One exchange with fetch, its errors as SDKs throw them. */
async function call({ apiKey, baseURL, model, signal }) {
  const reply = await fetch(`${baseURL}/chat/completions`, {
    method: 'POST',
    signal,
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: ask() }),
  })
  const body = await reply.json()
  if (!reply.ok)
    throw Object.assign(new Error(`${reply.status}`), {
      status: reply.status,
      headers: reply.headers,
      error: body.error,
    })
  return body
}

describe('LLMPool execute', () => {
  it('calls the function with what an SDK needs, and resolves with what it returns', bounded, async (t) => {
    const pool = await openPool(t, two())
    const { fn, turns } = scripted(() => ({ any: ['thing'] }))
    assert.deepEqual(await pool.execute(fn), { any: ['thing'] })
    const [{ signal, ...turn }] = turns
    assert.deepEqual(turn, { provider: 'a', model: 'gpt-4o', apiKey: 'key-of-a', baseURL: nowhere.base, attempt: 1 })
    assert.ok(signal instanceof AbortSignal && !signal.aborted)
    for (const value of [undefined, null, 0, '', Number.NaN, 10n, Symbol.iterator, fn]) {
      assert.equal(await pool.execute(() => value), value)
    }
  })

  it('initializes the pool, and refuses what is no function', bounded, async (t) => {
    const pool = poolOf(t, two())
    assert.equal(await pool.execute(() => 1), 1)
    for (const fn of [undefined, null, {}, 'x'])
      assert.ok((await rejection(pool.execute(fn))) instanceof InvalidRequestError)
    assert.ok((await rejection(pool.execute(() => 1, { messages: ask() }))) instanceof InvalidRequestError)
    assert.ok((await rejection(pool.execute(() => 1, { timeOut: 1 }))) instanceof InvalidRequestError)
    await pool.shutdown()
    assert.ok((await rejection(pool.execute(() => 1))) instanceof PoolClosedError)
  })

  it('fails over and retries as a chat does', bounded, async (t) => {
    const pool = await openPool(t, two())
    const { fn, names } = scripted(({ provider }) => {
      if (provider === 'a') throw sdkError(500)
      return provider
    })
    assert.equal(await pool.execute(fn), 'b')
    const down = scripted(async () => {
      throw sdkError(503)
    })
    const error = await rejection(pool.execute(down.fn, { maxRetries: 2 }))
    assert.ok(error instanceof ProviderError && error.errorClass === 'overloaded' && error.status === 503, error.stack)
    assert.deepEqual(names(), ['a', 'b'])
    assert.deepEqual(
      down.turns.map(({ provider, attempt }) => `${provider}${attempt}`),
      ['a1', 'b2', 'a3', 'b4'],
    )
    assert.deepEqual(trail(error), ['a:failure', 'b:failure', 'a:failure', 'b:failure'])
    assert.equal(error.cause.message, '503 no')
  })

  it('reads an error with a status like a reply: quota, hints, whose fault', bounded, async (t) => {
    const pool = await openPool(t, two())
    const limited = () => {
      throw sdkError(429, { headers: { 'retry-after': '60' } })
    }
    const error = await rejection(pool.execute(limited))
    assert.ok(error instanceof RateLimitError && error.resetTime > 59, error.stack)
    assert.ok((await rejection(pool.execute(() => assert.fail('nobody is asked')))) instanceof RateLimitError)

    const fresh = await openPool(t, two())
    const empty = scripted(({ provider }) => {
      if (provider === 'a') throw sdkError(429, { error: { code: 'insufficient_quota', message: 'empty' } })
    })
    await fresh.execute(empty.fn)
    await fresh.execute(empty.fn)
    assert.deepEqual(empty.names(), ['a', 'b', 'b'], 'an empty account rests')

    const wrong = await rejection(
      (await openPool(t, two())).execute(() => {
        throw sdkError(400, { error: { message: 'messages: too few' } })
      }),
    )
    assert.ok(wrong instanceof ProviderError && !wrong.retryable && wrong.attempts.length === 1, wrong.stack)
  })

  it('rejects with an error of your own as it is, at once, and blames nobody', bounded, async (t) => {
    const pool = await openPool(t, two())
    for (const own of [new TypeError('mine'), 'a string', undefined, Object.freeze({})]) {
      const { fn, names } = scripted(() => {
        throw own
      })
      assert.equal(await rejection(pool.execute(fn)), own)
      assert.deepEqual(names(), ['a'])
    }
    assert.equal(pool.getPoolHealth().providers.a.errors, 0)
  })

  it('counts an error of a connection against the provider', bounded, async (t) => {
    const pool = await openPool(t, [provider('a', nowhere, { circuit_breaker_threshold: 2 })])
    const refused = () => {
      throw new TypeError('fetch failed', { cause: Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }) })
    }
    for (let n = 0; n < 2; n++) {
      assert.equal((await rejection(pool.execute(refused, { maxRetries: 0 }))).errorClass, 'network')
    }
    assert.ok(pool.getPoolHealth().providers.a.circuitBreakerOpen)
  })

  it('holds limits, and books requests and usage', bounded, async (t) => {
    const prices = { input_token_price: 1, output_token_price: 1 }
    const pool = await openPool(
      t,
      inOrder(provider('a', nowhere, { requests_per_minute: 2, ...prices }), provider('b', nowhere)),
    )
    const { fn, names } = scripted(() => ({ usage: { prompt_tokens: 700, completion_tokens: 300 } }))
    for (let n = 0; n < 3; n++) await pool.execute(fn)
    assert.deepEqual(names(), ['a', 'a', 'b'])
    const { usage } = pool.getProviderStats().a
    assert.deepEqual([usage.totalRequests, usage.promptTokens, usage.completionTokens], [2, 1400, 600])
    assert.equal(usage.totalCost, 2)
  })

  it('ends a turn that takes too long, by its signal, and asks the next provider', bounded, async (t) => {
    const pool = await openPool(t, two())
    const aborted = deferred()
    const { fn } = scripted(({ provider, signal }) => {
      if (provider === 'b') return 'from b'
      return new Promise(() => signal.addEventListener('abort', () => aborted.resolve(signal.reason)))
    })
    assert.equal(await pool.execute(fn, { timeout: 20 }), 'from b')
    assert.equal((await aborted.promise).name, 'TimeoutError')
    const error = await rejection(pool.execute(() => new Promise(() => {}), { timeout: 5, maxRetries: 0 }))
    assert.ok(error instanceof TimeoutError && error.phase === 'attempt', error.stack)
  })

  it('what a turn says after its time changes nothing', bounded, async (t) => {
    const pool = await openPool(t, two())
    const late = deferred()
    const fn = ({ provider }) => (provider === 'a' ? late.promise : 'from b')
    const answer = await pool.execute(fn, { timeout: 20 })
    late.resolve('late')
    await until(() => pool.getProviderStats().a.usage.inFlight === 0)
    assert.equal(answer, 'from b')
  })

  it('is left by its signal and ended by a shutdown', bounded, async (t) => {
    const pool = await openPool(t, two())
    const controller = new AbortController()
    const begun = deferred()
    const { fn, turns } = scripted(() => {
      begun.resolve()
      return new Promise(() => {})
    })
    const left = rejection(pool.execute(fn, { signal: controller.signal }))
    await begun.promise
    controller.abort(new Error('enough'))
    assert.equal((await left).message, 'enough')
    assert.equal(turns[0].signal.reason.message, 'enough')
    assert.equal(pool.getProviderStats().a.usage.inFlight, 0)

    const ended = rejection(pool.execute(fn))
    await until(() => turns.length === 2)
    await pool.shutdown({ drainTimeout: 0 })
    const error = await ended
    assert.ok(error instanceof PoolClosedError && error.attempts[0].outcome === 'cancelled', error.stack)
    assert.ok(turns[1].signal.aborted)
  })

  it('leaves the same trail as a chat for the same story', bounded, async (t) => {
    const story = async () => {
      const a = await Upstream.start(t, status(500))
      a.next(ok(), status(429, undefined, { 'retry-after': '0' }))
      const b = await Upstream.start(t, ok())
      b.next(status(503), status(401), ok())
      const more = { api_keys: ['first', 'second'], api_key: undefined }
      const providers = JSON.parse(JSON.stringify(inOrder(provider('a', a), provider('b', b, more))))
      return openPool(t, providers, { config: { routing: { seed: 7, max_retries: 1 } } })
    }
    /** Four calls, one after another: each meets what the one before it left. */
    const told = async (pool, ask) => {
      for (let n = 0; n < 4; n++) await settled(ask(pool))
    }
    const attempts = []
    const note = (pool) => {
      const lines = []
      pool.on('requestSuccess', ({ provider, attempt }) => lines.push(`success ${provider} ${attempt}`))
      pool.on('requestError', ({ provider, attempt, errorClass, status }) =>
        lines.push(`${errorClass} ${status} ${provider} ${attempt}`),
      )
      attempts.push(lines)
      return pool
    }
    await told(note(await story()), (pool) => pool.chat(ask()))
    await told(note(await story()), (pool) => pool.execute(call))
    assert.ok(attempts[0].length > 6, attempts[0].join())
    assert.deepEqual(attempts[1], attempts[0])
  })

  it('an official SDK in the function', bounded, async (t) => {
    const broken = await Upstream.start(t, status(500))
    const hanging = await Upstream.start(t, hang())
    const sound = await Upstream.start(t, ok('Oslo'))
    const providers = inOrder(provider('a', broken), provider('b', hanging), provider('c', sound))
    const pool = await openPool(t, providers)
    const answer = await pool.execute(
      async ({ apiKey, baseURL, model, signal }) => {
        const openai = new OpenAI({ apiKey, baseURL, maxRetries: 0 })
        return openai.chat.completions.create({ model, messages: ask() }, { signal })
      },
      { timeout: 500 },
    )
    assert.equal(answer.choices[0].message.content, 'Oslo')
    assert.deepEqual([broken.count, hanging.count, sound.count], [1, 1, 1])
    assert.equal(sound.last.headers.authorization, 'Bearer key-of-c')
    await hanging.last.closed
    assert.ok(pool.getProviderStats().c.usage.totalTokensUsed > 0)
  })
})
