// The mock upstream: keep-alive HTTP/1.1 straight on a socket, one prepared reply per request. Node's own HTTP server
// would cost more per request than the fastest client here and become what is measured.
//
// It tells its parent the port, and then answers `begin` (a new slice: forget what was seen) and `look` (counters so far).

import { createServer } from 'node:net'
import { REPLY } from './exchange.mjs'

let seen

function begin() {
  // `first` is the first request of the slice as it came over the wire: it shows whether all peers ask for the same.
  seen = { requests: 0, connections: 0, unreadable: 0, first: null }
}

begin()

const server = createServer({ noDelay: true }, (socket) => {
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
      socket.write(REPLY)
      bytes = bytes.subarray(request.length)
    }
  })
  socket.on('error', () => {}) // a client that ends its slice may reset what it no longer needs
})

/** How long the request at the start of these bytes is: `null` while its head is not complete. */
function measure(bytes) {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return null
  const head = bytes.latin1Slice(0, headEnd)
  const found = /\r\ncontent-length: *(\d+)/i.exec(head)
  if (!found || !head.startsWith('POST ')) return 'unreadable'
  const headLength = headEnd + 4
  return { headLength, length: headLength + Number(found[1]) }
}

process.on('message', (message) => {
  if (message.type === 'begin') begin()
  const { user, system } = process.cpuUsage()
  process.send({ type: message.type, seen, cpuMicros: user + system, atMillis: performance.now() })
})
process.on('disconnect', () => process.exit())

server.listen({ port: 0, host: '127.0.0.1', backlog: 2048 }, () => {
  process.send({ type: 'listening', port: server.address().port })
})
