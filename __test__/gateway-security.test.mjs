// What strangers send to the port: byte by byte, because no client would.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { test } from 'node:test'
import { ask, openPool, provider } from './support/pool.mjs'
import { Upstream } from './support/upstream.mjs'
import { bounded, roomy } from './support/wait.mjs'

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
