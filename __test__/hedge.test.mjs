// A call that is sent twice: `qos.hedge`, `hedge_after_ms`, `hedge_budget`, over real sockets.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { Upstream, chunk, hang, ok, sse } from './support/upstream.mjs'
import { ask, inOrder, openPool, provider, trail } from './support/pool.mjs'
import { bounded } from './support/wait.mjs'

const PRICED = { input_token_price: 0.001, output_token_price: 0.001 }

/** Two priced providers in order; the first one never answers. */
async function slowAndFast(t, qos) {
  const slow = await Upstream.start(t, hang())
  const fast = await Upstream.start(t)
  const providers = inOrder(provider('slow', slow, PRICED), provider('fast', fast, PRICED))
  const pool = await openPool(t, providers, { config: { qos: { hedge_after_ms: 20, ...qos } }, timeout: 60_000 })
  return { pool, slow, fast }
}

describe('LLMPool hedging', () => {
  it('asks another provider as well, closes the loser and says what it may have cost', bounded, async (t) => {
    const { pool, slow } = await slowAndFast(t, { hedge: true })
    const response = await pool.chat(ask())
    assert.deepEqual(trail(response), ['slow:cancelled', 'fast:success'])
    await slow.exchanges[0].closed
    const { hedgeCount, hedgesWon, hedgesLost, hedgeCost, totalCost } = pool.getStats()
    assert.deepEqual([hedgeCount, hedgesWon, hedgesLost], [1, 1, 0])
    assert.equal(pool.getAnalytics('1h').hedgeCount, 1)
    assert.ok(hedgeCost > 0 && Math.abs(totalCost - hedgeCost - response.cost) < 1e-9, `${hedgeCost} of ${totalCost}`)
  })

  it('does so until the first content of a stream', bounded, async (t) => {
    const { pool, slow, fast } = await slowAndFast(t, { hedge: true })
    fast.next(
      sse(async (stream) => {
        await stream.push(chunk({ content: 'first' }))
        await stream.finish('stop')
        await stream.done()
      }),
    )
    const response = await pool.stream(ask()).response()
    assert.equal(response.content, 'first')
    assert.deepEqual(trail(response), ['slow:cancelled', 'fast:success'])
    await slow.exchanges[0].closed
  })

  it('is off unless asked for, and never beyond its budget', bounded, async (t) => {
    for (const qos of [{ hedge: false }, { hedge: true, hedge_budget: 0 }, { hedge: true, hedge_after_ms: 'p95' }]) {
      const { pool, slow, fast } = await slowAndFast(t, qos)
      const call = pool.chat(ask())
      await slow.request(1)
      slow.exchanges[0].reply(200, { ...(await body()) })
      assert.equal((await call).provider, 'slow', JSON.stringify(qos))
      assert.equal(fast.count, 0)
    }
  })
})

/** What `ok()` replies with. */
function body() {
  return new Promise((resolve) => ok()({ reply: (_status, json) => resolve(json) }))
}
