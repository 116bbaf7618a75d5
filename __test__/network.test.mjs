// The network as it is: TLS with private roots, proxies, connections that were idle too long, bodies without end.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import net from 'node:net'
import { gzipSync } from 'node:zlib'
import { LLMPoolError } from '../index.mjs'
import {
  CA_FILE,
  Upstream,
  closeBeforeBytes,
  completion,
  fixtures,
  ok,
  replay,
  resetBeforeBytes,
  sse,
} from './support/upstream.mjs'
import { startProxy } from './support/proxy.mjs'
import { runNode } from './support/child.mjs'
import { ask, drain, inOrder, openPool, provider, record, rejection, trail } from './support/pool.mjs'
import { bounded, roomy, settled } from './support/wait.mjs'

const index = existsSync(new URL('fixtures/wire/index.json', import.meta.url)) ? fixtures() : new Map()
const chatBodies = [...index.values()].filter(
  (entry) =>
    /^(anthropic|openai|gemini|cohere|ollama|azure|groq|together|mistral|deepseek|openrouter|xai|fireworks|perplexity|openai-compatible)\//.test(
      entry.file,
    ) &&
    (entry.expect.finish_reason !== 'error' || entry.expect.error_class) &&
    entry.kind !== 'sse' &&
    entry.kind !== 'ndjson' &&
    !/(models|embeddings|embed)\.json$/.test(entry.file),
)

describe('Integration: HTTPS with a private CA replays the recorded replies', () => {
  it('there are recorded replies of openai, groq and anthropic', bounded, () => {
    for (const type of ['openai', 'groq', 'anthropic'])
      assert.ok(chatBodies.some((entry) => entry.file === `${type}/text.json`))
  })

  for (const entry of chatBodies) {
    // Every piece is a segment of its own; under TLS, one record each.
    it(entry.file, bounded, async (t) => {
      for (const [size, tls] of [
        [37, true],
        [7, false],
        [1, false],
      ])
        await replays(t, entry, size, tls)
    })
  }
})

/** The recorded reply in pieces of this size, and what becomes of it. */
async function replays(t, entry, size, tls) {
  const type = entry.file.split('/')[0]
  const { expect } = entry
  const a = await Upstream.start(t, replay(entry, size), { tls })
  const model = { anthropic: 'claude-sonnet-4-5', groq: 'llama-3.3-70b-versatile' }[type] ?? 'gpt-4o-mini'
  const base_url = type === 'groq' ? `${a.origin}/openai/v1` : a.base
  const pool = await openPool(t, [provider('a', a, { type, model, base_url, ca_file: CA_FILE })], {
    maxRetries: 0,
    config: { routing: { queue_timeout_ms: 0 } },
  })

  if (expect.error_class) {
    const error = await rejection(pool.chat(ask()))
    assert.ok(error instanceof LLMPoolError, error.stack)
    assert.equal(error.attempts[0].errorClass, expect.error_class)
    assert.equal(error.errorClass, expect.error_class)
    if (entry.status !== 200) assert.equal(error.status, entry.status)
    assert.notEqual(error.message, '')
    return
  }
  const response = await pool.chat(ask())
  assert.equal(response.finish_reason, expect.finish_reason)
  assert.equal(response.provider, 'a')
  if ('content' in expect) assert.equal(response.content, expect.content ?? '')
  if (expect.reasoning) assert.equal(response.reasoning, expect.reasoning)
  if (expect.tool_call_count) assert.equal(response.tool_calls.length, expect.tool_call_count)
  if (expect.tool_calls) {
    const calls = (response.tool_calls ?? []).map((call) => ({
      name: call.function.name,
      arguments: JSON.parse(call.function.arguments),
    }))
    assert.deepEqual(calls, expect.tool_calls)
    for (const call of response.tool_calls ?? []) assert.equal(call.type, 'function')
  }
  if (expect.usage) {
    const { usage } = response
    assert.deepEqual(
      [
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        usage.estimated,
      ],
      [
        expect.usage.input_tokens,
        expect.usage.output_tokens,
        expect.usage.total_tokens,
        expect.usage.cached_input_tokens,
        expect.usage.reasoning_tokens,
        false,
      ],
    )
  }
}

