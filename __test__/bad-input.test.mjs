// Whatever is wrong with a request is refused by name before anything is sent; whatever is merely odd passes whole.

import { after, before, describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  InvalidRequestError,
  LLMPoolError,
  createImageMessage,
  createMixedMessage,
  createTextMessage,
} from '../index.mjs'
import { Upstream, completion, sseOk, status } from './support/upstream.mjs'
import { ask, drain, openPool, provider, rejection } from './support/pool.mjs'
import { bounded, roomy } from './support/wait.mjs'

const user = (content, more = {}) => ({ role: 'user', content, ...more })
const own = (json) => JSON.parse(json) // makes `__proto__` an own property, as a parsed body has it
const cyclic = (make) => {
  const object = make()
  object.self = object
  return object
}
const boom = () => {
  throw new Error('a getter threw')
}
const deep = (levels) => {
  let value = 'bottom'
  for (let level = 0; level < levels; level++) value = { value }
  return value
}

// what is passed to chat() → the field the rejection must name
const refused = {
  'nothing at all': [[], 'messages'],
  null: [[null], 'messages'],
  'a number': [[42], 'messages'],
  'a string': [['hello'], 'messages'],
  'a function': [[() => {}], 'messages'],
  'a boolean': [[true], 'messages'],
  'a symbol': [[Symbol('x')], 'messages'],
  'no messages': [[{}], 'messages'],
  'undefined messages': [[{ messages: undefined }], 'messages'],
  'null messages': [[{ messages: null }], 'messages'],
  'empty messages': [[{ messages: [] }], 'messages'],
  'an empty array': [[[]], 'messages'],
  'messages that are a string': [[{ messages: 'hi' }], 'messages'],
  'messages that are an object': [[{ messages: { role: 'user', content: 'hi' } }], 'messages'],
  'messages that are a function': [[{ messages: () => {} }], 'messages'],
  'a message that is null': [[[user('a'), null]], 'messages[1]'],
  'a message that is a string': [[['hi']], 'messages[0]'],
  'a hole among the messages': [
    [{ messages: Object.assign(new Array(3), { 0: user('a'), 2: user('b') }) }],
    'messages[1]',
  ],
  'a message without a role': [[[{ content: 'hi' }]], 'messages[0]'],
  'an unknown role': [[[user('a'), { role: 'wizard', content: 'hi' }]], 'messages[1].role'],
  'a role that is a number': [[[{ role: 7, content: 'hi' }]], 'messages[0].role'],
  'a message without content': [[[{ role: 'user' }]], 'messages[0].content'],
  'content null for a user': [[[user(null)]], 'messages[0].content'],
  'content that is a number': [[[user(7)]], 'messages[0].content'],
  'content that is an object': [[[user({ text: 'hi' })]], 'messages[0].content'],
  'content that is a bigint': [[[user(7n)]], 'messages[0].content'],
  'content that is a symbol': [[[user(Symbol('x'))]], 'messages[0].content'],
  'content without parts': [[[user([])]], 'messages[0].content'],
  'a part of unknown type': [[[user([{ type: 'smell', smell: 'roses' }])]], 'messages[0].content'],
  'a text part without text': [[[user([{ type: 'text' }])]], 'messages[0].content'],
  'an image part without a url': [[[user([{ type: 'image_url', image_url: {} }])]], 'messages[0].content'],
  'an unknown field in a message': [[[user('a', { colour: 'red' })]], 'messages[0].colour'],
  'a tool message without its call': [[[user('a'), { role: 'tool', content: 'x' }]], 'messages[1].tool_call_id'],
  'a tool call of a user': [
    [[user('a', { tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }] })]],
    'messages[0].tool_calls',
  ],
  '__proto__ in the request': [
    [own('{"messages":[{"role":"user","content":"a"}],"__proto__":{"admin":true}}')],
    '__proto__',
  ],
  '__proto__ in a message': [
    [own('{"messages":[{"role":"user","content":"a","__proto__":{"admin":true}}]}')],
    '__proto__',
  ],
  'an unknown field': [[{ messages: ask(), colour: 'red' }], 'colour'],
  'a misspelt field': [[{ messages: ask(), temprature: 1 }], 'temprature', /temperature/],
  'a misspelt option': [[ask(), { maxRetrys: 1 }], 'maxRetrys', /maxRetries/],
  'temperature as a word': [[{ messages: ask(), temperature: 'hot' }], 'temperature'],
  'temperature out of range': [[{ messages: ask(), temperature: 3 }], 'temperature'],
  'temperature NaN': [[{ messages: ask(), temperature: Number.NaN }], 'temperature'],
  'temperature Infinity': [[{ messages: ask(), temperature: Number.POSITIVE_INFINITY }], 'temperature'],
  'temperature as a function': [[{ messages: ask(), temperature: () => 1 }], 'temperature'],
  'top_p out of range': [[{ messages: ask(), top_p: 1.5 }], 'top_p'],
  'max_tokens 0': [[{ messages: ask(), max_tokens: 0 }], 'max_tokens'],
  'max_tokens negative': [[{ messages: ask(), max_tokens: -1 }], 'max_tokens'],
  'max_tokens a fraction': [[{ messages: ask(), max_tokens: 1.5 }], 'max_tokens'],
  'max_tokens as text': [[{ messages: ask(), max_tokens: '100' }], 'max_tokens'],
  'n 2': [[{ messages: ask(), n: 2 }], 'n'],
  'seed a bigint': [[{ messages: ask(), seed: 10n }], 'seed'],
  'stop a number': [[{ messages: ask(), stop: 5 }], 'stop'],
  'tools not a list': [[{ messages: ask(), tools: {} }], 'tools'],
  'a tool without a function': [[{ messages: ask(), tools: [{ type: 'function' }] }], 'tools[0]'],
  'a tool without a name': [
    [{ messages: ask(), tools: [{ type: 'function', function: { name: '' } }] }],
    'tools[0].function.name',
  ],
  'tool_choice unknown': [[{ messages: ask(), tool_choice: 'perhaps' }], 'tool_choice'],
  'response_format unknown': [[{ messages: ask(), response_format: { type: 'xml' } }], 'response_format'],
  'extra_body for nobody': [
    [{ messages: ask(), extra_body: { antropic: { x: 1 } } }],
    'extra_body.antropic',
    /did you mean "anthropic"/,
  ],
  'model a number': [[{ messages: ask(), model: 4 }], 'model'],
  'stream a word': [[{ messages: ask(), stream: 'yes' }], 'stream'],
  'timeout negative': [[ask(), { timeout: -1 }], 'timeout'],
  'timeout as text': [[ask(), { timeout: '5s' }], 'timeout'],
  'deadline NaN': [[ask(), { deadline: Number.NaN }], 'deadline'],
  'maxRetries negative': [[ask(), { maxRetries: -1 }], 'maxRetries'],
  'failover a word': [[ask(), { failover: 'no' }], 'failover'],
  'providers a string': [[ask(), { providers: 'a' }], 'providers'],
  'signal not a signal': [[ask(), { signal: 'stop' }], 'signal'],
  'signal an object': [[ask(), { signal: {} }], 'signal'],
  'requestId a number': [[ask(), { requestId: 7 }], 'requestId'],
  'headers a string': [[ask(), { headers: 'x: y' }], 'headers'],
  'a header of a number': [[ask(), { headers: { 'x-y': 7 } }], 'headers'],
  'a header with a line break': [[ask(), { headers: { 'x-y': 'a\r\nx-evil: 1' } }], 'headers'],
  'a header name that is none': [[ask(), { headers: { 'x y': 'a' } }], 'headers'],
  'options that are a string': [[ask(), 'fast'], 'options'],
  'options that are a number': [[ask(), 5], 'options'],
  'a cyclic request': [[cyclic(() => ({ messages: ask() }))], 'self'],
  'cyclic metadata': [[{ messages: ask(), metadata: cyclic(() => ({})) }], 'metadata'],
  'cyclic messages': [
    [
      (() => {
        const list = [user('a')]
        list.push(list)
        return list
      })(),
    ],
    'messages',
  ],
  'a cyclic message': [[[cyclic(() => user('a'))]], 'messages[0]'],
  'a getter that throws: messages': [
    [
      {
        get messages() {
          return boom()
        },
      },
    ],
    'messages',
  ],
  'a getter that throws: content': [
    [
      [
        {
          role: 'user',
          get content() {
            return boom()
          },
        },
      ],
    ],
    'messages[0].content',
  ],
  'a getter that throws: temperature': [
    [
      {
        messages: ask(),
        get temperature() {
          return boom()
        },
      },
    ],
    'temperature',
  ],
  'a getter that throws: an option': [
    [
      ask(),
      {
        get timeout() {
          return boom()
        },
      },
    ],
    'timeout',
  ],
  'toJSON that throws': [[{ messages: ask(), metadata: { toJSON: boom } }], 'metadata'],
  'a proxy that throws': [[new Proxy({}, { get: boom, ownKeys: boom, has: boom })], ''],
  'metadata 100,000 levels deep': [[{ messages: ask(), metadata: deep(100_000) }], 'metadata'],
  'metadata 2,000 levels deep': [[{ messages: ask(), metadata: deep(2_000) }], 'metadata'],
}

