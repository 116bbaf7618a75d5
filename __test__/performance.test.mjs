// Many calls at once. What is asserted is counts and causes; figures belong to the bench.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { Upstream, after, completion, ok, sseOk, status } from './support/upstream.mjs'
import { ask, inOrder, openPool, provider } from './support/pool.mjs'
import { bounded, gate, roomy } from './support/wait.mjs'

const many = (count, call) => Promise.all(Array.from({ length: count }, (_, index) => call(index)))

describe('Performance', () => {
  it('200 calls really run at once', bounded, async (t) => {
    const held = gate()
    const a = await Upstream.start(
      t,
      after(held.opened, (exchange) => exchange.reply(200, completion(`re: ${exchange.json.messages[0].content}`))),
    )
    const pool = await openPool(t, [provider('a', a)])
    const calls = many(200, (index) => pool.chat(ask(`message ${index}`)))
    await a.requests(200) // all of them are at the upstream, and none is answered
    assert.equal(pool.getProviderStats().a.usage.inFlight, 200)
    assert.equal(pool.getStats().activeConnections, 200)
    held.open()
    const answers = await calls
    for (const [index, answer] of answers.entries()) assert.equal(answer.content, `re: message ${index}`)
    assert.equal(new Set(answers.map((answer) => answer.requestId)).size, 200)
    assert.equal(pool.getProviderStats().a.usage.inFlight, 0)
    assert.equal(pool.getStats().activeConnections, 0)
  })

  it('1,000 calls, 200 at a time, all get their own answer', roomy, async (t) => {
    const a = await Upstream.start(t, (exchange) => exchange.reply(200, completion(exchange.json.messages[0].content)))
    const pool = await openPool(t, [provider('a', a)])
    const answers = []
    // in waves: 1,000 sockets at both ends would pass the open files that some machines allow
    for (let wave = 0; wave < 1000; wave += 200) {
      answers.push(...(await many(200, (index) => pool.chat(ask(`n${wave + index}`)))))
    }
    for (const [index, answer] of answers.entries()) assert.equal(answer.content, `n${index}`)
    assert.equal(a.count, 1000)
    assert.equal(pool.getStats().successfulRequests, 1000)
  })

  it('calls one after another share one connection', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    for (let call = 0; call < 100; call++) await pool.chat(ask())
    assert.equal(a.connections.length, 1)
  })

  it('200 calls fail over at once', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    const answers = await many(200, () => pool.chat(ask()))
    assert.ok(answers.every((answer) => answer.content === 'from b'))
    assert.equal(b.count, 200)
  })

  it('100 streams at once do not mix', bounded, async (t) => {
    const a = await Upstream.start(t, (exchange) => {
      const word = exchange.json.messages[0].content
      return sseOk(`${word}-1 `, `${word}-2 `, `${word}-3`)(exchange)
    })
    const pool = await openPool(t, [provider('a', a)])
    const texts = await many(100, (index) => pool.stream(ask(`s${index}`)).text())
    for (const [index, text] of texts.entries()) assert.equal(text, `s${index}-1 s${index}-2 s${index}-3`)
  })

  it('pools in one process are independent', bounded, async (t) => {
    const a = await Upstream.start(t)
    const one = await openPool(t, [provider('a', a, { requests_per_minute: 1 })])
    const two = await openPool(t, [provider('a', a, { requests_per_minute: 1 })])
    await Promise.all([one.chat(ask()), two.chat(ask())])
    assert.equal(a.count, 2)
  })
})
