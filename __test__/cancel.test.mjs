// Leaving: whenever the caller goes, the socket closes, nothing stays reserved and nothing stays listening.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import net from 'node:net'
import { getEventListeners, once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { Upstream, chunk, completion, hang, ok, sse, status } from './support/upstream.mjs'
import { ask, drain, inOrder, openPool, provider, record, rejection } from './support/pool.mjs'
import { bounded, roomy, seeded, settled, until } from './support/wait.mjs'

const idle = (pool) =>
  until(
    () => Object.values(pool.getProviderStats()).every((each) => each.usage.inFlight === 0),
    'inFlight is 0 everywhere',
  )
const listeners = (signal) => getEventListeners(signal, 'abort').length

/** A server that takes connections and never says a byte: TLS to it hangs in its handshake. */
async function silent(t) {
  const sockets = []
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.resume()
    sockets.push(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { server, sockets, base: `https://127.0.0.1:${server.address().port}/v1` }
}

const halfABody = (written) => async (exchange) => {
  const bytes = Buffer.from(JSON.stringify(completion('x'.repeat(1000))))
  exchange.head(200, { 'content-type': 'application/json', 'content-length': bytes.length })
  await exchange.write(bytes.subarray(0, 500))
  written?.()
}

describe('LLMPool abort', () => {
  it('before the call: nothing is sent, not even a connection', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a, { requests_per_minute: 5 })])
    const reason = new Error('changed my mind')
    assert.equal(await rejection(pool.chat(ask(), { signal: AbortSignal.abort(reason) })), reason)
    assert.equal(await rejection(pool.chat({ messages: ask(), signal: AbortSignal.abort(reason) })), reason)
    assert.deepEqual([a.count, a.connections.length], [0, 0])
    assert.equal(pool.getProviderStats().a.health.requestsRemaining, 5)
  })

  it('while it connects: the connection closes and nothing counts', bounded, async (t) => {
    const dead = await silent(t)
    const pool = await openPool(t, [provider('a', dead, { requests_per_minute: 5 })])
    const controller = new AbortController()
    const reason = { any: 'value' }
    const connecting = once(dead.server, 'connection')
    const running = rejection(pool.chat(ask(), { signal: controller.signal }))
    const [socket] = await connecting
    const closed = once(socket, 'close')
    controller.abort(reason)
    assert.equal(await running, reason)
    await closed
    await idle(pool)
    const { health, usage } = pool.getProviderStats().a
    assert.equal(health.requestsRemaining, 5) // before the first request byte everything reserved is released
    assert.equal(health.circuitState, 'closed')
    assert.equal(usage.errors, 0)
  })

  it('while it waits for the headers: the socket closes and the request counts as sent', bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const pool = await openPool(t, [provider('a', a, { requests_per_minute: 5 })])
    const controller = new AbortController()
    const running = rejection(pool.chat(ask(), { signal: controller.signal }))
    await a.request(1)
    controller.abort()
    const error = await running
    assert.equal(error, controller.signal.reason)
    assert.equal(error.name, 'AbortError')
    assert.equal(await a.last.done, 'closed')
    await idle(pool)
    assert.equal(pool.getProviderStats().a.health.requestsRemaining, 4)
  })

  it('in the middle of the body', bounded, async (t) => {
    let written
    const half = new Promise((resolve) => (written = resolve))
    const a = await Upstream.start(t, halfABody(written))
    const pool = await openPool(t, [provider('a', a)])
    const controller = new AbortController()
    const running = rejection(pool.chat(ask(), { signal: controller.signal }))
    await half
    controller.abort('enough')
    assert.equal(await running, 'enough')
    assert.equal(await a.last.done, 'closed')
    await idle(pool)
  })

  it('in the middle of a stream', bounded, async (t) => {
    const a = await Upstream.start(
      t,
      sse((stream) => stream.text('first')),
    )
    const pool = await openPool(t, [provider('a', a)])
    const controller = new AbortController()
    const reason = new Error('seen enough')
    const got = []
    const error = await rejection(
      (async () => {
        for await (const each of pool.stream(ask(), { signal: controller.signal })) {
          got.push(each.delta)
          controller.abort(reason)
        }
      })(),
    )
    assert.equal(error, reason)
    assert.deepEqual(got, ['first'])
    assert.equal(await a.last.done, 'closed')
    await idle(pool)
    assert.equal(listeners(controller.signal), 0)
  })

  it('while it backs off: no further request is sent', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = await openPool(t, [provider('a', a)], { retryDelay: 3_600_000 })
    const controller = new AbortController()
    const running = rejection(pool.chat(ask(), { signal: controller.signal }))
    await a.request(1)
    await a.last.done
    await until(() => pool.getProviderStats().a.usage.errors === 1) // the attempt is over, its backoff of an hour has begun
    controller.abort()
    assert.equal((await running).name, 'AbortError')
    assert.equal(a.count, 1)
    await idle(pool)
  })

  it('while it waits for a limit', bounded, async (t) => {
    const a = await Upstream.start(t, status(429, undefined, { 'retry-after': '9' }))
    const pool = await openPool(t, [provider('a', a)])
    const controller = new AbortController()
    const running = rejection(pool.chat(ask(), { signal: controller.signal }))
    await a.request(1)
    await a.last.done
    controller.abort('no more')
    assert.equal(await running, 'no more')
    assert.equal(a.count, 1)
  })

  it("is not tried elsewhere, counts as nobody's error and tells no listener of a failure", bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const b = await Upstream.start(t)
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    const told = record(pool, 'requestSuccess', 'requestError', 'error')
    const controller = new AbortController()
    const running = rejection(pool.chat(ask(), { signal: controller.signal }))
    await a.request(1)
    controller.abort()
    await running
    await a.last.closed
    await idle(pool)
    assert.equal(b.count, 0)
    assert.equal(told.filter(([name]) => name !== 'requestError').length, 0)
    assert.equal(pool.getProviderStats().a.usage.errors, 0)
  })

  it('after the answer changes nothing', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    const controller = new AbortController()
    const response = await pool.chat(ask(), { signal: controller.signal })
    controller.abort()
    assert.equal(response.content, 'pong')
    assert.equal((await pool.chat(ask())).content, 'pong')
    assert.equal(a.connections.length, 1)
  })

  it('by AbortSignal.timeout rejects with its TimeoutError', bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const pool = await openPool(t, [provider('a', a)])
    const signal = AbortSignal.timeout(50)
    const error = await rejection(pool.chat(ask(), { signal }))
    assert.equal(error, signal.reason)
    assert.equal(error.name, 'TimeoutError')
    await idle(pool)
    assert.ok(a.count <= 1)
    if (a.count === 1) await a.last.closed
  })

  it("leaves the user's own signal.onabort alone", bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const pool = await openPool(t, [provider('a', a)])
    const controller = new AbortController()
    let ran = 0
    const handler = () => ran++
    controller.signal.onabort = handler
    const running = rejection(pool.chat(ask(), { signal: controller.signal }))
    await a.request(1)
    assert.equal(controller.signal.onabort, handler)
    controller.abort()
    await running
    assert.equal(ran, 1)
    assert.equal(controller.signal.onabort, handler)
  })

  it('one long-lived signal carries no listener when its calls are over, however they ended', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)], { maxRetries: 0 })
    const { signal } = new AbortController()
    for (let round = 0; round < 30; round++) {
      a.next(
        ok(),
        status(400),
        sse(async (stream) => {
          await stream.text('a')
          await stream.finish()
          await stream.done()
        }),
      )
      await pool.chat(ask(), { signal })
      await rejection(pool.chat(ask(), { signal }))
      await drain(pool.stream(ask(), { signal }))
      await rejection(pool.chat({ messages: 7 }, { signal }))
    }
    assert.equal(listeners(signal), 0)
  })

  it('one signal ends all the calls it was given to', bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const pool = await openPool(t, [provider('a', a)])
    const warnings = []
    const warned = (warning) => warnings.push(warning.name)
    process.on('warning', warned)
    t.after(() => process.off('warning', warned))
    const controller = new AbortController()
    const running = Array.from({ length: 50 }, () => rejection(pool.chat(ask(), { signal: controller.signal })))
    await a.requests(50)
    controller.abort('all of you')
    assert.deepEqual(new Set(await Promise.all(running)), new Set(['all of you']))
    await Promise.all(a.exchanges.map((exchange) => exchange.closed))
    await idle(pool)
    assert.equal(listeners(controller.signal), 0)
    await turn()
    assert.deepEqual(warnings, [])
  })

  it('a signal that throws at being read fails its own call, and no other of the batch', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    const signal = new AbortController().signal
    const broken = new Error('a signal of my own making')
    let sent = false
    Object.defineProperty(signal, 'aborted', {
      get() {
        if (sent) throw broken
        return false
      },
    })
    const calls = [
      rejection(pool.chat(ask(), { signal })),
      ...Array.from({ length: 20 }, () => pool.chat(ask())),
      rejection(pool.execute(() => pool.chat(ask()), { signal })),
    ]
    sent = true
    const ended = await Promise.all(calls)
    assert.equal(ended[0], broken)
    assert.equal(ended.at(-1), broken)
    assert.deepEqual(new Set(ended.slice(1, -1).map((answer) => answer.content)), new Set(['pong']))
    // Where the turn of a function is over before the function is: it hears the same.
    sent = false
    let heard
    const late = pool.execute(
      (turn) =>
        new Promise((_, reject) =>
          turn.signal.addEventListener('abort', () => {
            heard = turn.signal.reason
            reject(heard)
          }),
        ),
      { signal, timeout: 20, maxRetries: 0 },
    )
    sent = true
    assert.equal(await rejection(late), broken)
    assert.equal(heard, broken)
  })

  it('a call made with an aborted signal never reaches validation or the pool', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    const signal = AbortSignal.abort('gone')
    const { error } = await settled(pool.stream(ask(), { signal }).response())
    assert.equal(error, 'gone')
    assert.equal((await drain(pool.stream(ask(), { signal }))).error, 'gone')
    assert.equal(a.count, 0)
  })
})