describe('LLMPool bad input: refused before anything is sent', () => {
  let a
  let pool
  const cleanups = []
  before(async () => {
    const t = { after: (cleanup) => cleanups.push(cleanup) }
    a = await Upstream.start(t)
    pool = await openPool(t, [provider('a', a)])
  })
  after(async () => {
    for (const cleanup of cleanups) await cleanup()
  })

  /** The rejection is ours, names the field, and the upstream saw nothing. */
  function assertRefused(error, field, also) {
    assert.ok(error instanceof InvalidRequestError && error instanceof LLMPoolError, error?.stack ?? String(error))
    assert.equal(error.code, 'ERR_LLMPOOL_INVALID_REQUEST')
    assert.equal(error.retryable, false)
    assert.ok(
      `${error.field} ${error.message}`.includes(field),
      `"${field}" is not named by ${error.field}: ${error.message}`,
    )
    if (also) assert.match(error.message, also)
    assert.doesNotMatch(error.message, /at line \d+ column \d+/) // a position in a text the caller never wrote
    assert.deepEqual([a.count, a.connections.length], [0, 0])
  }

  for (const [what, [args, field, also]] of Object.entries(refused)) {
    it(`chat: ${what}`, bounded, async () => {
      const promise = pool.chat(...args) // refused by rejection, never by throwing at the caller
      assert.ok(promise instanceof Promise)
      assertRefused(await rejection(promise), field, also)
    })
  }

  for (const what of [
    'no messages',
    'an unknown role',
    'a misspelt field',
    'cyclic metadata',
    'a getter that throws: messages',
    'temperature as a word',
  ]) {
    it(`stream: ${what}`, bounded, async () => {
      const [args, field, also] = refused[what]
      const { chunks, error } = await drain(pool.stream(...args))
      assert.deepEqual(chunks, [])
      assertRefused(error, field, also)
      assertRefused(await rejection(pool.stream(...args).response()), field, also)
    })
  }

  it('field holds the path by itself', bounded, async () => {
    assert.equal((await rejection(pool.chat([user('a'), { role: 'wizard', content: 'x' }]))).field, 'messages[1].role')
    assert.equal((await rejection(pool.chat({ messages: ask(), temperature: 'hot' }))).field, 'temperature')
  })

  it('a prompt over qos.max_prompt_bytes is refused', roomy, async () => {
    const error = await rejection(pool.chat(ask('x'.repeat(17 * 1024 * 1024))))
    assert.ok(error instanceof InvalidRequestError, error.stack)
    assert.deepEqual([a.count, a.connections.length], [0, 0])
  })

  it('after all of this the pool works as before', bounded, async (t) => {
    const fresh = await Upstream.start(t)
    const other = await openPool(t, [provider('a', fresh)])
    await Promise.allSettled(Object.values(refused).map(([args]) => other.chat(...args)))
    assert.equal(fresh.count, 0)
    assert.equal((await other.chat(ask())).content, 'pong')
    assert.equal({}.admin, undefined)
    const { usage } = other.getProviderStats().a
    assert.deepEqual([usage.totalRequests, usage.inFlight], [1, 0])
  })
})

