// The mock upstream: keep-alive HTTP/1.1 straight on a socket, one prepared reply per request. Node's own HTTP server
// would cost more per request than the fastest client here and become what is measured.
//
// It tells its parent where it listens (three plain ports and one with TLS), and then answers `begin` (a new slice:
// forget what was seen, answer as this case says) and `look` (counters so far).

import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { FAILURE, repliesOf } from './exchange.mjs'

const TLS = new URL('../__test__/fixtures/tls/', import.meta.url)
/** As many plain ports as the case with the most upstreams needs. */
const PORTS = 3

let row
let replies
let seen

function begin(next) {
  row = next
  replies = repliesOf(row)
  // `first` is the first request of the slice as it came over the wire: it shows whether all peers ask for the same.
  seen = { requests: 0, failed: 0, connections: 0, unreadable: 0, first: null }
}

begin({})

const serve = (isFirst) => (socket) => {
  seen.connections++
  let rest = null
  socket.on('data', (chunk) => {
    let bytes = rest ? Buffer.concat([rest, chunk]) : chunk
    rest = null
    while (bytes.length > 0) {
      const request = measure(bytes)
      if (request === 'unreadable') {
        seen.unreadable++
        socket.destroy()
        return
      }
      if (request === null || request.length > bytes.length) {
        rest = bytes
        return
      }
      seen.requests++
      seen.first ??= {
        head: bytes.latin1Slice(0, request.headLength),
        body: bytes.utf8Slice(request.headLength, request.length),
      }
      answer(socket, request.path, isFirst)
      bytes = bytes.subarray(request.length)
    }
  })
  socket.on('error', () => {}) // a client that ends its slice may reset what it no longer needs
}

function answer(socket, path, isFirst) {
  if (isFirst && row.failEvery && seen.requests % row.failEvery === 0) {
    seen.failed++
    socket.write(FAILURE)
    return
  }
  const { whole, pieces } = replies[path]
  if (row.delayMillis) setTimeout(() => socket.write(whole), row.delayMillis)
  else if (whole) socket.write(whole)
  else if (row.everyMillis) pace(socket, pieces)
  else socket.write(Buffer.concat(pieces))
}

/** A piece at a time. A slow tick is made up for, so that every stream lasts as long as every other. */
function pace(socket, pieces) {
  const began = performance.now()
  let next = 0
  const timer = setInterval(() => {
    const due = Math.min(pieces.length, Math.floor((performance.now() - began) / row.everyMillis))
    while (next < due && socket.writable) socket.write(pieces[next++])
    if (next === pieces.length || !socket.writable) clearInterval(timer)
  }, row.everyMillis)
}

/** How long the request at the start of these bytes is: `null` while its head is not complete. */
function measure(bytes) {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return null
  const head = bytes.latin1Slice(0, headEnd)
  const found = /\r\ncontent-length: *(\d+)/i.exec(head)
  const path = /^POST ([^ ?]+)/.exec(head)?.[1]
  if (!found || !(path in replies)) return 'unreadable'
  const headLength = headEnd + 4
  return { path, headLength, length: headLength + Number(found[1]) }
}

process.on('message', (message) => {
  if (message.type === 'begin') begin(message.case)
  const { user, system } = process.cpuUsage()
  process.send({ type: message.type, seen, cpuMicros: user + system, atMillis: performance.now() })
})
process.on('disconnect', () => process.exit())

const listen = (server) =>
  new Promise((resolve) => {
    server.listen({ port: 0, host: '127.0.0.1', backlog: 2048 }, () => resolve(server.address().port))
  })

const ports = []
for (let at = 0; at < PORTS; at++) ports.push(await listen(createServer({ noDelay: true }, serve(at === 0))))
const pem = (name) => readFileSync(new URL(name, TLS))
const tls = createTlsServer({ key: pem('server.key'), cert: pem('server.pem'), noDelay: true }, serve(true))
tls.on('tlsClientError', () => {})
process.send({ type: 'listening', ports, tlsPort: await listen(tls) })
