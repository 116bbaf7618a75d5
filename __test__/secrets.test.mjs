// A key is nowhere: not in stats, events, errors or any view of the pool, also when the upstream echoes it.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { ConfigurationError, LLMPool } from '../index.mjs'
import { Upstream, chunk, ok, resetBeforeBytes, sse, sseOk, status } from './support/upstream.mjs'
import { startProxy } from './support/proxy.mjs'
import { folder } from './support/child.mjs'
import { ask, drain, inOrder, provider, rejection } from './support/pool.mjs'
import { bounded } from './support/wait.mjs'

const KEY = 'sk-proj-Zq8+vT3/xW5=kR7_mN9-pL2.4jH6'
const b64 = (text) => Buffer.from(text).toString('base64')
const forms = {
  raw: KEY,
  'URL-encoded': encodeURIComponent(KEY),
  base64: b64(KEY),
  base64url: Buffer.from(KEY).toString('base64url'),
}

/** Everything somebody could print of a value. */
function allTextOf(value, seen = new Set()) {
  if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return String(value)
  if (seen.has(value)) return ''
  seen.add(value)
  const texts = [inspect(value, { depth: 20, showHidden: true, maxStringLength: null, maxArrayLength: null })]
  try {
    texts.push(String(value), JSON.stringify(value) ?? '')
  } catch {}
  if (value instanceof Error) {
    for (const name of Object.getOwnPropertyNames(value)) texts.push(allTextOf(value[name], seen))
    texts.push(value.message, value.stack ?? '')
  }
  return texts.join('\n')
}

function assertClean(what, value, secrets = forms) {
  const text = allTextOf(value)
  for (const [form, secret] of Object.entries(secrets)) {
    const at = text.indexOf(secret)
    assert.equal(
      at,
      -1,
      `${what} shows the key (${form}): …${text.slice(Math.max(0, at - 80), at + secret.length + 20)}`,
    )
  }
}

const EVENTS = [
  'ready',
  'providersUpdated',
  'requestSuccess',
  'requestError',
  'circuitOpen',
  'circuitHalfOpen',
  'circuitClose',
  'rateLimited',
  'debug',
  'error',
  'shutdown',
  'configChanged',
  'providerPriorityChanged',
  'circuitBreakersReset',
  'healthChanged',
  'budgetWarning',
]

/** A pool that keeps whatever its events said. */
async function watched(t, providers, options) {
  const pool = new LLMPool({
    config: { providers, routing: { queue_timeout_ms: 0 } },
    maxRetries: 0,
    debug: true,
    ...options,
  })
  t.after(() => pool.shutdown({ drainTimeout: 0 }))
  const said = []
  for (const name of EVENTS) pool.on(name, (...args) => said.push([name, ...args]))
  await pool.initialize()
  return { pool, said }
}

function assertPoolClean(pool, said, secrets) {
  assertClean('inspect(pool)', pool, secrets)
  assertClean('getProviderStats()', pool.getProviderStats(), secrets)
  assertClean('getPoolHealth()', pool.getPoolHealth(), secrets)
  assertClean('getStats()', pool.getStats(), secrets)
  assertClean('the events', said, secrets)
}

const withKey = (name, upstream, more) =>
  provider(name, upstream, { api_key: KEY, circuit_breaker_threshold: 2, ...more })