describe('LLMPool odd input: passes whole', () => {
  const echo = async (t) => {
    const a = await Upstream.start(t)
    return { a, pool: await openPool(t, [provider('a', a)]) }
  }
  const said = (a) => a.last.json.messages.at(-1).content
  const sha = (text) => createHash('sha256').update(text).digest('hex')

  it('a message of 10 MB', roomy, async (t) => {
    const { a, pool } = await echo(t)
    const text = Array.from(
      { length: 10 },
      (_, n) => `${n}${'é'.repeat(256 * 1024)}${'x'.repeat(512 * 1024 - 1)}`,
    ).join('')
    assert.equal(Buffer.byteLength(text), 10 * 1024 * 1024)
    const response = await pool.chat(ask(text))
    assert.equal(response.content, 'pong')
    assert.equal(sha(said(a)), sha(text))
  })

  it('an answer of 10 MB', roomy, async (t) => {
    const { a, pool } = await echo(t)
    const text = 'ÿ'.repeat(5 * 1024 * 1024)
    a.always((exchange) => exchange.reply(200, completion(text)))
    assert.equal(sha((await pool.chat(ask())).content), sha(text))
  })

  it('NUL and every other control character', bounded, async (t) => {
    const { a, pool } = await echo(t)
    const text =
      Array.from({ length: 32 }, (_, code) => String.fromCharCode(code)).join('') +
      '\u007f\u0085\u2028\u2029\uFEFF\uFFFF'
    const response = await pool.chat(ask(text))
    assert.equal(said(a), text)
    assert.deepEqual(response.warnings, [])
    a.always((exchange) => exchange.reply(200, completion(text)))
    assert.equal((await pool.chat(ask())).content, text)
  })

  it('a lone surrogate becomes U+FFFD, with a warning; a pair stays', bounded, async (t) => {
    const { a, pool } = await echo(t)
    const response = await pool.chat(ask('a\ud800b \udc00c 😀 \\ud800'))
    assert.equal(said(a), 'a\uFFFDb \uFFFDc 😀 \\ud800')
    assert.equal(response.warnings.length, 1)
    assert.match(response.warnings[0], /surrogate/i)
    assert.deepEqual((await pool.chat(ask('😀'))).warnings, [])
    a.always(sseOk('x'))
    assert.equal((await pool.stream(ask('\udfff')).response()).warnings.length, 1)
  })

  it('a lone surrogate in an answer becomes U+FFFD, and blames nobody', bounded, async (t) => {
    const { a, pool } = await echo(t)
    a.always((exchange) => exchange.reply(200, JSON.stringify(completion('a\ud800b 😀'))))
    assert.equal((await pool.chat(ask(), { maxRetries: 0 })).content, 'a\uFFFDb 😀')
    assert.equal(pool.getProviderStats().a.usage.errors, 0)
    // In an error: its words and its class stay what they are.
    a.always(status(429, { error: { message: 'slow \ud83d down', code: 'insufficient_quota' } }))
    const error = await rejection(pool.chat(ask(), { maxRetries: 0 }))
    assert.deepEqual(
      [error.errorClass, /slow \uFFFD down/.test(error.message)],
      ['quota_exhausted', true],
      error.message,
    )
  })

  it('a character cut in two between chunks is whole again', bounded, async (t) => {
    const { a, pool } = await echo(t)
    a.always(sseOk('hi \ud83d', '\ude00!', ' \ud83d'))
    const { text } = await drain(pool.stream(ask()))
    assert.equal(text, 'hi 😀! \uFFFD')
    assert.equal(pool.getProviderStats().a.usage.errors, 0)
  })

  it('empty text', bounded, async (t) => {
    const { a, pool } = await echo(t)
    await pool.chat(ask(''))
    assert.equal(said(a), '')
  })

  it('undefined fields are not set', bounded, async (t) => {
    const { a, pool } = await echo(t)
    await pool.chat({ messages: ask(), temperature: undefined, tools: undefined, signal: undefined }, undefined)
    await pool.chat({ messages: ask(), temperature: null, stop: null }, {})
    for (const { json } of a.exchanges) assert.equal('temperature' in json || 'tools' in json || 'stop' in json, false)
  })

  it('frozen requests, and requests that are shared, are left as they were', bounded, async (t) => {
    const { a, pool } = await echo(t)
    const request = Object.freeze({ messages: Object.freeze([Object.freeze(user('a'))]), temperature: 0 })
    await Promise.all([pool.chat(request), pool.chat(request), pool.chat(request.messages)])
    assert.deepEqual(request, { messages: [user('a')], temperature: 0 })
    assert.equal(a.exchanges.filter((exchange) => exchange.json.temperature === 0).length, 2)
  })

  it('a request changed after the call has been sent as it was', bounded, async (t) => {
    const { a, pool } = await echo(t)
    const messages = [user('before')]
    const running = pool.chat({ messages })
    messages[0].content = 'after'
    messages.push(user('more'))
    await running
    assert.deepEqual(a.last.json.messages, [user('before')])
  })

  it('1,000 messages', bounded, async (t) => {
    const { a, pool } = await echo(t)
    await pool.chat(Array.from({ length: 1000 }, (_, n) => user(`m${n}`)))
    assert.equal(a.last.json.messages.length, 1000)
    assert.equal(said(a), 'm999')
  })
})

