// From constructor to shutdown: who keeps the process alive, who may still call, and what a thrown error looks like.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import * as esm from '../index.mjs'
import { Upstream, after, hang, ok, sse, status } from './support/upstream.mjs'
import { ENTRY, ROOT, folder, runNode, startNode } from './support/child.mjs'
import { ask, drain, inOrder, openPool, poolOf, provider, record, rejection, trail } from './support/pool.mjs'
import { bounded, gate, roomy, settled, until } from './support/wait.mjs'

const { ConfigurationError, LLMPool, LLMPoolError, PoolClosedError, ProviderError, RateLimitError } = esm
const require = createRequire(import.meta.url)

/** What it throws. */
function thrown(mistake) {
  try {
    mistake()
  } catch (error) {
    return error
  }
  throw new assert.AssertionError({ message: 'nothing was thrown' })
}

/** The beginning of a child's code: a pool over the parent's upstream. */
const prologue = `
  const { LLMPool } = await import(ENTRY)
  const pool = new LLMPool({ config: { providers: [{ name: 'a', type: 'openai', api_key: 'k', model: 'm', base_url: process.env.BASE }] }, maxRetries: 0 })
`

describe('LLMPool lifecycle: the process', () => {
  it('an idle pool keeps none alive, though it was used and never shut down', bounded, async (t) => {
    const a = await Upstream.start(t)
    const { code, signal, stdout, stderr } = await runNode(
      t,
      `${prologue}
      await pool.initialize()
      pool.on('requestSuccess', () => {})
      console.log((await pool.chat([{ role: 'user', content: 'x' }])).content)
      globalThis.kept = pool // reachable to the end
    `,
      { env: { BASE: a.base } },
    )
    assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'pong\n', stderr: '' })
  })

  it('a pool that never called keeps none alive', bounded, async (t) => {
    const { code, stderr } = await runNode(t, `${prologue} await pool.initialize(); globalThis.kept = pool`, {
      env: { BASE: 'http://127.0.0.1:9/v1' },
    })
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  })

  it('a running call does keep it alive', bounded, async (t) => {
    const held = gate()
    const a = await Upstream.start(t, after(held.opened, ok('late')))
    const child = startNode(
      t,
      `${prologue} pool.chat([{ role: 'user', content: 'x' }]).then((response) => console.log(response.content))`,
      { env: { BASE: a.base } },
    )
    await a.request(1)
    held.open()
    const { code, stdout, stderr } = await child.ended
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'late\n', stderr: '' })
  })

  it('a call that backs off does keep it alive', bounded, async (t) => {
    const a = await Upstream.start(t, ok('second'))
    a.next(status(500))
    const { code, stdout } = await runNode(
      t,
      `${prologue} pool.chat([{ role: 'user', content: 'x' }], { maxRetries: 1 }).then((response) => console.log(response.content))`,
      { env: { BASE: a.base } },
    )
    assert.deepEqual({ code, stdout }, { code: 0, stdout: 'second\n' })
  })

  it('a stream that is read does keep it alive; one that was left does not', bounded, async (t) => {
    const held = gate()
    const a = await Upstream.start(
      t,
      sse(async (stream) => {
        await stream.text('one ')
        await held.opened
        await stream.text('two')
        await stream.finish()
        await stream.done()
      }),
    )
    const child = startNode(
      t,
      `${prologue}
      const read = async () => { let text = ''; for await (const chunk of pool.stream([{ role: 'user', content: 'x' }])) text += chunk.delta; console.log(text) }
      const leave = async () => { for await (const chunk of pool.stream([{ role: 'user', content: 'x' }])) break }
      read().then(leave)
    `,
      { env: { BASE: a.base } },
    )
    await a.request(1)
    held.open()
    const { code, stdout, stderr } = await child.ended
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'one two\n', stderr: '' })
  })

  it('process.exit with calls in flight ends at once', bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const child = startNode(
      t,
      `${prologue}
      for (let n = 0; n < 20; n++) pool.chat([{ role: 'user', content: 'x' }]).catch(() => {})
      process.on('SIGTERM', () => process.exit(7))
      console.log('calling')
    `,
      { env: { BASE: a.base } },
    )
    await a.requests(20)
    child.kill('SIGTERM')
    const { code, signal, stderr } = await child.ended
    assert.deepEqual({ code, signal, stderr }, { code: 7, signal: null, stderr: '' })
  })
})

