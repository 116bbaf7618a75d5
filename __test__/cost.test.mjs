// What an answer costs, as a caller sees it.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { Upstream, anthropicOk, ok } from './support/upstream.mjs'
import { ask, openPool, provider } from './support/pool.mjs'
import { bounded } from './support/wait.mjs'

const MILLION = 1e6

describe('LLMPool cost', () => {
  it('is known without a configured price, cached tokens at their own', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    const usage = {
      prompt_tokens: 10_000,
      completion_tokens: 1_000,
      prompt_tokens_details: { cached_tokens: 4_000 },
    }
    a.next(ok('hi', { usage }))
    // gpt-4o: 2.5 for a million prompt tokens, 1.25 for cached ones, 10 for those of the completion.
    const expected = (6_000 * 2.5 + 4_000 * 1.25 + 1_000 * 10) / MILLION
    assert.equal((await pool.chat(ask())).cost, expected)
    assert.equal(pool.getStats().totalCost, expected)
  })

  it('of a cache that is kept for an hour is higher', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a, { type: 'anthropic', model: 'claude-sonnet-4-5' })])
    const usage = {
      input_tokens: 100,
      output_tokens: 10,
      cache_creation_input_tokens: 2_000,
      cache_creation: { ephemeral_5m_input_tokens: 500, ephemeral_1h_input_tokens: 1_500 },
    }
    a.next(anthropicOk('hi', { usage }))
    const { cost } = await pool.chat(ask())
    assert.equal(cost, (100 * 3 + 500 * 3.75 + 1_500 * 6 + 10 * 15) / MILLION)
  })

  it('is null where nobody knows the price', bounded, async (t) => {
    const a = await Upstream.start(t)
    const local = { type: 'openai-compatible', model: 'gpt-4o' }
    const pool = await openPool(t, [provider('new', a, { model: 'not-yet-released' }), provider('local', a, local)])
    for (const name of ['new', 'local']) {
      assert.equal((await pool.chat(ask(), { providers: [name] })).cost, null)
    }
    assert.deepEqual([pool.getStats().totalCost, pool.getStats().unpricedRequests], [0, 2])
  })

  it('by configured prices takes nothing from the catalogue', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [
      provider('whole', a, {
        input_price_per_million: 1,
        output_price_per_million: 2,
        cached_input_price_per_million: 0.5,
        cache_write_price_per_million: 3,
      }),
      provider('half', a, { output_token_price: 0.001 }),
    ])
    const usage = {
      prompt_tokens: 1_000,
      completion_tokens: 100,
      prompt_tokens_details: { cached_tokens: 400, cache_write_tokens: 100 },
    }
    a.next(ok('hi', { usage }), ok('hi', { usage }))
    const whole = await pool.chat(ask(), { providers: ['whole'] })
    assert.equal(whole.cost, (500 * 1 + 400 * 0.5 + 100 * 3 + 100 * 2) / MILLION)
    assert.equal((await pool.chat(ask(), { providers: ['half'] })).cost, null)
  })
})