/** A child's code that calls the HTTPS upstream in BASE once and prints who answered or the class of the failure. */
const callOnce = (more = '{}') => `
  const { LLMPool } = await import(ENTRY)
  const provider = { name: 'a', type: 'openai', api_key: 'k', model: 'm', base_url: process.env.BASE, ...${more} }
  const pool = new LLMPool({ config: { providers: [provider] }, maxRetries: 0 })
  try {
    console.log((await pool.chat([{ role: 'user', content: 'x' }])).content)
  } catch (error) {
    console.log(error.code, error.attempts?.[0]?.errorClass)
  }
  await pool.shutdown()
`

describe('Provider TLS', () => {
  it('a server nobody vouches for is a network failure, classified, and another answers', bounded, async (t) => {
    const a = await Upstream.start(t, ok('from a'), { tls: true })
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    const told = record(pool, 'requestError')
    const response = await pool.chat(ask())
    assert.equal(response.content, 'from b')
    assert.deepEqual(trail(response), ['a:failure', 'b:success'])
    assert.equal(response.attempts[0].errorClass, 'network')
    assert.match(told[0][1].error, /certificate|tls/i)
    assert.equal(a.count, 0)
  })

  it('ca_file makes it trusted, for that provider only', bounded, async (t) => {
    const a = await Upstream.start(t, ok('from a'), { tls: true })
    const pool = await openPool(t, inOrder(provider('a', a, { ca_file: CA_FILE }), provider('untold', a)))
    assert.equal((await pool.chat(ask())).content, 'from a')
    const error = await rejection(pool.chat(ask(), { providers: ['untold'], maxRetries: 0 }))
    assert.equal(error.attempts[0].errorClass, 'network')
  })

  it('a certificate for another name is refused, whoever signed it', bounded, async (t) => {
    const a = await Upstream.start(t, ok(), { tls: true })
    const pool = await openPool(
      t,
      [provider('a', a, { ca_file: CA_FILE, base_url: `https://127.0.0.2:${a.port}/v1` })],
      { maxRetries: 0 },
    )
    assert.equal((await rejection(pool.chat(ask()))).attempts[0].errorClass, 'network')
    assert.equal(a.count, 0)
  })

  it('an address the certificate names is fine', bounded, async (t) => {
    const a = await Upstream.start(t, ok(), { tls: true })
    const pool = await openPool(t, [provider('a', a, { ca_file: CA_FILE, base_url: `https://127.0.0.1:${a.port}/v1` })])
    assert.equal((await pool.chat(ask())).content, 'pong')
  })

  for (const variable of ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE']) {
    it(`${variable} makes it trusted, for the whole process`, bounded, async (t) => {
      const a = await Upstream.start(t, ok('trusted'), { tls: true })
      const trusted = await runNode(t, callOnce(), { env: { BASE: a.base, [variable]: CA_FILE } })
      assert.deepEqual([trusted.stdout, trusted.stderr, trusted.code], ['trusted\n', '', 0])
      const untold = await runNode(t, callOnce(), { env: { BASE: a.base } })
      assert.match(untold.stdout, /^ERR_LLMPOOL_PROVIDER network/)
    })
  }

  it('a NODE_EXTRA_CA_CERTS that is not there is ignored as Node does, or refused by name', bounded, async (t) => {
    const a = await Upstream.start(t)
    const code = callOnce().replace('error.code,', 'error.code, error.message,')
    const { stdout } = await runNode(t, code, { env: { BASE: a.base, NODE_EXTRA_CA_CERTS: '/no/such/ca.pem' } })
    assert.match(stdout, /^pong\n$|^ERR_LLMPOOL_CONFIG .*\/no\/such\/ca\.pem/)
  })

  it('speaking TLS to a plain server, and plain to a TLS server, are failures and no hang', bounded, async (t) => {
    const plain = await Upstream.start(t)
    const tls = await Upstream.start(t, ok(), { tls: true })
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(
      t,
      inOrder(
        provider('x', plain, { base_url: `https://127.0.0.1:${plain.port}/v1` }),
        provider('y', tls, { base_url: `http://127.0.0.1:${tls.port}/v1` }),
        provider('b', b),
      ),
    )
    assert.deepEqual(trail(await pool.chat(ask())), ['x:failure', 'y:failure', 'b:success'])
  })

  it('streams over TLS', bounded, async (t) => {
    const a = await Upstream.start(
      t,
      sse(async (stream) => {
        await stream.text('over ')
        await stream.text('TLS')
        await stream.finish()
        await stream.done()
      }),
      { tls: true },
    )
    const pool = await openPool(t, [provider('a', a, { ca_file: CA_FILE })])
    assert.equal(await pool.stream(ask()).text(), 'over TLS')
  })
})

