// Kept answers over real sockets: `cache`, `tenant`, calls that share a request, streams that are replayed.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { Upstream, chunk, hang, sse } from './support/upstream.mjs'
import { ask, openPool, provider } from './support/pool.mjs'
import { bounded } from './support/wait.mjs'

const MINUTE = { cache: { ttl: 60_000 } }

async function poolOf(t, answer, options = {}) {
  const upstream = await Upstream.start(t, answer)
  const priced = provider('a', upstream, { input_token_price: 0.001, output_token_price: 0.001 })
  const pool = await openPool(t, [priced], options)
  return { pool, upstream }
}

describe('LLMPool kept answers', () => {
  it('gives a kept answer again, at no cost', bounded, async (t) => {
    const { pool, upstream } = await poolOf(t)
    const events = []
    pool.on('requestSuccess', (event) => events.push([event.cached, event.attempt, event.cost]))
    const first = await pool.chat(ask(), MINUTE)
    const again = await pool.chat(ask(), { ...MINUTE, requestId: 'mine', deadline: 5_000 })
    assert.equal(upstream.count, 1)
    assert.deepEqual([first.cached, again.cached, again.cost, again.attempts], [false, true, 0, []])
    assert.deepEqual([again.content, again.usage, again.requestId], [first.content, first.usage, 'mine'])
    assert.ok(first.cost > 0)
    assert.deepEqual(events, [
      [false, 1, first.cost],
      [true, 0, 0],
    ]) // prettier-ignore
    const { cacheHits, cacheMisses, totalRequests, successfulRequests, totalCost } = pool.getStats()
    assert.deepEqual([cacheHits, cacheMisses, totalRequests, successfulRequests, totalCost], [1, 1, 2, 2, first.cost])
    const hour = pool.getAnalytics('1h')
    assert.deepEqual([hour.cacheHits, hour.cacheMisses], [1, 1])
    assert.match(pool.metrics(), /llmpool_cache_lookups_total\{outcome="hit"\} 1\n/)
  })

  it('keeps tenants apart, and looks at nothing without `cache`', bounded, async (t) => {
    const { pool, upstream } = await poolOf(t)
    await pool.chat(ask(), MINUTE)
    for (const options of [{ ...MINUTE, tenant: 'a' }, { ...MINUTE, tenant: 'b' }, {}, { cache: false }]) {
      assert.equal((await pool.chat(ask(), options)).cached, false, JSON.stringify(options))
    }
    assert.equal(upstream.count, 5)
  })

  it('is on for every call where the configuration says so', bounded, async (t) => {
    const { pool, upstream } = await poolOf(t, undefined, { config: { cache: { enabled: true } } })
    await pool.chat(ask())
    assert.equal((await pool.chat(ask())).cached, true)
    assert.equal((await pool.chat(ask(), { cache: false })).cached, false)
    assert.equal(upstream.count, 2)
  })

  it('makes one request for identical calls, and lives while one caller is left', bounded, async (t) => {
    const { pool, upstream } = await poolOf(t, hang())
    const leaving = new AbortController()
    const first = pool.chat(ask(), { ...MINUTE, signal: leaving.signal })
    const others = Array.from({ length: 50 }, () => pool.chat(ask(), MINUTE))
    await upstream.request(1)
    leaving.abort(new Error('gone'))
    await assert.rejects(first, /gone/)
    const choices = [{ index: 0, message: { role: 'assistant', content: 'shared' }, finish_reason: 'stop' }]
    upstream.exchanges[0].reply(200, { id: 'r', object: 'chat.completion', created: 1, model: 'm', choices })
    const responses = await Promise.all(others)
    assert.equal(upstream.count, 1)
    assert.ok(responses.every(({ content }) => content === 'shared'))
    assert.equal(responses.filter(({ cached }) => !cached).length, 1)
    assert.equal(pool.getStats().cancelledRequests, 1)
  })

  it('closes the socket when the last caller has left', bounded, async (t) => {
    const { pool, upstream } = await poolOf(t, hang())
    const leaving = new AbortController()
    const calls = [0, 1].map(() => pool.chat(ask(), { ...MINUTE, signal: leaving.signal }))
    await upstream.request(1)
    leaving.abort(new Error('gone'))
    for (const call of calls) await assert.rejects(call, /gone/)
    await upstream.exchanges[0].closed
  })

  it('keeps a streamed answer and replays it', bounded, async (t) => {
    const words = sse(async (stream) => {
      await stream.push(chunk({ content: 'Hel' }))
      await stream.push(chunk({ content: 'lo' }))
      await stream.finish('stop')
      await stream.done()
    })
    const { pool, upstream } = await poolOf(t, words)
    assert.equal(await pool.stream(ask(), MINUTE).text(), 'Hello')
    const replay = pool.stream(ask(), MINUTE)
    let text = ''
    for await (const { delta } of replay) text += delta
    const response = await replay.response()
    assert.deepEqual([text, response.content, response.cached, response.cost], ['Hello', 'Hello', true, 0])
    assert.equal((await pool.chat(ask(), MINUTE)).cached, true)
    assert.equal(upstream.count, 1)
  })

  it('refuses a wish that is none, where it can mean nothing too', bounded, async (t) => {
    const { pool } = await poolOf(t)
    for (const cache of ['yes', 5, { ttl: -1 }, { ttl: 'long' }, { seconds: 5 }]) {
      await assert.rejects(pool.chat(ask(), { cache }), { name: 'InvalidRequestError', field: /^cache/ })
    }
    await assert.rejects(pool.embed({ input: 'x' }, { cache: true }), { name: 'InvalidRequestError', field: 'cache' })
    await assert.rejects(
      pool.execute(() => 1, { cache: true }),
      { name: 'InvalidRequestError', field: 'cache' },
    )
  })
})