describe('LLMPool message helpers', () => {
  it('make what the wire takes', () => {
    assert.deepEqual(createTextMessage('system', 'be kind'), { role: 'system', content: 'be kind' })
    assert.deepEqual(createImageMessage('user', 'what is this?', 'https://example.org/a.png', 'low'), {
      role: 'user',
      content: [
        { type: 'text', text: 'what is this?' },
        { type: 'image_url', image_url: { url: 'https://example.org/a.png', detail: 'low' } },
      ],
    })
    const plain = createImageMessage('user', 'x', 'data:image/png;base64,AAAA')
    assert.equal(plain.content[1].image_url.url, 'data:image/png;base64,AAAA')
    const parts = [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ]
    const mixed = createMixedMessage('user', parts)
    assert.deepEqual(mixed, { role: 'user', content: parts })
  })

  it('and what they make is taken', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    await pool.chat([
      createTextMessage('system', 's'),
      createImageMessage('user', 'see', 'data:image/png;base64,AAAA'),
      createMixedMessage('user', [{ type: 'text', text: 'a' }]),
    ])
    assert.deepEqual(
      a.last.json.messages.map((message) => message.role),
      ['system', 'user', 'user'],
    )
    assert.equal(a.last.json.messages[1].content[1].image_url.url, 'data:image/png;base64,AAAA')
  })
})
