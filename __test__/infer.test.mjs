// Tasks and strategies over real sockets: `infer()`, `chat({ strategy, task })`, ids, files of tasks, what is told.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { LLMPool } from '../index.mjs'
import { folder } from './support/child.mjs'
import { ask, inOrder, openPool, provider, rejection } from './support/pool.mjs'
import { Upstream, hang, ok, status } from './support/upstream.mjs'
import { bounded, until } from './support/wait.mjs'

const PRICED = { input_token_price: 0.001, output_token_price: 0.001 }

/** A pool of providers `a`, `b`, … that answer with these, in order. */
async function poolOf(t, answers, config = {}) {
  const upstreams = []
  for (const answer of answers) upstreams.push(await Upstream.start(t, answer))
  const providers = upstreams.map((upstream, at) => provider('abcdef'[at], upstream, PRICED))
  return { pool: await openPool(t, inOrder(...providers), { config: { tasks: { t: {} }, ...config } }), upstreams }
}

describe('LLMPool infer', () => {
  it('answers by a vote, with everything that speaks for it', bounded, async (t) => {
    const { pool } = await poolOf(t, [ok('Rome'), ok('Paris.'), ok('paris')], { tasks: { t: { strategy: 'VOTING' } } })
    const decisions = []
    pool.on('decision', (event) => decisions.push(event))
    const answer = await pool.infer({ task: 't', prompt: 'Where?' })
    assert.deepEqual(
      [answer.task, answer.content, answer.provider, answer.winner_model, answer.strategy_used, answer.from_cache],
      ['t', 'Paris.', 'b', 'gpt-4o', 'VOTING', false],
    )
    assert.deepEqual(answer.models_queried, ['gpt-4o', 'gpt-4o', 'gpt-4o'])
    assert.deepEqual(
      answer.votes.map(({ provider, group, winner }) => [provider, group, winner]),
      [
        ['a', 1, false],
        ['b', 2, true],
        ['c', 2, false],
      ],
    )
    assert.equal(answer.attempts.length, 3)
    assert.ok(Math.abs(answer.cost - pool.getStats().totalCost) < 1e-12 && answer.duration_ms > 0)
    const [{ requestId, task, strategyUsed, provider, votes }] = decisions
    assert.deepEqual([requestId, task, strategyUsed, provider], [answer.request_id, 't', 'VOTING', 'b'])
    assert.deepEqual(votes, answer.votes)
    const stats = pool.getStats().tasks.t
    assert.deepEqual(stats, {
      answers: 1,
      failures: 0,
      cacheHits: 0,
      hedges: 0,
      strategies: { VOTING: 1 },
      winners: { b: 1 },
    })
  })

  it('closes the socket of whoever is late, and books it', bounded, async (t) => {
    const { pool, upstreams } = await poolOf(t, [hang(), ok('x')], { ensemble: { hedge_after_ms: 20 } })
    const answer = await pool.infer({ task: 't', prompt: 'x' })
    assert.deepEqual([answer.provider, answer.strategy_used], ['b', 'FASTEST'])
    await upstreams[0].exchanges[0].closed
    const { totalCost, hedgeCost, hedgesWon, tasks } = pool.getStats()
    assert.deepEqual([hedgesWon, tasks.t.hedges], [1, 1])
    assert.ok(hedgeCost > 0 && Math.abs(totalCost - answer.cost) < 1e-12)
  })

  it('is a chat with a strategy or a task, too', bounded, async (t) => {
    const { pool } = await poolOf(t, [ok('one'), ok('two')], { ensemble: { judge: { provider: 'b' } } })
    const judged = await pool.chat(ask(), { strategy: 'JUDGE' })
    assert.deepEqual([judged.strategy, judged.strategy_used, judged.judge.outcome], ['JUDGE', 'WEIGHTED', 'unreadable'])
    assert.equal(judged.warnings.length, 2)
    assert.equal((await pool.chat(ask(), { task: 't' })).strategy, 'FASTEST')
    assert.equal('strategy' in (await pool.chat(ask())), false)
    const streamed = pool.stream(ask(), { strategy: 'VOTING' })
    assert.equal((await rejection(streamed.text())).field, 'strategy')
  })

  it('makes one of two requests with one id, and refuses the id for another', bounded, async (t) => {
    const { pool, upstreams } = await poolOf(t, [ok('x')])
    const work = { task: 't', prompt: 'x', request_id: 'order-7' }
    const [first, second] = await Promise.all([pool.infer(work), pool.infer(work)])
    assert.deepEqual([first.request_id, second.request_id, upstreams[0].count], ['order-7', 'order-7', 1])
    assert.deepEqual([first.from_cache, second.from_cache].sort(), [false, true])
    const refused = await rejection(pool.infer({ ...work, prompt: 'y' }))
    assert.deepEqual([refused.name, refused.field], ['InvalidRequestError', 'request_id'])
    assert.equal(refused.code, 'ERR_LLMPOOL_IDEMPOTENCY_MISMATCH')
  })

  it('refuses what it cannot do before anything is sent', bounded, async (t) => {
    const { pool, upstreams } = await poolOf(t, [ok('x')], {
      tasks: { expand: { max_tokens: 10, deadline_ms: 500 } },
      qos: { max_prompt_bytes: 64 },
    })
    for (const [work, field, said] of [
      [undefined, '', /must be an object with task and prompt/],
      [{ prompt: 'x' }, '', /missing field `task`/],
      [{ task: 'expnd', prompt: 'x' }, 'task', /did you mean "expand"/],
      [{ task: 'expand', prompt: '' }, 'prompt', /must not be empty/],
      [{ task: 'expand', prompt: 'x'.repeat(65) }, 'prompt', /at most 64 bytes.*found 65/],
      [{ task: 'expand', prompt: 'x', strategy: 'VOTNG' }, 'strategy', /did you mean "VOTING"/],
      [{ task: 'expand', prompt: 'x', max_tokens: 11 }, 'max_tokens', /at most 10.*found 11/],
      [{ task: 'expand', prompt: 'x', deadline_ms: 501 }, 'deadline_ms', /at most 500 ms.*found 501/],
      [{ task: 'expand', prompt: 'x', variables: { a: 'b' } }, 'variables.a', /no prompt of its own/],
      [{ task: 'expand', prompt: 'x', messages: [] }, 'messages', /unknown field/],
    ]) {
      const error = await rejection(pool.infer(work))
      assert.deepEqual([error.name, error.field], ['InvalidRequestError', field], error.message)
      assert.match(error.message, said)
    }
    const { signal } = new AbortController()
    const twice = await rejection(pool.infer({ task: 't', prompt: 'x', signal }, { signal }))
    assert.deepEqual([twice.name, twice.field], ['InvalidRequestError', 'signal'])
    assert.equal((await rejection(pool.chat(ask(), { task: 'expnd' }))).field, 'task')
    assert.equal((await rejection(pool.chat(ask(), { strategy: 'BEST' }))).field, 'strategy')
    assert.equal(upstreams[0].count, 0)
  })

  it('fails with everybody’s attempts, and is aborted like any call', bounded, async (t) => {
    const { pool } = await poolOf(t, [status(400), status(400)])
    const error = await rejection(pool.infer({ task: 't', prompt: 'x', strategy: 'VOTING' }))
    assert.deepEqual([error.name, error.attempts.length], ['ProviderError', 2])
    assert.equal(pool.getStats().tasks.t.failures, 1)
    const { pool: slow, upstreams } = await poolOf(t, [hang(), hang()])
    const leaving = new AbortController()
    const call = slow.infer({ task: 't', prompt: 'x', strategy: 'VOTING' }, { signal: leaving.signal })
    await upstreams[1].request(1)
    leaving.abort(new Error('gone'))
    await assert.rejects(call, /gone/)
    for (const upstream of upstreams) await upstream.exchanges[0].closed
  })

  it('reads the prompt of a task beside the configuration, and again when it changes', bounded, async (t) => {
    const upstream = await Upstream.start(t)
    const cwd = folder(t)
    mkdirSync(join(cwd, 'prompts'))
    const prompt = join(cwd, 'prompts/expand.md')
    writeFileSync(prompt, 'Expand: {{prompt}}')
    const config = { providers: [provider('a', upstream)], tasks: { expand: { prompt: 'prompts/expand.md' } } }
    writeFileSync(join(cwd, 'config.json'), JSON.stringify(config))
    const pool = await LLMPool.create({ configPath: join(cwd, 'config.json') })
    t.after(() => pool.shutdown({ drainTimeout: 0 }))
    const sent = async () => {
      await pool.infer({ task: 'expand', prompt: 'x' })
      return upstream.last.json.messages[0].content
    }
    assert.equal(await sent(), 'Expand: x')
    writeFileSync(prompt, 'Widen: {{prompt}}')
    await until(async () => (await sent()) === 'Widen: x')
  })
})
