// `pool.background()`: jobs in, results by promise, event and iterator; nothing lost, nothing doubled, whatever upstreams
// do.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  ConfigurationError,
  InvalidRequestError,
  LLMPool,
  PoolClosedError,
  QueueFullError,
  TimeoutError,
} from '../index.mjs'
import { answerTo, impatient, question, routing, wild } from './support/chaos.mjs'
import { ENTRY, ROOT, runNode } from './support/child.mjs'
import { openPool, poolOf, provider, record, rejection } from './support/pool.mjs'
import { hang, ok, status, Upstream } from './support/upstream.mjs'
import { bounded, gate, roomy, seeded, settled, until } from './support/wait.mjs'

/** Answers with what it was asked, when the gate is open. */
const behind = (door) => async (exchange) => {
  await door.opened
  if (!exchange.socket.destroyed) await ok(exchange.json.messages[0].content)(exchange)
}

async function processor(t, act, options, settings) {
  const upstream = await Upstream.start(t, act)
  const pool = await openPool(t, [provider('a', upstream)], settings)
  return { upstream, pool, jobs: pool.background(options) }
}

async function all(results) {
  const taken = []
  for await (const result of results) taken.push(result)
  return taken
}

const prompts = (upstream) => upstream.exchanges.map((exchange) => exchange.json.messages[0].content)

