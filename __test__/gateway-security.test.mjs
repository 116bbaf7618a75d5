// What strangers send to the port: byte by byte, because no client would.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import { test } from 'node:test'
import { ask, openPool, provider } from './support/pool.mjs'
import { hang, sse, sseOk, Upstream } from './support/upstream.mjs'
import { bounded, roomy, until } from './support/wait.mjs'

const KEY = 'key-of-the-gateway'

async function served(t, server = {}) {
  const upstream = await Upstream.start(t)
  const config = { server: { http: '127.0.0.1:0', api_keys: [KEY], ...server } }
  const pool = await openPool(t, [provider('main', upstream)], { config })
  const gateway = await pool.serve()
  t.after(() => gateway.close({ drainTimeout: 0 }))
  return { upstream, gateway }
}

/** A connection that says this and, when it is closed, what it was told. */
async function talk(gateway, bytes = '') {
  const socket = net.connect({ port: Number(new URL(gateway.url).port), host: '127.0.0.1' })
  socket.on('error', () => {}) // a reset is an answer, too
  let told = ''
  socket.on('data', (data) => {
    told += data
  })
  await once(socket, 'connect')
  const closed = new Promise((resolve) => socket.once('close', () => resolve(told)))
  if (bytes !== '') socket.write(bytes)
  return { socket, closed, told: () => told }
}

const HEAD = `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${KEY}\r\n`
const BODY = JSON.stringify({ messages: ask() })

/** How many answers came, by their statuses. */
const statuses = (told) => [...told.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status))

test('a head that does not come, and a connection that says nothing, are closed', bounded, async (t) => {
  const { gateway } = await served(t, { header_timeout_ms: 50 })
  const silent = await talk(gateway)
  const slow = await talk(gateway, 'GET /live HTTP/1.1\r\nhost: a\r\n')
  assert.equal(await silent.closed, '')
  assert.deepEqual(
    statuses(await slow.closed).filter((status) => status !== 408),
    [],
  )
})

test('a body that does not come is refused, and one that is too large is not read', bounded, async (t) => {
  const { gateway, upstream } = await served(t, { body_timeout_ms: 50, max_body_bytes: 1000 })
  const slow = await talk(gateway, `${HEAD}content-length: 500\r\n\r\n{"messages`)
  assert.deepEqual(statuses(await slow.closed), [408])
  const large = await talk(gateway, `${HEAD}content-length: 100000\r\nconnection: close\r\n\r\n`)
  assert.deepEqual(statuses(await large.closed), [413])
  const chunked = await talk(gateway, `${HEAD}transfer-encoding: chunked\r\nconnection: close\r\n\r\n`)
  chunked.socket.write(`800\r\n${' '.repeat(0x800)}\r\n`)
  assert.deepEqual(statuses(await chunked.closed), [413])
  assert.equal(upstream.count, 0)
})

test('a request whose end can be read in two ways is not read at all', bounded, async (t) => {
  const { gateway, upstream } = await served(t)
  const inner = `GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n`
  for (const framing of [
    `content-length: ${BODY.length}\r\ncontent-length: ${BODY.length + 1}\r\n\r\n${BODY}${inner}`,
    `content-length: +${BODY.length}\r\n\r\n${BODY}${inner}`,
    `transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n${inner}`,
    `transfer-encoding: xchunked\r\n\r\n0\r\n\r\n${inner}`,
    `content-length : ${BODY.length}\r\n\r\n${BODY}`,
    ` folded: x\r\n\r\n`,
    `a\u0000b: x\r\n\r\n`,
    `transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nx\r\n`,
  ]) {
    const { socket, closed } = await talk(gateway, HEAD + framing)
    socket.end()
    const told = statuses(await closed)
    assert.ok(told.length <= 1 && told.every((status) => status === 400), `${JSON.stringify(framing)}: ${told}`)
  }
  assert.equal(upstream.count, 0)
})

test('a length beside chunks does not make two requests of one', bounded, async (t) => {
  const { gateway } = await served(t)
  const smuggled = `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`
  const { socket, closed } = await talk(gateway, smuggled)
  socket.end()
  assert.ok(statuses(await closed).length <= 1)
})

test('heads have a bound, in bytes and in fields', bounded, async (t) => {
  const { gateway, upstream } = await served(t)
  for (const field of [`x: ${'y'.repeat(100_000)}\r\n`, 'x: y\r\n'.repeat(1000)]) {
    const { closed } = await talk(gateway, `${HEAD}${field}\r\n`)
    const [status] = statuses(await closed)
    assert.ok([400, 431].includes(status), `${status}`)
  }
  assert.equal(upstream.count, 0)
})