describe('Provider secrets: what upstreams echo', () => {
  const echoes = {}
  for (const [form, text] of Object.entries(forms)) {
    for (const code of [400, 401, 403, 404, 429, 500]) {
      echoes[`in the message of a ${code}, ${form}`] = status(code, {
        error: {
          message: `Incorrect API key provided: ${text}. See https://example.org/?key=${text}`,
          type: 'e',
          code: text,
        },
      })
    }
    echoes[`in an HTML page, ${form}`] = status(502, `<html>${text}</html>`, { 'content-type': 'text/html' })
    echoes[`in an error inside 200, ${form}`] = status(200, { error: { message: `no: ${text}`, code: text } })
    echoes[`in a body that is no JSON, ${form}`] = status(200, `{"oops ${text}`)
    echoes[`as the type of a wrong field, ${form}`] = status(200, { choices: text })
    echoes[`as the finish reason of a failure, ${form}`] = status(200, { error: text })
    echoes[`in headers, ${form}`] = status(
      500,
      { error: { message: 'x' } },
      {
        'x-request-id': text,
        'x-echo': `Bearer ${text}`,
        'retry-after': text,
        location: `https://example.org/?k=${text}`,
      },
    )
    echoes[`in a redirect, ${form}`] = status(302, `moved to ${text}`, {
      location: `https://127.0.0.1:1/${text}?key=${text}`,
    })
  }
  echoes['in base64 of "Bearer <key>"'] = status(401, { error: { message: `got ${b64(`Bearer ${KEY}`)}` } })
  echoes['in base64 of "user:<key>"'] = status(401, { error: { message: `got Basic ${b64(`user:${KEY}`)}` } })
  const aligned = ['', 'x', 'xx'].map((prefix) => b64(prefix + KEY).slice(8, -8))

  for (const [what, behaviour] of Object.entries(echoes)) {
    it(what, bounded, async (t) => {
      const a = await Upstream.start(t, behaviour)
      const { pool, said } = await watched(t, [withKey('a', a)])
      const secrets = what.startsWith('in base64 of')
        ? { ...forms, ...Object.fromEntries(aligned.map((text, n) => [`base64 at ${n}`, text])) }
        : forms
      for (let call = 0; call < 3; call++) assertClean('the error', await rejection(pool.chat(ask())), secrets)
      assertClean('the error of a stream', (await drain(pool.stream(ask()))).error, secrets)
      assert.equal(a.exchanges[0].headers.authorization, `Bearer ${KEY}`) // it was really used
      assertPoolClean(pool, said, secrets)
    })
  }

  it('when another provider answers, the trail and the events are clean', bounded, async (t) => {
    const a = await Upstream.start(t, status(401, { error: { message: `bad ${KEY}` } }))
    const b = await Upstream.start(t)
    const { pool, said } = await watched(t, inOrder(withKey('a', a), withKey('b', b)))
    assertClean('the response', await pool.chat(ask()))
    assertPoolClean(pool, said)
  })

  it('another key of the same provider is masked as well', bounded, async (t) => {
    const a = await Upstream.start(t, status(500, { error: { message: `${KEY} was used before` } }))
    const { pool, said } = await watched(t, [
      { ...provider('a', a), api_key: undefined, api_keys: ['key-number-one-000000', KEY] },
    ])
    assertClean('the error', await rejection(pool.chat(ask())))
    assertPoolClean(pool, said)
  })

  it("another provider's key is masked as well", bounded, async (t) => {
    const a = await Upstream.start(t, status(500, { error: { message: `somebody used ${KEY}` } }))
    const b = await Upstream.start(t, status(500))
    const { pool, said } = await watched(t, inOrder(provider('a', a), withKey('b', b)))
    const error = await rejection(pool.chat(ask(), { providers: ['a'] }))
    assertClean('the error', error)
    assertPoolClean(pool, said)
  })

  it('in a URL with lower-case escapes', bounded, async (t) => {
    const escaped = encodeURIComponent(KEY).replace(/%../g, (each) => each.toLowerCase())
    const a = await Upstream.start(t, status(500, { error: { message: `see https://example.org/?key=${escaped}` } }))
    const { pool, said } = await watched(t, [withKey('a', a)])
    const secrets = { ...forms, escaped }
    assertClean('the error', await rejection(pool.chat(ask())), secrets)
    assertPoolClean(pool, said, secrets)
  })

  it('in a broken body that escapes the slashes of the key', bounded, async (t) => {
    const escaped = KEY.replaceAll('/', '\\/')
    const a = await Upstream.start(t, status(200, `{"oops ${escaped}`))
    const { pool, said } = await watched(t, [withKey('a', a)])
    const secrets = { ...forms, escaped }
    assertClean('the error', await rejection(pool.chat(ask())), secrets)
    assertPoolClean(pool, said, secrets)
  })

  it('in an error event of a stream, before and after content', bounded, async (t) => {
    const a = await Upstream.start(t)
    const { pool, said } = await watched(t, [withKey('a', a, { circuit_breaker_threshold: 0 })])
    for (const first of [[], ['some content']]) {
      a.always(
        sse(async (stream) => {
          for (const text of first) await stream.text(text)
          await stream.push({ error: { message: `no: ${KEY} ${b64(KEY)}`, code: KEY } })
          await stream.exchange.end()
        }),
      )
      const stream = pool.stream(ask())
      assertClean('the error', (await drain(stream)).error)
      assertClean('response()', await rejection(stream.response()))
    }
    a.always(
      sse(async (stream) => {
        await stream.push(chunk({ content: 'x' }))
        await stream.push(`not json ${KEY}`)
        await stream.exchange.end()
      }),
    )
    assertClean('the error of a broken frame', (await drain(pool.stream(ask()))).error)
    assertPoolClean(pool, said)
  })

  it('where a long message is cut, no piece of the key is left over', bounded, async (t) => {
    const a = await Upstream.start(t)
    const { pool, said } = await watched(t, [withKey('a', a, { circuit_breaker_threshold: 0 })])
    const piece = { 'first 12 characters': KEY.slice(0, 12), 'last 12 characters': KEY.slice(-12) }
    for (const bound of [100, 128, 200, 256, 300, 400, 500, 512, 1000, 1024, 2000, 2048, 4000, 4096, 8192, 16384]) {
      for (const offset of [-30, -16]) {
        const text = `${'x'.repeat(bound + offset)}${KEY}${'y'.repeat(bound)}`
        a.next(status(500, { error: { message: text } }), status(500, text, { 'content-type': 'text/plain' }))
        assertClean(`the error with the key at ${bound + offset}`, await rejection(pool.chat(ask())), piece)
        assertClean(`the error with the key in text at ${bound + offset}`, await rejection(pool.chat(ask())), piece)
      }
    }
    assertPoolClean(pool, said, piece)
  })
})