describe('Background jobs', () => {
  it('a job is answered by promise, by event and by iterator', bounded, async (t) => {
    const { pool, upstream, jobs } = await processor(t, ok('yes'), { workers: 2, max_tokens: 9 })
    const told = record(jobs, 'jobCompleted', 'jobFailed', 'stopped')
    const calls = record(pool, 'requestSuccess')
    const results = jobs.results()
    const job = await jobs.submit({ prompt: 'hi', id: 'one', priority: 'high', metadata: { page: 1 } })
    assert.deepEqual([job.id, job.priority, job.metadata], ['one', 'high', { page: 1 }])
    const response = await job.result()
    assert.deepEqual([response.content, response.requestId], ['yes', 'one'])
    assert.deepEqual(await job.result(), response, 'as often as one likes')
    const other = await jobs.submit({ request: [{ role: 'user', content: 'ho' }] })
    assert.match(other.id, /^job_\w{22}$/)
    assert.deepEqual(await jobs.stop(), [])
    const taken = await all(results)
    assert.deepEqual(
      taken.map(({ id, status }) => [id, status]),
      [
        ['one', 'completed'],
        [other.id, 'completed'],
      ],
    )
    const [{ waitedMs, durationMs, ...first }] = taken
    assert.ok(waitedMs >= 0 && durationMs > 0)
    assert.deepEqual(first, {
      id: 'one',
      priority: 'high',
      metadata: { page: 1 },
      status: 'completed',
      response,
      tries: 1,
    })
    assert.deepEqual(
      told.map(([name]) => name),
      ['jobCompleted', 'jobCompleted', 'stopped'],
    )
    assert.deepEqual(told[0][1], taken[0])
    assert.equal(calls.length, 2, 'the calls of jobs are told like any other')
    assert.equal(upstream.exchanges[0].json.max_tokens ?? upstream.exchanges[0].json.max_completion_tokens, 9)
  })

  it('urgent jobs go first, and the statistics say where everything is', bounded, async (t) => {
    const door = gate()
    const { upstream, jobs } = await processor(t, behind(door), { workers: 1, queueSize: 10 })
    await jobs.submit({ prompt: 'first' })
    await until(() => upstream.count === 1)
    for (const priority of ['low', 'normal', 'high', 'critical']) await jobs.submit({ prompt: priority, priority })
    const stats = jobs.stats()
    assert.deepEqual(
      [stats.isRunning, stats.queueSize, stats.queueCapacity, stats.activeWorkers, stats.totalWorkers],
      [true, 4, 10, 1, 1],
    )
    assert.deepEqual(stats.waiting, { critical: 1, high: 1, normal: 1, low: 1 })
    door.open()
    await jobs.stop()
    assert.deepEqual(prompts(upstream), ['first', 'high', 'critical', 'normal', 'low'])
    const { isRunning, queueSize, activeWorkers, completed, failed } = jobs.stats()
    assert.deepEqual([isRunning, queueSize, activeWorkers, completed, failed], [false, 0, 0, 5, 0])
  })

  it('2,000 jobs over five that misbehave: each ends once, with its own answer', roomy, async (t) => {
    const JOBS = 2000
    const names = ['a', 'b', 'c', 'd', 'e']
    const upstreams = []
    for (const [index, _] of names.entries()) upstreams.push(await Upstream.start(t, wild(seeded(700 + index))))
    const providers = names.map((name, index) => provider(name, upstreams[index], impatient))
    const pool = await openPool(t, providers, { config: { routing: { seed: 7, ...routing } } })
    const jobs = pool.background({ workers: 32, queueSize: 200, maxRetries: 3, timeout: 10_000 })
    const events = new Map()
    for (const name of ['jobCompleted', 'jobFailed', 'jobCancelled'])
      jobs.on(name, ({ id }) => events.set(id, (events.get(id) ?? 0) + 1))
    const reading = all(jobs.results())
    const promised = []
    const priorities = ['low', 'normal', 'high', 'critical']
    for (let number = 0; number < JOBS; number++) {
      const job = { request: question(number), id: `job-${number}`, priority: priorities[number % 4], metadata: number }
      promised.push(await jobs.submit(job, { wait: true }))
    }
    assert.deepEqual(await jobs.stop(), [])
    const results = await reading
    assert.equal(results.length, JOBS)
    assert.equal(new Set(results.map(({ id }) => id)).size, JOBS)
    assert.equal(events.size, JOBS)
    assert.ok([...events.values()].every((times) => times === 1))
    for (const [number, job] of promised.entries()) {
      const { value, error } = await settled(job.result())
      if (error === undefined) assert.equal(value.content, answerTo(number))
    }
    const { completed, failed, resultsDropped } = jobs.stats()
    assert.deepEqual([completed + failed, resultsDropped], [JOBS, 0])
    assert.ok(completed > JOBS * 0.8, `${completed} completed`)
    assert.equal(pool.getStats().activeConnections, 0)
  })

  it('a full queue refuses, or is waited for', bounded, async (t) => {
    const door = gate()
    const { upstream, jobs } = await processor(t, behind(door), { workers: 1, queueSize: 1 })
    await jobs.submit({ prompt: 'a' })
    await until(() => upstream.count === 1)
    await jobs.submit({ prompt: 'b' })
    const refused = await rejection(jobs.submit({ prompt: 'c' }))
    assert.ok(refused instanceof QueueFullError, refused.stack)
    assert.deepEqual([refused.code, refused.retryable], ['ERR_LLMPOOL_QUEUE_FULL', true])
    const leaving = new AbortController()
    const left = rejection(jobs.submit({ prompt: 'd' }, { wait: true, signal: leaving.signal }))
    leaving.abort(new Error('enough'))
    assert.equal((await left).message, 'enough')
    const waits = jobs.submit({ prompt: 'e' }, { wait: true })
    door.open()
    assert.equal((await (await waits).result()).content, 'e')
    assert.deepEqual(prompts(upstream), ['a', 'b', 'e'])
  })

  it('a job whose time runs out is tried again and told of; then it fails', bounded, async (t) => {
    const { upstream, jobs } = await processor(t, hang(), { timeout: 30, maxRetries: 2, retryDelay: 1 })
    const told = record(jobs, 'jobRetry', 'jobFailed')
    const error = await rejection((await jobs.submit({ prompt: 'x', id: 'x' })).result())
    assert.ok(error instanceof TimeoutError, error.stack)
    assert.deepEqual(
      told.map(([name, { id, tries }]) => [name, id, tries]),
      [
        ['jobRetry', 'x', 1],
        ['jobRetry', 'x', 2],
        ['jobFailed', 'x', 3],
      ],
    )
    assert.ok(told[0][1].error instanceof TimeoutError && told[0][1].retryInMs >= 0 && told[0][1].counts)
    assert.equal(upstream.count, 3)
  })

  it('what providers fail with is not tried again', bounded, async (t) => {
    const { upstream, pool, jobs } = await processor(t, status(500), {}, { maxRetries: 1 })
    await rejection(pool.chat([{ role: 'user', content: 'x' }]))
    const alone = upstream.count
    const told = record(jobs, 'jobRetry')
    await rejection((await jobs.submit({ prompt: 'x' })).result())
    assert.deepEqual([upstream.count, told.length], [2 * alone, 0])
  })

  it('a job is given up by itself or by its signal, waiting or under way', bounded, async (t) => {
    const { upstream, jobs } = await processor(t, hang(), { workers: 1 })
    const leaving = new AbortController()
    const running = await jobs.submit({ prompt: 'a' }, { signal: leaving.signal })
    await until(() => upstream.count === 1)
    const waiting = await jobs.submit({ prompt: 'b' })
    const told = record(jobs, 'jobCancelled')
    waiting.cancel()
    assert.equal((await rejection(waiting.result())).name, 'AbortError')
    leaving.abort(new Error('enough'))
    assert.equal((await rejection(running.result())).message, 'enough')
    assert.deepEqual(
      told.map(([, { id }]) => id),
      [waiting.id, running.id],
    )
    waiting.cancel()
    assert.deepEqual([upstream.count, jobs.stats().cancelled, jobs.stats().queueSize], [1, 2, 0])
  })

  it('a signal that fires beside the answer leaves a job one status', bounded, async (t) => {
    const leaving = new Map()
    const act = async (exchange) => {
      await ok('yes')(exchange)
      const { content } = exchange.json.messages[0]
      setTimeout(() => leaving.get(content).abort(new Error('late')), Number(content) % 4)
    }
    const { jobs } = await processor(t, act, { workers: 4, queueSize: 500 })
    const told = record(jobs, 'jobCompleted', 'jobFailed', 'jobCancelled')
    const promised = new Map()
    for (let number = 0; number < 200; number++) {
      const id = `${number}`
      leaving.set(id, new AbortController())
      const job = await jobs.submit({ prompt: id, id }, { signal: leaving.get(id).signal })
      promised.set(id, settled(job.result()))
    }
    await jobs.stop()
    const events = new Map(told.map(([, { id, status }]) => [id, status]))
    const counts = { completed: 0, cancelled: 0 }
    for (const { id, status } of await all(jobs.results())) {
      counts[status] += 1
      assert.equal(events.get(id), status)
      assert.equal((await promised.get(id)).error === undefined, status === 'completed')
    }
    const { completed, cancelled } = jobs.stats()
    assert.deepEqual({ completed, cancelled }, counts)
  })

  it('whoever waits for a place before reading is not held up', bounded, async (t) => {
    const { jobs } = await processor(t, ok('yes'), { workers: 1, queueSize: 1, keepResults: 1 })
    const results = jobs.results()
    for (let number = 0; number < 12; number++) await jobs.submit({ prompt: `${number}` }, { wait: true })
    await jobs.stop()
    assert.equal((await all(results)).length, 12)
  })

  it('a stop without drain hands back what was not done, ready to be submitted again', bounded, async (t) => {
    const { upstream, pool, jobs } = await processor(t, hang(), { workers: 1 })
    const first = { prompt: 'a', id: 'a', priority: 'low', metadata: { at: 1 } }
    const running = await jobs.submit(first)
    await until(() => upstream.count === 1)
    const second = await jobs.submit({ request: [{ role: 'user', content: 'b' }], timeout: 9000 })
    const notDone = await jobs.stop({ drain: false })
    assert.deepEqual(notDone, [
      first,
      { request: { messages: [{ role: 'user', content: 'b' }] }, timeout: 9000, id: second.id },
    ])
    for (const job of [running, second]) assert.ok((await rejection(job.result())) instanceof PoolClosedError)
    const late = await rejection(jobs.submit({ prompt: 'late' }))
    assert.ok(late instanceof PoolClosedError)
    assert.match(late.message, /processor was stopped/)
    assert.equal(jobs.stats().notDone, 2)
    assert.deepEqual(await all(jobs.results()), [])
    const again = pool.background()
    for (const job of notDone) await again.submit(job)
    assert.equal((await again.stop({ drainTimeout: 0 })).length, 2)
  })

  it('a pool that is shut down ends its jobs', bounded, async (t) => {
    const { upstream, pool, jobs } = await processor(t, hang(), { workers: 1 })
    const results = all(jobs.results())
    const [running, waiting] = [await jobs.submit({ prompt: 'a' }), await jobs.submit({ prompt: 'b' })]
    await until(() => upstream.count === 1)
    await pool.shutdown({ drainTimeout: 0 })
    for (const job of [running, waiting]) assert.ok((await rejection(job.result())) instanceof PoolClosedError)
    assert.ok((await rejection(jobs.submit({ prompt: 'c' }))) instanceof PoolClosedError)
    assert.throws(() => pool.background(), PoolClosedError)
    assert.deepEqual(await results, [])
    assert.equal((await jobs.stop()).length, 2)
  })

  it('an id belongs to one job until it is over', bounded, async (t) => {
    const door = gate()
    const { jobs } = await processor(t, behind(door))
    const job = await jobs.submit({ prompt: 'a', id: 'a' })
    const refused = await rejection(jobs.submit({ prompt: 'b', id: 'a' }))
    assert.ok(refused instanceof InvalidRequestError)
    assert.equal(refused.field, 'id')
    door.open()
    await job.result()
    await (await jobs.submit({ prompt: 'c', id: 'a' })).result()
  })

  it('options that cannot be are refused at once, each by its name', bounded, async (t) => {
    const pool = poolOf(t, [{ name: 'a', type: 'ollama', model: 'm' }])
    for (const [options, said] of [
      [{ workers: 0 }, /workers: must be a whole number from 1/],
      [{ queueSize: 0, workers: -1 }, /workers/],
      [{ queueSize: 0 }, /queueSize: must be a whole number from 1/],
      [{ keepResults: 0 }, /keepResults/],
      [{ rateLimitRps: 0 }, /rateLimitRps: must be a number above 0/],
      [{ timeout: 0 }, /timeout/],
      [{ maxRetries: Number.NaN }, /maxRetries: must be a finite number/],
      [{ wokers: 2 }, /did you mean "workers"/],
      [7, /options: must be an object/],
    ]) {
      assert.throws(
        () => pool.background(options),
        (error) => {
          assert.ok(error instanceof ConfigurationError, error.stack)
          assert.match(error.message, said)
          return true
        },
      )
    }
    const jobs = pool.background()
    for (const options of [{ drain: 1 }, { drainTimeout: -1 }, { wait: true }, 3]) {
      assert.ok((await rejection(jobs.stop(options))) instanceof ConfigurationError)
    }
    assert.equal(jobs.stats().isRunning, true, 'a stop that is refused stops nothing')
  })

  it('jobs that cannot be are refused by the field, and nothing of them stays', bounded, async (t) => {
    const { upstream, jobs } = await processor(t, ok())
    for (const [job, field, options] of [
      [{}, 'request'],
      [7, ''],
      [{ prompt: '' }, 'prompt'],
      [{ prompt: 'x', request: question(1) }, 'prompt'],
      [{ prompt: 'x', priority: 'urgent' }, 'priority'],
      [{ prompt: 'x', id: '' }, 'id'],
      [{ prompt: 'x', timeout: 0 }, 'timeout'],
      [{ prompt: 'x', metadata: { at: () => 1 } }, 'metadata.at'],
      [{ prompt: 'x', metadata: new Error('x') }, 'metadata'],
      [{ prompt: 'x', metadata: { why: new TypeError('x') } }, 'metadata.why'],
      [{ prompt: 'x', metadata: { like: /x/ } }, 'metadata.like'],
      [{ request: { messages: question(1), temprature: 1 } }, 'request.temprature'],
      [{ request: { messages: question(1), stream: true } }, 'request.stream'],
      [{ request: { messages: question(1), signal: new AbortController().signal } }, 'request.signal'],
      [{ prompt: 'x' }, 'wait', { wait: 1 }],
      [{ prompt: 'x' }, 'signal', { signal: 1 }],
      [{ prompt: 'x' }, 'prio', { prio: 1 }],
    ]) {
      const error = await rejection(jobs.submit(job, options))
      assert.ok(error instanceof InvalidRequestError, error.stack)
      assert.equal(error.field, field, error.message)
    }
    assert.deepEqual([jobs.stats().queueSize, jobs.stats().completed, upstream.count], [0, 0, 0])
  })

  it('a pool that is not initialized is, by its first job; what is wrong with it is told there', bounded, async (t) => {
    const upstream = await Upstream.start(t, ok('yes'))
    const pool = poolOf(t, [provider('a', upstream)])
    assert.equal((await (await pool.background().submit({ prompt: 'x' })).result()).content, 'yes')
    const wrong = new LLMPool({ config: { providers: [] } })
    assert.ok((await rejection(wrong.background().submit({ prompt: 'x' }))) instanceof ConfigurationError)
  })

  it('leaving the loop slows nobody down', bounded, async (t) => {
    const { jobs } = await processor(t, ok('yes'), { keepResults: 1, workers: 1 })
    const results = jobs.results()
    const submitted = []
    for (let number = 0; number < 5; number++) submitted.push(await jobs.submit({ prompt: `${number}` }))
    for await (const { status } of results) {
      assert.equal(status, 'completed')
      break
    }
    for (const job of submitted) await job.result()
    assert.equal(jobs.stats().completed, 5)
  })

  it('a listener that throws breaks no job', bounded, async (t) => {
    const upstream = await Upstream.start(t, ok('yes'))
    const config = JSON.stringify({ providers: [provider('a', upstream)] })
    const { code, stdout } = await runNode(
      t,
      `const { LLMPool } = await import(ENTRY)
      process.on('uncaughtException', ({ message }) => console.log(message))
      const jobs = new LLMPool({ config: ${config} }).background()
      jobs.on('jobCompleted', () => { throw new Error('mine') })
      const job = await jobs.submit({ prompt: 'x' })
      const { content } = await job.result()
      await new Promise(setImmediate)
      console.log(content)`,
    )
    assert.deepEqual([code, stdout], [0, 'mine\nyes\n'])
  })

  it('results that wait keep the process alive for who reads them late', bounded, async (t) => {
    const upstream = await Upstream.start(t, ok('yes'))
    const config = JSON.stringify({ providers: [provider('a', upstream)] })
    const { code, stdout } = await runNode(
      t,
      `const { LLMPool } = await import(ENTRY)
      const jobs = new LLMPool({ config: ${config} }).background()
      const all = []
      for (let number = 0; number < 20; number++) all.push(await jobs.submit({ prompt: 'x' }))
      for (const job of all) await job.result()
      let read = 0
      for await (const _ of jobs.results()) {
        await new Promise(setImmediate)
        if (++read === 20) break
      }
      console.log(read)`,
    )
    assert.deepEqual([code, stdout], [0, '20\n'])
  })

  it('jobs keep the process alive, and waiting for results that never come does not', bounded, async (t) => {
    const upstream = await Upstream.start(t, ok('yes'))
    const config = JSON.stringify({ providers: [provider('a', upstream)] })
    const { code, stdout } = await runNode(
      t,
      `const { LLMPool } = await import(ENTRY)
      const pool = new LLMPool({ config: ${config} })
      const jobs = pool.background()
      jobs.on('jobCompleted', ({ id }) => console.log(id))
      jobs.submit({ prompt: 'x', id: 'done' })
      ;(async () => { for await (const _ of jobs.results()); })()`,
    )
    assert.deepEqual([code, stdout], [0, 'done\n'])
    assert.ok(ENTRY)
  })
})

describe('docs/background.md', () => {
  const page = readFileSync(join(ROOT, 'docs', 'background.md'), 'utf8')
  const shown = [...page.matchAll(/<!-- runs -->\n```js\n([\s\S]*?)\n```/g)].map(([, code]) => code)

  it('shows code that runs', () => assert.ok(shown.length >= 4))
  for (const code of shown) {
    it(`runs as shown: ${code.split('\n')[0]}`, bounded, async (t) => {
      const upstream = await Upstream.start(t, ok('A summary.'))
      const config = JSON.stringify({ providers: [provider('a', upstream)] })
      const program = `import { LLMPool } from ${JSON.stringify(ENTRY)}
        const pool = new LLMPool({ config: ${config} })
        const pages = ['one', 'two', 'three']
        ${code}
        await pool.shutdown()`
      const ended = await runNode(t, program)
      assert.equal(ended.code, 0, ended.stderr)
      assert.ok(upstream.count > 0)
    })
  }

  it('has the table of what is tried again as the core has it', () => {
    const rules = readFileSync(join(ROOT, 'src', 'jobs', 'again.rs'), 'utf8')
    for (const [, row] of rules.matchAll(/^\/\/! (\|.*\|)$/gm)) assert.ok(page.includes(row), row)
  })
})
