// A loopback HTTP proxy: tunnels CONNECT, forwards plain requests, remembers both.

import http from 'node:http'
import net from 'node:net'
import { once } from 'node:events'

export async function startProxy(t, { refuse } = {}) {
  const seen = []
  const sockets = new Set()
  const server = http.createServer((req, res) => {
    seen.push({ method: req.method, target: req.url, headers: req.headers })
    if (refuse) return void res.writeHead(refuse).end()
    const { hostname, port, pathname, search } = new URL(req.url)
    const onward = http.request(
      { hostname, port, path: pathname + search, method: req.method, headers: req.headers, agent: false },
      (reply) => {
        res.writeHead(reply.statusCode, reply.headers)
        reply.pipe(res)
      },
    )
    onward.on('error', () => res.destroy())
    req.pipe(onward)
  })
  server.on('connect', (req, socket, head) => {
    seen.push({ method: 'CONNECT', target: req.url, headers: req.headers })
    socket.on('error', () => {})
    if (refuse) return void socket.end(`HTTP/1.1 ${refuse} No\r\ncontent-length: 0\r\n\r\n`)
    const [host, port] = req.url.split(':')
    const onward = net.connect(Number(port), host === 'localhost' ? '127.0.0.1' : host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      onward.write(head)
      onward.pipe(socket)
      socket.pipe(onward)
    })
    sockets.add(onward)
    onward.on('error', () => socket.destroy())
    onward.on('close', () => socket.destroy())
    socket.on('close', () => onward.destroy())
  })
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  const { port } = server.address()
  return { seen, port, url: `http://127.0.0.1:${port}`, host: `127.0.0.1:${port}` }
}