describe('LLMPool secrets: its own words', () => {
  it('inspect, JSON and strings of a working pool', bounded, async (t) => {
    const a = await Upstream.start(t)
    const { pool, said } = await watched(t, [withKey('a', a)])
    await pool.chat(ask())
    a.always(sseOk('x'))
    const stream = pool.stream(ask())
    await stream.response()
    assertClean('the stream', stream)
    pool.setProviderPriority('a', 3)
    pool.resetCircuitBreakers()
    assertPoolClean(pool, said)
    assert.match(inspect(pool), /LLMPool/)
  })

  it('a pool that was never initialized', () => {
    const pool = new LLMPool({ config: { providers: [{ name: 'a', type: 'openai', api_key: KEY, model: 'm' }] } })
    assertClean('inspect(pool)', pool)
    assertClean('JSON', JSON.stringify(pool) ?? '')
  })

  it('network failures name neither key nor URL with secrets', bounded, async (t) => {
    const a = await Upstream.start(t, resetBeforeBytes())
    const gone = await Upstream.start(t)
    await gone.stop()
    const secret = 'token-in-the-url-1234567890'
    const { pool, said } = await watched(
      t,
      inOrder(
        withKey('a', a, { base_url: `${a.base}?api-key=${secret}` }),
        withKey('b', gone, { base_url: `${gone.base}?api-key=${secret}` }),
      ),
    )
    const error = await rejection(pool.chat(ask()))
    const secrets = { ...forms, url: secret }
    assertClean('the error', error, secrets)
    assertPoolClean(pool, said, secrets)
  })

  it('the password of a proxy stays with it', bounded, async (t) => {
    const proxy = await startProxy(t, { refuse: 407 })
    const a = await Upstream.start(t, ok(), { tls: true })
    const { pool, said } = await watched(t, [
      withKey('a', a, { proxy: `http://user:proxy-password-123@${proxy.host}` }),
    ])
    const secrets = { ...forms, password: 'proxy-password-123', basic: b64('user:proxy-password-123') }
    assertClean('the error', await rejection(pool.chat(ask())), secrets)
    assertPoolClean(pool, said, secrets)
  })

  const bad = {
    'a key HTTP cannot carry': { api_key: `${KEY}\nx` },
    'a key in the wrong place': { [KEY]: 'x' },
    'a key that is a list': { api_key: [KEY] },
    'a key where the type goes': { type: KEY },
    'a URL with a key that is wrong': { base_url: `htp://${KEY}@127.0.0.1` },
    'key and keys': { api_key: KEY, api_keys: [KEY] },
  }
  for (const [what, more] of Object.entries(bad)) {
    if (what === 'a key in the wrong place' || what === 'a key where the type goes') continue // the path of a mistake has to be shown
    it(`a config error shows no key: ${what}`, bounded, async () => {
      const pool = new LLMPool({
        config: { providers: [{ name: 'a', type: 'openai', api_key: KEY, model: 'm', ...more }] },
      })
      const error = await rejection(pool.initialize())
      assert.ok(error instanceof ConfigurationError, error.stack)
      assertClean('the error', error)
    })
  }

  it('a config file that is broken right after a key', bounded, async (t) => {
    const path = join(folder(t), 'config.json')
    writeFileSync(path, `{"providers":[{"name":"a","type":"openai","api_key":"${KEY}" "model":"m"}]}`)
    const error = await rejection(new LLMPool({ configPath: path }).initialize())
    assert.ok(error instanceof ConfigurationError)
    assertClean('the error', error)
  })
})

describe('Provider secrets: redirects', () => {
  for (const code of [301, 302, 303, 307, 308]) {
    it(`a ${code} is not followed: the other server sees nothing`, bounded, async (t) => {
      const other = await Upstream.start(t, ok('stolen'))
      const a = await Upstream.start(t, status(code, '', { location: `${other.base}/chat/completions` }))
      const { pool } = await watched(t, [withKey('a', a)])
      const error = await rejection(pool.chat(ask()))
      assert.equal(error.status, code)
      assert.deepEqual([a.count, other.count, other.connections.length], [1, 0, 0])
      assert.ok((await drain(pool.stream(ask()))).error)
      assert.equal(other.connections.length, 0)
    })

    it(`a ${code} on the same server is not followed either`, bounded, async (t) => {
      const a = await Upstream.start(t)
      a.always((exchange) =>
        (exchange.path === '/elsewhere' ? ok('followed') : status(code, '', { location: '/elsewhere' }))(exchange),
      )
      const { pool } = await watched(t, [withKey('a', a)])
      await rejection(pool.chat(ask()))
      assert.equal(a.count, 1)
    })
  }

  it('another provider answers instead', bounded, async (t) => {
    const other = await Upstream.start(t)
    const a = await Upstream.start(t, status(307, '', { location: `${other.base}/chat/completions` }))
    const b = await Upstream.start(t, ok('from b'))
    const { pool } = await watched(t, inOrder(withKey('a', a), withKey('b', b)))
    assert.equal((await pool.chat(ask())).content, 'from b')
    assert.equal(other.connections.length, 0)
  })
})