describe('LLMPool lifecycle: worker threads', () => {
  const code = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(workerData.entry).then(async ({ LLMPool }) => {
      const pool = new LLMPool({ config: { providers: [{ name: 'a', type: 'openai', api_key: 'k', model: 'm', base_url: workerData.base }] } })
      if (workerData.hang) return void pool.chat([{ role: 'user', content: workerData.name }])
      const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => pool.chat([{ role: 'user', content: workerData.name + n }])))
      let streamed = ''
      parentPort.postMessage({ answers: answers.map((answer) => answer.content) })
    })
  `
  const startWorker = (t, workerData) => {
    const worker = new Worker(code, { eval: true, workerData: { entry: ENTRY, ...workerData } })
    t.after(() => worker.terminate())
    return worker
  }

  it('two use the addon at once, beside the main thread', bounded, async (t) => {
    const a = await Upstream.start(t, (exchange) => ok(`re: ${exchange.json.messages[0].content}`)(exchange))
    const pool = await openPool(t, [provider('a', a)])
    const workers = ['x', 'y'].map((name) => startWorker(t, { base: a.base, name }))
    const replies = Promise.all(workers.map((worker) => once(worker, 'message').then(([message]) => message)))
    const exits = Promise.all(workers.map((worker) => once(worker, 'exit').then(([exit]) => exit)))
    const mine = await Promise.all(Array.from({ length: 50 }, (_, n) => pool.chat(ask(`main${n}`))))
    for (const [n, answer] of mine.entries()) assert.equal(answer.content, `re: main${n}`)
    const [x, y] = await replies
    assert.deepEqual(
      x.answers,
      Array.from({ length: 50 }, (_, n) => `re: x${n}`),
    )
    assert.deepEqual(
      y.answers,
      Array.from({ length: 50 }, (_, n) => `re: y${n}`),
    )
    assert.deepEqual(await exits, [0, 0]) // idle pools keep no worker alive either
    assert.equal(a.count, 150)
  })

  it('one that is terminated in the middle of its calls takes nothing down', bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const b = await Upstream.start(t)
    const pool = await openPool(t, [provider('b', b)])
    for (let round = 0; round < 5; round++) {
      const seen = a.count
      const worker = startWorker(t, { base: a.base, name: 'doomed', hang: true })
      await a.request(seen + 1)
      await worker.terminate()
      assert.equal((await pool.chat(ask())).content, 'pong')
    }
  })
})

describe('LLMPool lifecycle: listeners', () => {
  it("one that throws breaks no call: it is an uncaughtException like any emitter's", bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const b = await Upstream.start(t)
    const { code, stdout, stderr } = await runNode(
      t,
      `
      const { LLMPool } = await import(ENTRY)
      const caught = []
      process.on('uncaughtException', (error) => caught.push(error.message))
      const provider = (name, base_url, priority) => ({ name, type: 'openai', api_key: 'k', model: 'm', base_url, priority })
      const pool = new LLMPool({ config: { providers: [provider('a', process.env.A, 1), provider('b', process.env.B, 2)] } })
      let after = 0
      for (const event of ['ready', 'requestError', 'requestSuccess']) pool.on(event, () => { throw new Error('listener of ' + event) })
      pool.on('requestSuccess', () => after++)
      await pool.initialize()
      for (let call = 0; call < 3; call++) console.log((await pool.chat([{ role: 'user', content: 'x' }])).provider)
      await new Promise((resolve) => setImmediate(resolve))
      console.log(JSON.stringify({ caught: [...new Set(caught)].sort(), inFlight: pool.getProviderStats().b.usage.inFlight, after }))
      await pool.shutdown()
    `,
      { env: { A: a.base, B: b.base } },
    )
    assert.equal(stderr, '')
    const lines = stdout.trim().split('\n')
    assert.deepEqual(lines.slice(0, 3), ['b', 'b', 'b'])
    const { caught, inFlight } = JSON.parse(lines[3])
    assert.deepEqual(caught, ['listener of ready', 'listener of requestError', 'listener of requestSuccess'])
    assert.equal(inFlight, 0)
    assert.equal(code, 0)
  })

  it('one that throws, with nobody catching, ends the process as in any emitter', bounded, async (t) => {
    const a = await Upstream.start(t)
    const { code, stderr } = await runNode(
      t,
      `${prologue}
      pool.on('requestSuccess', () => { throw new Error('mine') })
      await pool.chat([{ role: 'user', content: 'x' }])
      await new Promise((resolve) => setImmediate(resolve))
    `,
      { env: { BASE: a.base } },
    )
    assert.notEqual(code, 0)
    assert.match(stderr, /Error: mine/)
  })

  it('one that calls the pool again, or shuts it down, is fine', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    let nested
    pool.once('requestSuccess', () => (nested = pool.chat(ask('again'))))
    await pool.chat(ask())
    assert.equal((await nested).content, 'pong')
    let ended
    pool.once('requestSuccess', () => (ended = pool.shutdown()))
    assert.equal((await pool.chat(ask())).content, 'pong')
    await ended
  })
})

describe('LLMPool initialize', () => {
  it('many at once are one', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = poolOf(t, [provider('a', a)])
    const told = []
    pool.on('ready', () => told.push('ready'))
    pool.on('providersUpdated', () => told.push('providersUpdated'))
    await Promise.all([
      pool.initialize(),
      pool.initialize(),
      pool.chat(ask()),
      pool
        .stream(ask())
        .response()
        .catch(() => {}),
      pool.initialize(),
    ])
    await pool.initialize()
    assert.deepEqual(told.sort(), ['providersUpdated', 'ready'])
  })

  it('that failed is not remembered: the next one tries again', bounded, async (t) => {
    const a = await Upstream.start(t)
    const path = join(folder(t), 'config.json')
    const pool = new LLMPool({ configPath: path })
    t.after(() => pool.shutdown())
    const both = await Promise.all([rejection(pool.initialize()), rejection(pool.chat(ask()))])
    assert.ok(both.every((error) => error instanceof ConfigurationError))
    writeFileSync(path, '{ "providers": [] }')
    assert.ok((await rejection(pool.initialize())) instanceof ConfigurationError)
    writeFileSync(path, JSON.stringify({ providers: [provider('a', a)] }))
    await pool.initialize()
    assert.equal((await pool.chat(ask())).content, 'pong')
  })

  it('views of a pool that is not ready yet do not throw', () => {
    const pool = new LLMPool({ config: { providers: [] } })
    assert.equal(pool.getPoolHealth().healthy, false)
    assert.equal(pool.getPoolHealth().totalProviders, 0)
    assert.deepEqual(pool.getProviderStats(), {})
    assert.equal(pool.getStats().totalRequests, 0)
  })
})

describe('LLMPool shutdown', () => {
  it('lets running calls end and refuses new ones', bounded, async (t) => {
    const held = gate()
    const a = await Upstream.start(t, after(held.opened, ok('drained')))
    const pool = await openPool(t, [provider('a', a)])
    const order = []
    pool.on('shutdown', () => order.push('event'))
    const running = pool.chat(ask()).then((response) => order.push(response.content))
    await a.request(1)
    const down = pool.shutdown({ drainTimeout: 25_000 }).then(() => order.push('down'))
    const refusal = await rejection(pool.chat(ask()))
    assert.ok(refusal instanceof PoolClosedError, refusal.stack)
    assert.equal(refusal.code, 'ERR_LLMPOOL_CLOSED')
    assert.ok((await rejection(pool.stream(ask()).response())) instanceof PoolClosedError)
    held.open()
    await Promise.all([running, down])
    assert.ok(order.includes('event') && order.indexOf('drained') < order.indexOf('down'), order.join())
    assert.equal(a.count, 1)
    assert.ok((await rejection(pool.chat(ask()))) instanceof PoolClosedError)
    assert.ok((await rejection(pool.initialize())) instanceof PoolClosedError)
  })

  for (const drainTimeout of [0, 50]) {
    it(`aborts what is still running after ${drainTimeout} ms`, bounded, async (t) => {
      const a = await Upstream.start(t, hang())
      const b = await Upstream.start(
        t,
        sse((stream) => stream.text('first')),
      )
      const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
      const running = rejection(pool.chat(ask(), { providers: ['a'] }))
      const stream = pool.stream(ask(), { providers: ['b'] })
      const reading = rejection(
        (async () => {
          for await (const _ of stream);
        })(),
      )
      await Promise.all([a.request(1), b.request(1)])
      await pool.shutdown({ drainTimeout })
      for (const [error, name] of [
        [await running, 'a'],
        [await reading, 'b'],
      ]) {
        assert.ok(error instanceof PoolClosedError, error.stack)
        assert.match(error.requestId, /^req_/)
        assert.deepEqual(
          error.attempts.map(({ provider, outcome }) => ({ provider, outcome })),
          [{ provider: name, outcome: 'cancelled' }],
        )
      }
      await Promise.all([a.last.closed, b.last.closed])
      assert.equal((await rejection(pool.chat(ask()))).code, 'ERR_LLMPOOL_CLOSED')
    })
  }

  it('ends streams that are held and not read', bounded, async (t) => {
    const a = await Upstream.start(
      t,
      sse((stream) => stream.text('first')),
    )
    const pool = await openPool(t, [provider('a', a)])
    const unread = pool.stream(ask())
    const begun = pool.stream(ask())
    const chunks = begun[Symbol.asyncIterator]()
    assert.equal((await chunks.next()).value.delta, 'first')
    await a.request(2)
    await pool.shutdown({ drainTimeout: 50 })
    await Promise.all(a.exchanges.map((exchange) => exchange.closed))
    assert.equal(pool.getProviderStats().a.usage.inFlight, 0)
    for (const rest of [unread, { [Symbol.asyncIterator]: () => chunks }]) {
      const { error } = await drain(rest)
      assert.ok(error instanceof PoolClosedError, error.stack)
      assert.deepEqual(trail(error), ['a:cancelled'])
    }
  })

  it('ends a backoff and a wait, too', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = await openPool(t, [provider('a', a)], { retryDelay: 3_600_000 })
    const running = rejection(pool.chat(ask()))
    await a.request(1)
    await pool.shutdown({ drainTimeout: 0 })
    assert.ok((await running) instanceof LLMPoolError)
    assert.equal(a.count, 1)
  })

  it('closes the idle connections', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    await pool.chat(ask())
    assert.equal(a.connections[0].open, true)
    await pool.shutdown()
    await a.connections[0].closed
  })

  it('twice, at once, or before anything is fine', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    await Promise.all([pool.shutdown(), pool.shutdown()])
    await pool.shutdown()
    const fresh = poolOf(t, [provider('a', a)])
    await fresh.shutdown()
    assert.ok((await rejection(fresh.chat(ask()))) instanceof PoolClosedError)
    assert.equal(a.count, 0)
  })

  it('while it initializes, neither hangs', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = poolOf(t, [provider('a', a)])
    const [initialized, called, down] = await Promise.all([
      settled(pool.initialize()),
      settled(pool.chat(ask())),
      settled(pool.shutdown()),
    ])
    assert.equal(down.error, undefined)
    if (initialized.error) assert.ok(initialized.error instanceof PoolClosedError)
    if (called.error) assert.ok(called.error instanceof PoolClosedError, called.error.stack)
    assert.ok((await rejection(pool.chat(ask()))) instanceof PoolClosedError)
  })

  it('is what Symbol.asyncDispose does', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await LLMPool.create({ config: { providers: [provider('a', a)] } })
    assert.equal((await pool.chat(ask())).content, 'pong')
    await pool[Symbol.asyncDispose]()
    assert.ok((await rejection(pool.chat(ask()))) instanceof PoolClosedError)
  })

  it('refuses a drainTimeout that is no time', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    for (const drainTimeout of [-1, 'soon', Number.NaN])
      assert.ok((await rejection(pool.shutdown({ drainTimeout }))) instanceof LLMPoolError)
    const misspelt = await rejection(pool.shutdown({ drain: 1 }))
    assert.deepEqual(misspelt.problems, [{ path: 'drain', message: 'unknown option; did you mean "drainTimeout"?' }])
    assert.ok((await rejection(pool.shutdown(1))) instanceof LLMPoolError)
    assert.equal((await pool.chat(ask())).content, 'pong') // none of them shut anything down
  })

  it("of pools that are forgotten is nobody's duty", roomy, async (t) => {
    const a = await Upstream.start(t)
    const { code, stderr, stdout } = await runNode(
      t,
      `
      const { LLMPool } = await import(ENTRY)
      for (let n = 0; n < 50; n++) {
        const pool = await LLMPool.create({ config: { providers: [{ name: 'a', type: 'openai', api_key: 'k', model: 'm', base_url: process.env.BASE }] } })
        pool.on('requestSuccess', () => {})
        if (n % 10 === 0) await pool.chat([{ role: 'user', content: 'x' }])
      }
      for (let n = 0; n < 10; n++) { gc(); await new Promise((resolve) => setImmediate(resolve)) }
      console.log('over')
    `,
      { env: { BASE: a.base }, flags: ['--expose-gc'] },
    )
    assert.deepEqual({ code, stderr, stdout }, { code: 0, stderr: '', stdout: 'over\n' })
  })
})

describe('LLMPool module', () => {
  const cjs = require('../index.js')

  it('is the same by require and by import', () => {
    const names = Object.keys(cjs).sort()
    assert.deepEqual(
      Object.keys(esm)
        .filter((name) => name !== 'default' && name !== 'module.exports')
        .sort(),
      names,
    )
    for (const [name, value] of Object.entries(esm)) if (names.includes(name)) assert.equal(value, cjs[name], name)
  })

  it('has every name of the documentation', () => {
    for (const name of [
      'LLMPool',
      'createTextMessage',
      'createImageMessage',
      'createMixedMessage',
      'LLMPoolError',
      'ConfigurationError',
      'InvalidRequestError',
      'ProviderError',
      'RateLimitError',
      'NoProviderError',
      'BudgetExceededError',
      'TimeoutError',
      'StreamInterruptedError',
      'PermissionDeniedError',
      'PoolClosedError',
      'PROVIDERS',
      'MESSAGE_TYPES',
    ])
      assert.ok(name in cjs, name)
  })

  it('LLMPool is an EventEmitter', async () => {
    const { EventEmitter } = await import('node:events')
    assert.ok(new LLMPool({ config: {} }) instanceof EventEmitter)
  })
})

describe('LLMPool errors', () => {
  it('can be made by users, as in the seed', () => {
    const failed = new ProviderError('no', 'openai', 503, true)
    assert.deepEqual(
      [failed.message, failed.provider, failed.statusCode, failed.status, failed.retryable, failed.name, failed.code],
      ['no', 'openai', 503, 503, true, 'ProviderError', 'ERR_LLMPOOL_PROVIDER'],
    )
    const limited = new RateLimitError('slow down', 'groq', 12)
    assert.ok(limited instanceof ProviderError)
    assert.deepEqual(
      [limited.provider, limited.resetTime, limited.name, limited.code],
      ['groq', 12, 'RateLimitError', 'ERR_LLMPOOL_RATE_LIMITED'],
    )
    const config = new ConfigurationError('bad')
    assert.deepEqual([config.message, config.name, config.code], ['bad', 'ConfigurationError', 'ERR_LLMPOOL_CONFIG'])
    for (const error of [failed, limited, config]) {
      assert.ok(error instanceof LLMPoolError && error instanceof Error && LLMPoolError.isInstance(error))
      assert.ok(Array.isArray(error.attempts))
    }
  })

  it('isInstance works across copies of the package', bounded, async (t) => {
    const a = await Upstream.start(t, status(400))
    const pool = await openPool(t, [provider('a', a)])
    const error = await rejection(pool.chat(ask()))
    for (const path of Object.keys(require.cache))
      if (path.startsWith(ROOT) && !path.endsWith('.node')) delete require.cache[path]
    const copy = require('../index.js')
    assert.notEqual(copy.LLMPoolError, LLMPoolError)
    assert.ok(!(error instanceof copy.LLMPoolError))
    assert.ok(copy.LLMPoolError.isInstance(error))
    for (const other of [null, undefined, 1, 'x', {}, new Error('x'), { code: 'ERR_LLMPOOL_PROVIDER' }])
      assert.equal(LLMPoolError.isInstance(other), false)
    await copy.LLMPool.create({ config: { providers: [provider('a', a)] } }).then((second) => second.shutdown())
  })

  it("point at the caller's await", bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 0 })], { maxRetries: 0 })
    async function askTheCapitalOfFrance() {
      await pool.chat(ask())
    }
    async function readTheCapitalOfFrance() {
      for await (const _ of pool.stream(ask()));
    }
    async function askBadly() {
      await pool.chat({ messages: [] })
    }
    assert.match((await rejection(askTheCapitalOfFrance())).stack, /askTheCapitalOfFrance/)
    assert.match((await rejection(readTheCapitalOfFrance())).stack, /readTheCapitalOfFrance/)
    assert.match((await rejection(askBadly())).stack, /askBadly/)
    const { error } = await settled(askTheCapitalOfFrance())
    assert.ok(error.stack.startsWith(`${error.name}: `), error.stack.split('\n')[0])
  })

  it('are plain to JSON and to structuredClone-like logging', bounded, async (t) => {
    const a = await Upstream.start(t, status(500, { error: { message: 'it broke' } }))
    const pool = await openPool(t, [provider('a', a)], { maxRetries: 0 })
    const error = await rejection(pool.chat(ask()))
    const json = JSON.parse(JSON.stringify(error))
    assert.equal(json.code, 'ERR_LLMPOOL_PROVIDER')
    assert.equal(json.attempts.length, 1)
    assert.equal(json.provider, 'a')
  })
})

describe('LLMPool steering', () => {
  it('names nobody has are refused by name', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    const names = (error) => LLMPoolError.isInstance(error) && /nobody/.test(error.message)
    assert.throws(() => pool.setProviderPriority('nobody', 1), names)
    assert.throws(() => pool.resetCircuitBreakers('nobody'), names)
    for (const priority of ['high', Number.NaN, -1, 1.5, undefined])
      assert.throws(() => pool.setProviderPriority('a', priority), LLMPoolError)
    // Whoever shows problems shows those of all of them.
    for (const [mistake, path] of [
      [() => pool.setProviderPriority('nobody', 1), ''],
      [() => pool.setProviderPriority('a', 'high'), 'priority'],
      [() => pool.setProviderEnabled('nobody', true), ''],
      [() => pool.setProviderEnabled('a', 1), 'enabled'],
      [() => pool.resetCircuitBreakers('nobody'), ''],
      [() => pool.removeProvider('nobody'), ''],
      [() => pool.getAnalytics('2h'), 'window'],
    ]) {
      const error = thrown(mistake)
      assert.ok(ConfigurationError.isInstance(error), String(error))
      assert.deepEqual(error.problems, [{ path, message: error.problems[0]?.message }], error.message)
      assert.ok(
        error.message.startsWith('invalid configuration: ') && error.message.endsWith(error.problems[0].message),
      )
    }
    assert.equal(pool.getProviderStats().a.priority, 1)
  })

  it('any name that is not empty can name a provider', bounded, async (t) => {
    const a = await Upstream.start(t)
    const names = ['constructor', 'toString', 'hasOwnProperty', 'with space', 'üñí', '0', 'a.b[0]']
    const pool = await openPool(t, inOrder(...names.map((name) => provider(name, a, { api_key: 'k' }))))
    for (const name of names) {
      assert.equal((await pool.chat(ask(), { providers: [name] })).provider, name)
      assert.equal(pool.getProviderStats()[name].usage.totalRequests, 1)
    }
  })

  it('a listener error of ours never shows as an "error" event crash', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = await openPool(t, [provider('a', a)], { maxRetries: 0 })
    const told = record(pool, 'error')
    await rejection(pool.chat(ask()))
    await until(() => pool.getStats().activeConnections === 0)
    assert.deepEqual(told, []) // failing calls reject; they are no background failure
  })
})

describe('LLMPool while its configuration loads', () => {
  /** A pool whose configuration comes when `loaded` is opened, and the providers it will have. */
  async function loading(t, { statsFile, health } = {}) {
    const a = await Upstream.start(t)
    const loaded = gate()
    const text = JSON.stringify({ providers: [provider('a', a)], ...(health === undefined ? {} : { health }) })
    const source = await Upstream.start(t, async (exchange) => {
      await loaded.opened
      exchange.reply(200, text)
    })
    const pool = new LLMPool({ configUrl: `${source.origin}/config.json`, checkInterval: 20, statsFile })
    t.after(() => pool.shutdown({ drainTimeout: 0 }))
    t.after(loaded.open)
    return { a, loaded, source, pool }
  }

  it('every kind of call waits for it', bounded, async (t) => {
    const { loaded, pool } = await loading(t)
    const calls = [pool.chat(ask()), pool.execute(({ provider }) => provider), pool.initialize()]
    const streamed = pool.stream(ask()).text()
    loaded.open()
    const [chat, executed] = await Promise.all(calls)
    assert.deepEqual([chat.content, executed], ['pong', 'a'])
    assert.equal(await streamed, 'pong')
  })

  it('a signal ends a call that waits for it', bounded, async (t) => {
    const { a, pool } = await loading(t)
    const controller = new AbortController()
    const options = { signal: controller.signal }
    const calls = [
      pool.chat(ask(), options),
      pool.stream(ask(), options).text(),
      pool.embed({ input: 'x' }, options),
      pool.execute(() => 1, options),
    ].map(rejection)
    controller.abort(new Error('enough'))
    for (const error of await Promise.all(calls)) assert.equal(error.message, 'enough')
    assert.equal(a.count, 0)
  })

  it('a deadline ends a call that waits for it, and says what it waited for', bounded, async (t) => {
    const { pool } = await loading(t)
    const error = await rejection(pool.chat(ask(), { deadline: 20, requestId: 'mine' }))
    assert.deepEqual([error.code, error.phase, error.requestId], ['ERR_LLMPOOL_TIMEOUT', 'deadline', 'mine'])
    assert.match(error.message, /deadline of 20 ms has passed while the configuration was loading/)
  })

  it('a shutdown gives it up: nobody is asked, nothing is followed, no file is held', bounded, async (t) => {
    const statsFile = join(folder(t), 'stats.json')
    const { a, loaded, source, pool } = await loading(t, { statsFile, health: { active: true, interval_ms: 10 } })
    const waits = rejection(pool.chat(ask()))
    const initialized = rejection(pool.initialize())
    await source.request(1)
    await pool.shutdown()
    for (const error of await Promise.all([waits, initialized])) assert.ok(error instanceof PoolClosedError)
    loaded.open()
    const other = new LLMPool({ config: { providers: [provider('a', a)] }, statsFile })
    await other.initialize()
    await other.shutdown()
    assert.deepEqual([a.count, source.count], [0, 1])
  })
})