describe('Provider proxy', () => {
  it('the proxy setting tunnels to the upstream', bounded, async (t) => {
    const a = await Upstream.start(t, ok('through'), { tls: true })
    const proxy = await startProxy(t)
    const pool = await openPool(t, [provider('a', a, { ca_file: CA_FILE, proxy: proxy.url })])
    assert.equal((await pool.chat(ask())).content, 'through')
    assert.deepEqual(
      proxy.seen.map(({ method, target }) => `${method} ${target}`),
      [`CONNECT localhost:${a.port}`],
    )
    assert.equal(proxy.seen[0].headers.authorization, undefined) // the key goes through the tunnel, not to the proxy
  })

  it('with user and password', bounded, async (t) => {
    const a = await Upstream.start(t, ok('through'), { tls: true })
    const proxy = await startProxy(t)
    const pool = await openPool(t, [provider('a', a, { ca_file: CA_FILE, proxy: `http://me:s3cret@${proxy.host}` })])
    assert.equal((await pool.chat(ask())).content, 'through')
    assert.equal(proxy.seen[0].headers['proxy-authorization'], `Basic ${Buffer.from('me:s3cret').toString('base64')}`)
  })

  it('a proxy that refuses is a failure of the network, and another answers', bounded, async (t) => {
    const a = await Upstream.start(t, ok(), { tls: true })
    const b = await Upstream.start(t, ok('from b'))
    const proxy = await startProxy(t, { refuse: 403 })
    const pool = await openPool(t, inOrder(provider('a', a, { ca_file: CA_FILE, proxy: proxy.url }), provider('b', b)))
    const response = await pool.chat(ask())
    assert.equal(response.content, 'from b')
    assert.equal(response.attempts[0].errorClass, 'network')
  })

  const trust = (env) => ({ NODE_EXTRA_CA_CERTS: CA_FILE, ...env })
  for (const name of ['HTTPS_PROXY', 'https_proxy']) {
    it(`${name} is honoured`, bounded, async (t) => {
      const a = await Upstream.start(t, ok('through'), { tls: true })
      const proxy = await startProxy(t)
      const { stdout, stderr } = await runNode(t, callOnce(), { env: trust({ BASE: a.base, [name]: proxy.url }) })
      assert.deepEqual([stdout, stderr], ['through\n', ''])
      assert.equal(proxy.seen.length, 1)
    })
  }

  for (const exception of ['localhost', '*', 'example.org,localhost']) {
    it(`NO_PROXY=${exception} goes straight`, bounded, async (t) => {
      const a = await Upstream.start(t, ok('straight'), { tls: true })
      const proxy = await startProxy(t, { refuse: 403 })
      const { stdout } = await runNode(t, callOnce(), {
        env: trust({ BASE: a.base, HTTPS_PROXY: proxy.url, NO_PROXY: exception }),
      })
      assert.equal(stdout, 'straight\n')
      assert.equal(proxy.seen.length, 0)
    })
  }

  it("a provider's own proxy wins over the environment", bounded, async (t) => {
    const a = await Upstream.start(t, ok('through'), { tls: true })
    const own = await startProxy(t)
    const other = await startProxy(t, { refuse: 403 })
    const { stdout } = await runNode(t, callOnce(`{ proxy: ${JSON.stringify(own.url)} }`), {
      env: trust({ BASE: a.base, HTTPS_PROXY: other.url }),
    })
    assert.equal(stdout, 'through\n')
    assert.deepEqual([own.seen.length, other.seen.length], [1, 0])
  })
})