test('nothing but the routes can be reached, however the path is written', bounded, async (t) => {
  const { gateway } = await served(t)
  for (const target of [
    '/metrics',
    '//metrics',
    '/./metrics',
    '/health/../metrics',
    '/%2e/metrics',
    '/metrics%00',
    '/live/',
    'http://other.test/metrics',
    '*',
    '/v1/models/..%2f..%2fetc%2fpasswd',
  ]) {
    const { closed } = await talk(gateway, `GET ${target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`)
    const [status] = statuses(await closed)
    assert.ok([400, 401].includes(status), `${target}: ${status}`)
  }
})

test('a page of another site reaches nothing, and one that is listed is let in', bounded, async (t) => {
  const { gateway, upstream } = await served(t, { api_keys: [], cors_origins: ['https://good.test'] })
  const send = (origin) =>
    fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', body: BODY, headers: { origin } })
  const evil = await send('https://evil.test')
  assert.deepEqual([evil.status, evil.headers.get('access-control-allow-origin')], [403, null])
  await evil.text()
  assert.equal(upstream.count, 0)
  const good = await send('https://good.test')
  assert.deepEqual([good.status, good.headers.get('access-control-allow-origin')], [200, 'https://good.test'])
  await good.text()
})

test('connections beyond the limit wait for a place', bounded, async (t) => {
  const { gateway } = await served(t, { max_connections: 1 })
  const first = await talk(gateway)
  const second = await talk(gateway, 'GET /live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
  first.socket.write('GET /live HTTP/1.1\r\nhost: a\r\n\r\n')
  await once(first.socket, 'data')
  assert.equal(second.told(), '', 'it waits')
  first.socket.destroy()
  assert.deepEqual(statuses(await second.closed), [200])
})

test('two thousand idle connections keep nobody from being answered', roomy, async (t) => {
  const { gateway } = await served(t)
  const idle = await Promise.all(Array.from({ length: 2000 }, () => talk(gateway)))
  const response = await fetch(`${gateway.url}/v1/models`, { headers: { authorization: `Bearer ${KEY}` } })
  assert.equal(response.status, 200)
  await response.text()
  for (const { socket } of idle) socket.destroy()
})

test('a connection that never takes its answer is closed, and its provider is left', bounded, async (t) => {
  const upstream = await Upstream.start(t)
  const config = { server: { http: '127.0.0.1:0', write_timeout_ms: 200 } }
  const pool = await openPool(t, [provider('main', upstream)], { config })
  const lines = []
  const gateway = await pool.serve({ onRequest: (line) => lines.push(line) })
  t.after(() => gateway.close({ drainTimeout: 0 }))
  const big = 'y'.repeat(100_000)
  upstream.next(
    sse(async ({ text }) => {
      while (await text(big)); // until nobody takes it any more
    }),
  )
  const body = JSON.stringify({ stream: true, messages: ask() })
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n`
  const socket = net.connect({ port: Number(new URL(gateway.url).port), host: '127.0.0.1' })
  socket.on('error', () => {})
  socket.pause()
  t.after(() => socket.destroy())
  socket.write(head + body)
  const exchange = await upstream.request(1)
  await exchange.closed
  await until(() => lines.length === 1, 'its line')
  assert.equal(lines[0].status, 499)
  assert.equal(pool.getStats().activeConnections, 0)
})

test('one that asks and asks and reads nothing is closed, too', bounded, async (t) => {
  const { gateway } = await served(t, { write_timeout_ms: 200, max_connections: 1 })
  const socket = net.connect({ port: Number(new URL(gateway.url).port), host: '127.0.0.1' })
  socket.on('error', () => {})
  socket.pause()
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  for (let times = 0; times < 100; times++) socket.write('GET /live HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(1000))
  assert.equal((await fetch(`${gateway.url}/live`)).status, 200, 'there is a place again')
})

test('closing lets go at once of whoever has not asked yet', bounded, async (t) => {
  for (const bytes of ['', 'G', 'GET /live HTTP/1.1\r\n', `${HEAD}content-length: 500\r\n\r\n{`]) {
    const { gateway } = await served(t)
    const { closed, told } = await talk(gateway, bytes)
    const next = await talk(gateway, 'GET /live HTTP/1.1\r\nhost: a\r\n\r\n')
    await once(next.socket, 'data') // what came before has been read
    await gateway.close({ drainTimeout: 600_000 })
    await closed
    assert.equal(told(), '', bytes)
  }
})

test('a client that sends a large body reads why it is refused', bounded, async (t) => {
  const { gateway, upstream } = await served(t, { max_body_bytes: 1_000_000 })
  const send = (path, key) =>
    fetch(gateway.url + path, {
      method: 'POST',
      body: 'x'.repeat(8_000_000),
      headers: { authorization: `Bearer ${key}` },
    })
  for (const [path, key, status] of [
    ['/v1/chat/completions', 'wrong', 401],
    ['/v1/nothing', KEY, 404],
    ['/v1/messages', KEY, 413],
  ]) {
    for (let times = 0; times < 3; times++) {
      const response = await send(path, key)
      assert.equal(response.status, status)
      await response.text()
    }
  }
  assert.equal(upstream.count, 0)
})

test('a name that points to this machine is not its own, unless it needs a key', bounded, async (t) => {
  const open = await served(t, { api_keys: [], cors_origins: ['http://good.test:81'] })
  const get = async (gateway, headers) => {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    const { closed } = await talk(gateway, `GET /v1/models HTTP/1.1\r\n${lines.join('')}connection: close\r\n\r\n`)
    return statuses(await closed)[0]
  }
  const port = new URL(open.gateway.url).port
  for (const [host, status] of [
    [`evil.test:${port}`, 403],
    ['127.0.0.1.evil.test', 403],
    ['a b', 403],
    [`127.0.0.1:${port}`, 200],
    [`localhost:${port}`, 200],
    ['[::1]', 200],
    ['good.test:81', 200],
  ]) {
    assert.equal(await get(open.gateway, { host }), status, host)
  }
  assert.equal(await get(open.gateway, { host: 'localhost', 'sec-fetch-site': 'cross-site' }), 403)
  assert.equal(await get(open.gateway, { host: 'localhost', 'sec-fetch-site': 'none' }), 200)
  const keyed = await served(t)
  assert.equal(await get(keyed.gateway, { host: 'proxy.test', authorization: `Bearer ${KEY}` }), 200)
})

/** An HTTP/2 connection to it. */
async function connect2(t, gateway, options) {
  const session = http2.connect(gateway.url, options)
  session.on('error', () => {})
  t.after(() => session.destroy())
  await once(session, 'connect')
  return session
}

/** What a request on it comes to: status and body, or the code by which it was reset. */
async function ask2(session, headers, body) {
  const stream = session.request(headers)
  let status = 0
  let told = ''
  stream.on('response', (fields) => {
    status = fields[':status']
  })
  stream.on('data', (data) => {
    told += data
  })
  stream.on('error', () => {})
  stream.end(body)
  await new Promise((resolve) => stream.once('close', resolve))
  return { status, told, code: stream.rstCode }
}

const CHAT2 = { ':method': 'POST', ':path': '/v1/chat/completions', authorization: `Bearer ${KEY}` }

test('the port speaks HTTP/2 to those who begin with it', bounded, async (t) => {
  const { gateway, upstream } = await served(t)
  const session = await connect2(t, gateway)
  const answers = await Promise.all(Array.from({ length: 5 }, () => ask2(session, CHAT2, BODY)))
  for (const { status, told } of answers) {
    assert.equal(status, 200)
    assert.equal(JSON.parse(told).object, 'chat.completion')
  }
  assert.equal((await ask2(session, { ...CHAT2, authorization: 'Bearer wrong' }, BODY)).status, 401)
  upstream.next(sseOk('a', 'b'))
  const streamed = await ask2(session, CHAT2, JSON.stringify({ stream: true, messages: ask() }))
  assert.match(streamed.told, /\[DONE\]/)
  upstream.next(hang())
  const cancelled = session.request(CHAT2)
  cancelled.on('error', () => {})
  cancelled.end(BODY)
  const exchange = await upstream.request(7)
  cancelled.close(http2.constants.NGHTTP2_CANCEL)
  await exchange.closed
  const away = once(session, 'close')
  await gateway.close({ drainTimeout: 600_000 })
  await away
})

test('HTTP/2 has the same bounds: heads, resets, idle connections', bounded, async (t) => {
  const { gateway, upstream } = await served(t, { header_timeout_ms: 300 })
  const large = await connect2(t, gateway)
  const headers = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`x-${at}`, 'y'.repeat(1000)]))
  const { status } = await ask2(large, { ...CHAT2, ...headers }, BODY)
  assert.ok([0, 431].includes(status), `${status}`)
  const rapid = await connect2(t, gateway)
  const closed = new Promise((resolve) => rapid.once('close', resolve))
  for (let times = 0; times < 2000 && !rapid.closed && !rapid.destroyed; times++) {
    const stream = rapid.request(CHAT2)
    stream.on('error', () => {})
    stream.close(http2.constants.NGHTTP2_CANCEL)
  }
  await closed
  assert.equal((await fetch(`${gateway.url}/live`)).status, 200, 'others are answered')
  assert.equal(upstream.count, 0)
  const idle = await connect2(t, gateway)
  await once(idle, 'close')
})