describe('LLMPool abort: 1,000 at random points', () => {
  it('the server saw every begun request close, and nothing is left behind', roomy, async (t) => {
    const random = seeded(20261122)
    const points = ['at once', 'a few turns later', 'when the request has come', 'when the reply has begun']
    // no reply is ever finished, so that every one of them has to be left
    const a = await Upstream.start(t, async (exchange) => {
      const marked = exchange.json.user
      if (marked.startsWith('stream')) {
        exchange.head(200, { 'content-type': 'text/event-stream' })
        await exchange.write(`data: ${JSON.stringify(chunk({ content: 'begun' }))}\n\n`)
      } else if (marked.endsWith('when the reply has begun')) {
        await halfABody()(exchange)
      }
      begun.get(marked.split('|')[1])?.()
    })
    const begun = new Map()
    const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 1 })])
    const lasting = new AbortController() // outlives all calls
    let aborted = 0

    const one = async (index) => {
      const point = points[Math.floor(random() * points.length)]
      const streams = random() < 0.3
      const own = new AbortController()
      const id = `${index}`
      const user = `${streams ? 'stream' : 'chat'}|${id}|${point}`
      const arrived = new Promise((resolve) => begun.set(id, resolve))
      const turns = Math.floor(random() * 12)
      const call = streams
        ? (async () => {
            for await (const _ of pool.stream({ messages: ask(), user }, { signal: own.signal }));
          })()
        : pool.chat({ messages: ask(), user }, { signal: own.signal })
      const ended = settled(call)
      if (point === 'a few turns later') for (let n = 0; n < turns; n++) await turn()
      else if (point !== 'at once') await arrived
      const reason = new Error(`abort ${id}`)
      own.abort(reason)
      const { error } = await ended
      assert.equal(error, reason)
      assert.equal(listeners(own.signal), 0)
      begun.delete(id)
      aborted++
    }

    let next = 0
    const worker = async () => {
      while (next < 1000) await one(next++)
    }
    await Promise.all(Array.from({ length: 40 }, worker))
    assert.equal(aborted, 1000)

    await Promise.all(a.exchanges.map((exchange) => exchange.closed))
    assert.ok(a.count > 300, `only ${a.count} requests began: the points were not random`)
    assert.ok(a.exchanges.every((exchange) => !exchange.answered))
    await idle(pool)
    assert.equal(listeners(lasting.signal), 0)
    assert.equal(pool.getStats().activeConnections, 0)
    const { health, usage } = pool.getProviderStats().a
    assert.equal(usage.errors, 0)
    assert.equal(health.circuitState, 'closed')

    a.always(ok('still here'))
    assert.equal((await pool.chat(ask(), { signal: lasting.signal })).content, 'still here')
    assert.equal(listeners(lasting.signal), 0)
  })

  it('1,000 calls on one signal leave no listener on it', roomy, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    const { signal } = new AbortController()
    for (let wave = 0; wave < 5; wave++)
      await Promise.all(Array.from({ length: 200 }, () => pool.chat(ask(), { signal })))
    assert.equal(listeners(signal), 0)
    await idle(pool)
  })
})