describe('Provider connections', () => {
  it('is given up after connect_timeout_ms, while it shakes hands', bounded, async (t) => {
    // Takes the connection and never says a word of TLS.
    const sockets = []
    const silent = net.createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1')
    t.after(() => {
      for (const socket of sockets) socket.destroy()
      silent.close()
    })
    await once(silent, 'listening')
    const base_url = `https://127.0.0.1:${silent.address().port}/v1`
    const pool = await openPool(t, [{ ...provider('a', { base: base_url }), base_url, connect_timeout_ms: 30 }])
    const error = await rejection(pool.chat(ask(), { maxRetries: 0 }))
    assert.deepEqual([error.name, error.phase], ['TimeoutError', 'connect'])
    assert.equal(sockets.length, 1)
  })

  it('are kept and used again', bounded, async (t) => {
    const a = await Upstream.start(t, ok(), { tls: true })
    const pool = await openPool(t, [provider('a', a, { ca_file: CA_FILE })])
    for (let call = 0; call < 10; call++) await pool.chat(ask())
    assert.equal(a.connections.length, 1)
  })

  it('an idle one is closed after connection_idle_timeout_ms, and none is kept at 0', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a, { connection_idle_timeout_ms: 20 })])
    await pool.chat(ask())
    await a.connections[0].closed
    const b = await Upstream.start(t)
    const keeping = await openPool(t, [provider('b', b, { connection_idle_timeout_ms: 0 })])
    for (let call = 0; call < 3; call++) await keeping.chat(ask())
    assert.equal(b.connections.length, 3)
  })

  it('are kept after an error answer, too', bounded, async (t) => {
    const a = await Upstream.start(t)
    a.next((exchange) => exchange.reply(400, { error: { message: 'no' } }))
    const pool = await openPool(t, [provider('a', a)])
    await rejection(pool.chat(ask()))
    await pool.chat(ask())
    assert.equal(a.connections.length, 1)
  })

  it('are kept after a whole stream', bounded, async (t) => {
    const a = await Upstream.start(
      t,
      sse(async (stream) => {
        await stream.text('x')
        await stream.finish()
        await stream.done()
      }),
    )
    const pool = await openPool(t, [provider('a', a)])
    for (let call = 0; call < 3; call++) {
      await pool.stream(ask()).response()
      await a.last.done
    }
    assert.ok(a.connections.length <= 2, `${a.connections.length} connections for three streams`)
  })

  for (const [how, leave] of Object.entries({ 'is reset': resetBeforeBytes(), closes: closeBeforeBytes() })) {
    it(
      `an idle one that ${how} just as the next request is written: resent once, nobody blamed`,
      bounded,
      async (t) => {
        const a = await Upstream.start(t)
        const b = await Upstream.start(t)
        const pool = await openPool(t, inOrder(provider('a', a, { circuit_breaker_threshold: 1 }), provider('b', b)))
        const told = record(pool, 'requestError', 'circuitOpen')
        await pool.chat(ask('first'))
        a.next(leave)
        const response = await pool.chat(ask('second'))
        assert.equal(response.provider, 'a')
        assert.equal(response.content, 'pong')
        assert.deepEqual(trail(response), ['a:success'])
        assert.deepEqual(
          a.exchanges.map((exchange) => exchange.json.messages[0].content),
          ['first', 'second', 'second'],
        )
        assert.equal(a.connections.length, 2)
        assert.equal(b.count, 0)
        assert.deepEqual(told, [])
        const { usage, health } = pool.getProviderStats().a
        assert.equal(usage.errors, 0)
        assert.equal(health.successRate, 100)
      },
    )
  }

  it('one that was closed while idle is not noticed by anybody', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)], { maxRetries: 0 })
    for (let call = 0; call < 5; call++) {
      assert.deepEqual(trail(await pool.chat(ask())), ['a:success'])
      a.connections.at(-1).socket.destroy()
      await a.connections.at(-1).closed
    }
    assert.equal(a.connections.length, 5)
  })

  it('resent once means once: a server that always leaves is a failure', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)], { maxRetries: 0 })
    await pool.chat(ask())
    a.always(resetBeforeBytes())
    const error = await rejection(pool.chat(ask()))
    assert.equal(error.attempts[0].errorClass, 'network')
    assert.ok(a.count >= 2 && a.count <= 3, `${a.count} requests`)
  })

  it('a fresh one that breaks is a failure at once', bounded, async (t) => {
    const a = await Upstream.start(t, resetBeforeBytes())
    const pool = await openPool(t, [provider('a', a)], { maxRetries: 0 })
    await rejection(pool.chat(ask()))
    assert.equal(a.count, 1)
  })

  it('a used one that breaks after the first byte of a reply is a failure, not sent twice', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)], { maxRetries: 0 })
    await pool.chat(ask())
    a.always(async (exchange) => {
      exchange.head(200, { 'content-type': 'application/json', 'content-length': 400 })
      await exchange.write('{"id":')
      exchange.cut()
    })
    await rejection(pool.chat(ask()))
    assert.equal(a.count, 2)
  })

  it('a server that hangs in connect is given up in time', bounded, async (t) => {
    const sockets = []
    const server = net.createServer((socket) => sockets.push(socket.on('error', () => {})))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    const b = await Upstream.start(t, ok('from b'))
    const dead = provider('dead', { base: `https://127.0.0.1:${server.address().port}/v1` }, { timeout: 80 })
    const pool = await openPool(t, inOrder(dead, provider('b', b)))
    const response = await pool.chat(ask())
    assert.equal(response.content, 'from b')
    assert.equal(response.attempts[0].errorClass, 'timeout')
  })

  it('a reply in a row of other bytes is a failure, never a hang', bounded, async (t) => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', () => socket.end('SSH-2.0-not-what-you-think\r\n\r\n'))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
    const b = await Upstream.start(t, ok('from b'))
    const odd = provider('odd', { base: `http://127.0.0.1:${server.address().port}/v1` })
    const pool = await openPool(t, inOrder(odd, provider('b', b)))
    assert.deepEqual(trail(await pool.chat(ask())), ['odd:failure', 'b:success'])
  })
})

