// A loopback upstream that does what a test tells it to, request by request.
//
// `Upstream.start(t, behaviour)` listens on a free port and closes with the test. A behaviour is a function of one
// `Exchange`; `upstream.next(...)` puts behaviours in front, one request each. If a behaviour throws, the test that
// owns the upstream fails. Everything that was asked, opened and closed is recorded.

import http from 'node:http'
import https from 'node:https'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { deferred } from './wait.mjs'

const TLS = new URL('../fixtures/tls/', import.meta.url)
export const CA_FILE = new URL('ca.pem', TLS).pathname

export class Upstream {
  /** Every request whose headers came, in order, with how it went. */
  exchanges = []
  /** Every TCP connection that was accepted. */
  connections = []
  #server
  #behaviour
  #queue = []
  #failures = []
  #waiters = []

  static async start(t, behaviour = ok(), { tls = false, port = 0 } = {}) {
    const upstream = new Upstream()
    upstream.#behaviour = behaviour
    const handler = (req, res) => upstream.#serve(req, res)
    const options = { keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0, maxHeaderSize: 64 * 1024 }
    upstream.#server = tls
      ? https.createServer(
          { ...options, key: readFileSync(new URL('server.key', TLS)), cert: readFileSync(new URL('server.pem', TLS)) },
          handler,
        )
      : http.createServer(options, handler)
    upstream.#server.on('connection', (socket) => upstream.#accept(socket))
    upstream.#server.on('clientError', (_error, socket) => socket.destroy()) // the client left in the middle of a request
    upstream.#server.on('tlsClientError', () => {}) // it did not trust us: the test sees it on its own side
    upstream.#server.listen(port, '127.0.0.1')
    await once(upstream.#server, 'listening')
    upstream.port = upstream.#server.address().port
    upstream.origin = `${tls ? 'https' : 'http'}://${tls ? 'localhost' : '127.0.0.1'}:${upstream.port}`
    upstream.base = `${upstream.origin}/v1`
    t.after(async () => {
      await upstream.stop()
      if (upstream.#failures.length > 0)
        throw new AggregateError(upstream.#failures, 'the upstream of this test failed')
    })
    return upstream
  }

  /** How many requests came. */
  get count() {
    return this.exchanges.length
  }

  get last() {
    return this.exchanges.at(-1)
  }

  /** Does this for every request that nothing was queued for. */
  always(behaviour) {
    this.#behaviour = behaviour
    return this
  }

  /** Does these for the next requests, one each. */
  next(...behaviours) {
    this.#queue.push(...behaviours)
    return this
  }

  /** The request with this number (from 1), once it was read whole. */
  async request(number = this.count + 1) {
    await this.#when(() => this.exchanges[number - 1]?.read)
    return this.exchanges[number - 1]
  }

  /** Until `count` requests were read whole. */
  async requests(count) {
    await this.#when(() => this.exchanges.filter((exchange) => exchange.read).length >= count)
    return this.exchanges
  }

  /** Until this many connections were accepted. */
  async connected(count = 1) {
    await this.#when(() => this.connections.length >= count)
    return this.connections[count - 1]
  }

  /** Kills the server and every connection, as when the machine goes away. */
  async stop() {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const connection of this.connections) connection.socket.destroy()
    this.#server.closeAllConnections()
    await closed
  }

  #when(condition) {
    if (condition()) return Promise.resolve()
    const waiter = { condition, ...deferred() }
    this.#waiters.push(waiter)
    return waiter.promise
  }

  #changed() {
    this.#waiters = this.#waiters.filter((waiter) => {
      if (!waiter.condition()) return true
      waiter.resolve()
      return false
    })
  }

  #accept(socket) {
    socket.setNoDelay(true)
    socket.setMaxListeners(0)
    const over = deferred()
    const connection = { index: this.connections.length, socket, open: true, closed: over.promise }
    socket.on('error', () => {}) // resets are part of the play
    socket.on('close', () => {
      connection.open = false
      over.resolve()
    })
    this.connections.push(connection)
    this.#changed()
  }

  async #serve(req, res) {
    const exchange = new Exchange(this.exchanges.length, req, res)
    this.exchanges.push(exchange)
    const behaviour = this.#queue.shift() ?? this.#behaviour
    this.#changed()
    try {
      const pieces = []
      for await (const piece of req) pieces.push(piece)
      exchange.body = Buffer.concat(pieces)
      exchange.read = true
    } catch {
      return // the client left while it was sending
    }
    this.#changed()
    try {
      await behaviour(exchange)
    } catch (error) {
      this.#failures.push(error)
      res.destroy()
    }
  }
}

/** One request and what becomes of it. */
class Exchange {
  body = Buffer.alloc(0)
  /** The whole request was read. */
  read = false
  /** A whole reply was handed to the system. */
  answered = false

  constructor(index, req, res) {
    this.index = index
    this.at = performance.now()
    this.req = req
    this.res = res
    this.socket = req.socket
    this.method = req.method
    this.path = req.url
    this.headers = req.headers
    const over = deferred()
    /** The connection of this request is closed. */
    this.closed = over.promise
    req.socket.destroyed ? over.resolve() : req.socket.once('close', over.resolve)
    const done = deferred()
    /** Either answered whole or closed. */
    this.done = done.promise
    res.once('finish', () => {
      this.answered = true
      done.resolve('answered')
    })
    this.closed.then(() => done.resolve('closed'))
    res.on('error', () => {})
  }

  get text() {
    return this.body.toString('utf8')
  }

  get json() {
    return JSON.parse(this.text)
  }

