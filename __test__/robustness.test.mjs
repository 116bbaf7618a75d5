// What a stranger found by trying to break it, each as the symptom they saw.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { InvalidRequestError, PoolClosedError, StreamInterruptedError } from '../index.mjs'
import { runNode } from './support/child.mjs'
import { ask, openPool, poolOf, provider, rejection } from './support/pool.mjs'
import { hang, ok, sse, Upstream } from './support/upstream.mjs'
import { bounded, settled } from './support/wait.mjs'

/** A stream of many chunks that never ends by itself. */
const endless = () =>
  sse(async (stream) => {
    for (let at = 0; at < 2000; at++) await stream.text(`word ${at} `)
    await new Promise(() => {})
  })

describe('LLMPool robustness', () => {
  it('a shutdown ends a stream whose consumer is paused', bounded, async (t) => {
    const a = await Upstream.start(t, endless())
    const pool = await openPool(t, [provider('a', a)])
    const chunks = pool.stream(ask())[Symbol.asyncIterator]()
    await chunks.next()
    await pool.shutdown({ drainTimeout: 50 })
    assert.equal(pool.getStats().activeConnections, 0)
    const left = (async () => {
      while (!(await chunks.next()).done);
    })()
    assert.ok((await rejection(left)) instanceof PoolClosedError)
  })

  it('the deadline ends a stream that nobody reads', bounded, async (t) => {
    const a = await Upstream.start(t, endless())
    const pool = await openPool(t, [provider('a', a)])
    const stream = pool.stream(ask(), { deadline: 300 })
    await a.request(1)
    await a.connections[0].closed
    const left = (async () => {
      for await (const _ of stream);
    })()
    assert.ok((await rejection(left)) instanceof StreamInterruptedError)
  })

  it('a signal of somebody’s own making hurts no other call', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    const half = { aborted: false, addEventListener() {} }
    const calls = [half, undefined, undefined].map((signal) => settled(pool.chat(ask(), { signal })))
    const [refused, ...others] = await Promise.all(calls)
    assert.ok(refused.error instanceof InvalidRequestError)
    assert.equal(refused.error.field, 'signal')
    for (const { value } of others) assert.equal(value.content, 'pong')
    const throws = { aborted: false, removeEventListener() {}, addEventListener: () => assert.fail('mine') }
    assert.match((await rejection(pool.chat(ask(), { signal: throws }))).message, /mine/)
    assert.equal((await pool.chat(ask())).content, 'pong')
  })

  it('a signal that cannot be listened to keeps no process alive', bounded, async (t) => {
    const a = await Upstream.start(t)
    const config = JSON.stringify({ providers: [provider('a', a)] })
    const ended = await runNode(
      t,
      `const { LLMPool } = await import(ENTRY)
       const pool = await LLMPool.create({ config: ${config} })
       const signal = { aborted: false, removeEventListener() {}, addEventListener() { throw new Error('mine') } }
       await pool.chat([{ role: 'user', content: 'x' }], { signal }).catch(() => console.log('rejected'))`,
    )
    assert.deepEqual([ended.code, ended.stdout], [0, 'rejected\n'])
  })

  it('a later shutdown may be less patient than the first', bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const pool = await openPool(t, [provider('a', a)])
    const running = rejection(pool.chat(ask()))
    await a.request(1)
    const events = once(pool, 'shutdown')
    const first = pool.shutdown({ drainTimeout: 60_000 })
    await pool.shutdown({ drainTimeout: 0 })
    await first
    await events
    assert.ok((await running) instanceof PoolClosedError)
  })

  it('a shutdown while it initializes is the last word', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = poolOf(t, [provider('a', a)])
    const said = []
    for (const name of ['ready', 'shutdown']) pool.on(name, () => said.push(name))
    const initializing = rejection(pool.initialize())
    await pool.shutdown(null)
    assert.ok((await initializing) instanceof PoolClosedError)
    assert.deepEqual(said, ['shutdown'])
  })

  it('collections that JSON would empty are refused by name', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    for (const [options, field] of [
      [{ metadata: new Map([['a', 1]]) }, 'metadata'],
      [{ headers: new Headers({ a: 'b' }) }, 'headers'],
      [{ providers: [] }, 'providers'],
    ]) {
      const error = await rejection(pool.chat(ask(), options))
      assert.deepEqual([error.constructor, error.field], [InvalidRequestError, field])
    }
    assert.equal(a.count, 0)
  })

  it('a query in the base URL and a header of the call are shown nowhere', bounded, async (t) => {
    const echo = (exchange) =>
      exchange.reply(500, { error: { message: `${exchange.req.url} ${exchange.headers['x-team']}` } })
    const a = await Upstream.start(t, echo)
    const base = `${a.base}?apikey=query-secret-1`
    const pool = await openPool(t, [provider('a', a, { base_url: base })], { maxRetries: 0 })
    const error = await rejection(pool.chat(ask(), { headers: { 'x-team': 'header-secret-2' } }))
    const shown = JSON.stringify([error, pool.getProviderStats(), `${error.stack}`])
    assert.doesNotMatch(shown, /query-secret-1|header-secret-2/)
  })

  it('a refused connection is counted as a request that failed', bounded, async (t) => {
    const a = await Upstream.start(t, ok())
    const pool = await openPool(t, [provider('a', a)], { maxRetries: 0 })
    await a.stop()
    await rejection(pool.chat(ask()))
    const { usage } = pool.getProviderStats().a
    assert.deepEqual([usage.totalRequests, usage.errors], [1, 1])
  })
})