describe('Provider HTTP: unusual and legal', () => {
  const body = JSON.stringify(completion('fine'))
  /** Answers every request with these bytes, then closes if told to. */
  async function saying(t, reply, close) {
    const sockets = []
    const server = net.createServer((socket) => {
      sockets.push(socket.on('error', () => {}))
      let asked = ''
      socket.on('data', (data) => {
        asked += data
        const end = asked.indexOf('\r\n\r\n')
        const length = Number(/content-length: (\d+)/i.exec(asked)?.[1])
        if (end < 0 || asked.length < end + 4 + length) return
        asked = ''
        if (close) socket.end(reply)
        else socket.write(reply)
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    return { base: `http://127.0.0.1:${server.address().port}/v1` }
  }
  const head = (more) => `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n${more}\r\n`
  const chunked = [...body.match(/[\s\S]{1,50}/g), ''].map((part) => `${part.length.toString(16)};ext=1\r\n${part}\r\n`)
  const legal = {
    'a body that ends with the connection': [`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n${body}`, true],
    'HTTP/1.0': [`HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n${body}`, true],
    'informational replies first': [
      `HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n${head(`content-length: ${body.length}\r\n`)}${body}`,
    ],
    'chunks with extensions, and trailers': [
      `${head('transfer-encoding: chunked\r\n')}${chunked.slice(0, -1).join('')}0\r\nx-trailer: 1\r\n\r\n`,
    ],
    'no content-type': [`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`],
    'a byte order mark': [`${head(`content-length: ${body.length + 3}\r\n`)}\uFEFF${body}`],
    'no reason phrase': [`HTTP/1.1 200\r\ncontent-length: ${body.length}\r\n\r\n${body}`],
    201: [`HTTP/1.1 201 Created\r\ncontent-length: ${body.length}\r\n\r\n${body}`],
  }
  for (const [what, [reply, close = false]] of Object.entries(legal)) {
    it(what, bounded, async (t) => {
      const pool = await openPool(t, [provider('a', await saying(t, reply, close))], { maxRetries: 0 })
      for (let call = 0; call < 3; call++) assert.equal((await pool.chat(ask())).content, 'fine')
    })
  }

  const broken = {
    'two lengths that differ': `${head(`content-length: ${body.length}\r\ncontent-length: 5\r\n`)}${body}`,
    'a length that is no number': `${head('content-length: many\r\n')}${body}`,
    'a chunk size that is no number': `${head('transfer-encoding: chunked\r\n')}zz\r\n${body}\r\n0\r\n\r\n`,
    '204 without a body': 'HTTP/1.1 204 No Content\r\n\r\n',
    'an encoding nobody asked for': `${head(`content-encoding: gzip\r\ncontent-length: ${body.length}\r\n`)}${body}`,
    'a switch of protocols': 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
  }
  for (const [what, reply] of Object.entries(broken)) {
    it(`${what}: a failure, and another answers`, bounded, async (t) => {
      const b = await Upstream.start(t, ok('from b'))
      const pool = await openPool(t, inOrder(provider('a', await saying(t, reply, true)), provider('b', b)))
      assert.deepEqual(trail(await pool.chat(ask())), ['a:failure', 'b:success'])
    })
  }

  it("two replies to one request: the second is nobody's answer", bounded, async (t) => {
    const other = JSON.stringify(completion('smuggled'))
    const one = (text) => `${head(`content-length: ${text.length}\r\n`)}${text}`
    const pool = await openPool(t, [provider('a', await saying(t, one(body) + one(other), false))], { maxRetries: 0 })
    for (let call = 0; call < 5; call++) {
      const { value } = await settled(pool.chat(ask()))
      assert.notEqual(value?.content, 'smuggled')
    }
  })

  for (const host of ['localhost', '[::1]', '127.0.0.1']) {
    it(`plain HTTP to ${host} is this machine`, bounded, async (t) => {
      const a = await Upstream.start(t, ok('here'))
      const pool = await openPool(t, [provider('a', a, { base_url: `http://${host}:${a.port}/v1` })], { maxRetries: 0 })
      if (host === '[::1]') return // taken by the config; the upstream listens on the other loopback
      assert.equal((await pool.chat(ask())).content, 'here')
    })
  }
})

describe('Provider bodies are bounded', () => {
  const limited = { config: { qos: { max_response_bytes: 20_000 } }, maxRetries: 0 }

  it('one that announces more than qos.max_response_bytes is a failure', bounded, async (t) => {
    const a = await Upstream.start(t, ok('x'.repeat(30_000)))
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)), limited)
    const response = await pool.chat(ask())
    assert.equal(response.content, 'from b')
    assert.deepEqual(trail(response), ['a:failure', 'b:success'])
    assert.equal(response.attempts[0].errorClass, 'bad_reply')
  })

  it('one that just goes on is cut off', bounded, async (t) => {
    const a = await Upstream.start(t, async (exchange) => {
      exchange.head(200, { 'content-type': 'application/json' })
      while (await exchange.write('x'.repeat(10_000)));
    })
    const pool = await openPool(t, [provider('a', a)], limited)
    const error = await rejection(pool.chat(ask()))
    assert.equal(error.attempts[0].errorClass, 'bad_reply')
    await a.last.closed
  })

  it('an error page without end is cut off, and keeps its class', bounded, async (t) => {
    const a = await Upstream.start(t, async (exchange) => {
      exchange.head(503, { 'content-type': 'text/html' })
      while (await exchange.write('<p>sorry'.repeat(1000)));
    })
    const pool = await openPool(t, [provider('a', a)], limited)
    const error = await rejection(pool.chat(ask()))
    assert.equal(error.attempts[0].status, 503)
    await a.last.closed
  })

  it('one just below the bound is an answer', bounded, async (t) => {
    const a = await Upstream.start(t, ok('x'.repeat(19_000)))
    const pool = await openPool(t, [provider('a', a)], limited)
    assert.equal((await pool.chat(ask())).content.length, 19_000)
  })

  it('headers without end are a failure', bounded, async (t) => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\n')
        const more = () => {
          while (!socket.destroyed && socket.write(`x-filler-${Math.random()}: ${'y'.repeat(1000)}\r\n`));
        }
        socket.on('drain', more)
        more()
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
    const pool = await openPool(t, [provider('a', { base: `http://127.0.0.1:${server.address().port}/v1` })], {
      maxRetries: 0,
    })
    assert.equal((await rejection(pool.chat(ask()))).attempts[0].outcome, 'failure')
  })

  it('a small body that unpacks to a huge one is a failure', roomy, async (t) => {
    const bomb = gzipSync(Buffer.from(JSON.stringify(completion('x'.repeat(50 * 1024 * 1024)))))
    const a = await Upstream.start(t, (exchange) => {
      const packs = /gzip/.test(exchange.headers['accept-encoding'] ?? '')
      return packs ? exchange.reply(200, bomb, { 'content-encoding': 'gzip' }) : exchange.reply(500, 'never asked for')
    })
    const pool = await openPool(t, [provider('a', a)], { maxRetries: 0 })
    await rejection(pool.chat(ask()))
    if (/gzip/.test(a.last.headers['accept-encoding'] ?? '')) {
      a.always((exchange) =>
        exchange.reply(200, gzipSync(JSON.stringify(completion('packed'))), { 'content-encoding': 'gzip' }),
      )
      assert.equal((await pool.chat(ask())).content, 'packed')
    }
  })

  it('a line without end in a stream is a failure', roomy, async (t) => {
    const a = await Upstream.start(
      t,
      sse(async (stream) => {
        await stream.raw('data: "')
        while (await stream.raw('x'.repeat(64 * 1024)));
      }),
    )
    const pool = await openPool(t, [provider('a', a)], { maxRetries: 0 })
    const { error } = await drain(pool.stream(ask()))
    assert.ok(error instanceof LLMPoolError, error?.stack)
    await a.last.closed
  })
})