  reply(status, body, headers = {}) {
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
    this.res.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length, ...headers })
    this.res.end(bytes)
    return this.done
  }

  head(status, headers) {
    this.res.writeHead(status, headers)
    this.res.flushHeaders()
  }

  /** Hands bytes to the system; resolves when it took them, `false` when the client is gone. */
  write(bytes) {
    return new Promise((resolve) => {
      if (this.res.destroyed || this.socket.destroyed) resolve(false)
      else this.res.write(bytes, (error) => resolve(!error))
    })
  }

  end() {
    this.res.end()
    return this.done
  }

  /** RST. */
  reset() {
    this.tcp().resetAndDestroy()
  }

  /** FIN, wherever the reply is. */
  cut() {
    this.socket.destroy()
  }

  /** The TCP socket, also below TLS. */
  tcp() {
    return this.socket._parent ?? this.socket
  }
}

// === behaviours ===

/** The body of a good answer of the OpenAI family. */
export function completion(
  content = 'pong',
  {
    usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
    model = 'gpt-4o',
    finish = 'stop',
    message = {},
  } = {},
) {
  return {
    id: 'chatcmpl-loop',
    object: 'chat.completion',
    created: 1795300000,
    model,
    choices: [{ index: 0, message: { role: 'assistant', content, ...message }, finish_reason: finish }],
    usage,
  }
}

/** The body of a good answer of Anthropic. */
export function anthropicMessage(text = 'pong', { usage, content, stop_reason = 'end_turn' } = {}) {
  return {
    id: 'msg_loop',
    type: 'message',
    role: 'assistant',
    model: 'claude-sonnet-4-5',
    content: content ?? [{ type: 'text', text }],
    stop_reason,
    stop_sequence: null,
    usage: usage ?? { input_tokens: 10, output_tokens: 5 },
  }
}

export const ok = (content, options) => (exchange) => exchange.reply(200, completion(content, options))

export const anthropicOk = (text, options) => (exchange) => exchange.reply(200, anthropicMessage(text, options))

export const status = (code, body, headers) => (exchange) =>
  exchange.reply(code, body ?? { error: { message: `upstream says ${code}`, type: 'some_error' } }, headers)

/** Reads the request and says nothing, ever. */
export const hang = () => () => {}

export const resetBeforeBytes = () => (exchange) => exchange.reset()

/** The connection ends in good order, without a byte of a reply. */
export const closeBeforeBytes = () => (exchange) => exchange.cut()

export const resetAfterHeaders = () => async (exchange) => {
  exchange.head(200, { 'content-type': 'application/json', 'content-length': 500 })
  await exchange.write('{"id":"chat')
  exchange.reset()
}

/** Promises the whole body and sends the first part of it. */
export const cutBody = () => async (exchange) => {
  const bytes = Buffer.from(JSON.stringify(completion('never whole')))
  exchange.head(200, { 'content-type': 'application/json', 'content-length': bytes.length })
  await exchange.write(bytes.subarray(0, bytes.length >> 1))
  exchange.cut()
}

/** The same with a chunked body, whose end is the missing last chunk. */
export const cutChunkedBody = () => async (exchange) => {
  exchange.head(200, { 'content-type': 'application/json' })
  await exchange.write(JSON.stringify(completion('whole, but never ended')))
  exchange.cut()
}

/** Waits for the gate, then does the other thing. */
export const after = (promise, behaviour) => async (exchange) => {
  await promise
  if (!exchange.socket.destroyed) await behaviour(exchange)
}

// === streams ===

/** One `data:` frame. */
export const frame = (data) => `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`

/** One chunk object of the OpenAI family. */
export function chunk(delta, { finish = null, usage, model = 'gpt-4o' } = {}) {
  return {
    id: 'chatcmpl-loop',
    object: 'chat.completion.chunk',
    created: 1795300000,
    model,
    choices: [{ index: 0, delta, finish_reason: finish }],
    ...(usage === undefined ? {} : { usage }),
  }
}

/** Opens an event stream and lets `play` push it, frame by frame. */
export const sse = (play) => async (exchange) => {
  exchange.head(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  await play({
    exchange,
    push: (data) => exchange.write(frame(data)),
    raw: (bytes) => exchange.write(bytes),
    text: (content) => exchange.write(frame(chunk({ content }))),
    finish: (reason = 'stop', usage) => exchange.write(frame(chunk({}, { finish: reason, usage }))),
    done: async () => {
      await exchange.write('data: [DONE]\n\n')
      await exchange.end()
    },
    cut: () => exchange.cut(),
    reset: () => exchange.reset(),
  })
}

/** A whole good stream of these texts. */
export const sseOk = (...texts) =>
  sse(async (stream) => {
    await stream.push(chunk({ role: 'assistant', content: '' }))
    for (const text of texts) await stream.text(text)
    await stream.finish('stop', { prompt_tokens: 10, completion_tokens: texts.length, total_tokens: 10 + texts.length })
    await stream.done()
  })

// === fixtures ===

const WIRE = new URL('../fixtures/wire/', import.meta.url)

/** The entries of the wire fixtures' index, by file. */
export function fixtures() {
  return new Map(JSON.parse(readFileSync(new URL('index.json', WIRE), 'utf8')).map((entry) => [entry.file, entry]))
}

export const fixtureBytes = (file) => readFileSync(new URL(file, WIRE))

/** Replays a fixture byte for byte, in pieces of `size` bytes. */
export const replay =
  (entry, size = Number.POSITIVE_INFINITY) =>
  async (exchange) => {
    const bytes = fixtureBytes(entry.file)
    exchange.head(
      entry.status,
      entry.kind === 'sse' ? entry.headers : { ...entry.headers, 'content-length': bytes.length },
    )
    for (let at = 0; at < bytes.length; at += size) {
      if (!(await exchange.write(bytes.subarray(at, at + size)))) return
      await turn() // one piece, one segment
    }
    await exchange.end()
  }
