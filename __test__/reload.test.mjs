// Another configuration under running calls: from an object, a file, a URL, and from the program.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import http from 'node:http'
import { once } from 'node:events'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { ConfigurationError, LLMPool, PoolClosedError } from '../index.mjs'
import { folder, runNode } from './support/child.mjs'
import { ask, inOrder, openPool, poolOf, provider, record, rejection } from './support/pool.mjs'
import { after, hang, ok, status, Upstream } from './support/upstream.mjs'
import { bounded, gate, roomy, until } from './support/wait.mjs'

const sum = (text) => createHash('sha256').update(text).digest('hex')
const configOf = (...providers) => JSON.stringify({ providers })

/** A pool over a file with this text. */
async function poolOverFile(t, text, options = {}, name = 'config.json') {
  const dir = folder(t)
  const path = join(dir, name)
  writeFileSync(path, text)
  const pool = new LLMPool({ configPath: path, retryDelay: 1, ...options })
  t.after(() => pool.shutdown({ drainTimeout: 0 }))
  await pool.initialize()
  return { pool, path, dir }
}

/** Does this while `from` is mounted at `to`; skips the test where that is not permitted. */
async function mounted(t, from, to, act) {
  const { status, stderr, error } = spawnSync('mount', ['--bind', from, to], { encoding: 'utf8' })
  if (status !== 0) return t.skip(`no bind mounts here: ${error?.message ?? stderr.trim()}`)
  try {
    await act()
  } finally {
    spawnSync('umount', ['--lazy', to])
  }
}

const inForce = (pool, text) => until(() => pool.getStats().configChecksum === sum(text), `in force: ${text}`)
const names = (pool) => Object.keys(pool.getProviderStats()).sort()

/** A server of configurations that answers what it is told to. */
class ConfigServer {
  requests = []
  answer = (_req, res) => res.writeHead(404).end()

  static async start(t) {
    const server = new ConfigServer()
    const inner = http.createServer((req, res) => {
      server.requests.push(req)
      server.answer(req, res)
    })
    inner.listen(0, '127.0.0.1')
    await once(inner, 'listening')
    t.after(() => {
      inner.closeAllConnections()
      inner.close()
    })
    server.url = `http://127.0.0.1:${inner.address().port}/config.json`
    return server
  }

  serves(text, headers = {}) {
    this.answer = (_req, res) => res.writeHead(200, { 'content-type': 'application/json', ...headers }).end(text)
    return this
  }
}

describe('ConfigManager: reload of an object', () => {
  it('swaps providers in one step and tells of it, keys masked', bounded, async (t) => {
    const [a, b] = [await Upstream.start(t, ok('from a')), await Upstream.start(t, ok('from b'))]
    const pool = await openPool(t, [provider('a', a)])
    const told = []
    pool.on('configChanged', (config) => told.push(['configChanged', config]))
    pool.on('providersUpdated', (list, change) => told.push(['providersUpdated', list.map((p) => p.name), change]))
    assert.equal(pool.getStats().configVersion, 1)
    const next = { providers: [provider('b', b, { headers: { 'x-team': 'hidden-team' } })] }
    await pool.reload(next)
    assert.equal((await pool.chat(ask())).content, 'from b')
    assert.equal(pool.getStats().configVersion, 2)
    assert.match(pool.getStats().configChecksum, /^[0-9a-f]{64}$/)
    assert.deepEqual(
      told.map(([name]) => name),
      ['configChanged', 'providersUpdated'],
    )
    const [, config] = told[0]
    assert.deepEqual([config.providers[0].name, config.providers[0].api_key], ['b', '***'])
    assert.doesNotMatch(JSON.stringify(told), /key-of|hidden-team/)
    assert.deepEqual(told[1].slice(1), [['b'], { added: ['b'], removed: ['a'], changed: [] }])
    await pool.reload(next)
    assert.equal(told.length, 2, 'the same again is no change')
  })

  it('that is wrong rejects with every problem, and what was in force stays', bounded, async (t) => {
    const a = await Upstream.start(t, ok('from a'))
    const pool = await openPool(t, [provider('a', a)])
    const told = record(pool, 'configChanged', 'providersUpdated', 'error')
    const error = await rejection(pool.reload({ providers: [{ name: 'b' }, { name: 'b', model: 1 }] }))
    assert.ok(error instanceof ConfigurationError)
    assert.ok(error.problems.length >= 3, error.message)
    for (const wrong of [null, 7, 'x', [], { providers: [() => {}] }])
      assert.ok((await rejection(pool.reload(wrong))) instanceof ConfigurationError)
    assert.deepEqual(told, [], 'whoever asked was told')
    assert.equal((await pool.chat(ask())).content, 'from a')
    assert.equal(pool.getStats().configVersion, 1)
  })

  it('leaves calls under way alone', bounded, async (t) => {
    const held = gate()
    const a = await Upstream.start(t, after(held.opened, ok('from a')))
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, [provider('a', a)])
    const running = pool.chat(ask())
    await a.request(1)
    await pool.reload({ providers: [provider('b', b)] })
    assert.equal((await pool.chat(ask())).content, 'from b')
    assert.equal(pool.getStats().activeConnections, 1)
    held.open()
    assert.equal((await running).content, 'from a')
    assert.equal(pool.getStats().activeConnections, 0)
    assert.equal(pool.getStats().successfulRequests, 2)
  })

  it('without an object reads the source again, and the environment', bounded, async (t) => {
    const a = await Upstream.start(t)
    process.env.LLMPOOL_TEST_ROTATED = 'first'
    t.after(() => delete process.env.LLMPOOL_TEST_ROTATED)
    const pool = poolOf(t, [provider('a', a, { api_key: `\${LLMPOOL_TEST_ROTATED}` })])
    await pool.chat(ask())
    process.env.LLMPOOL_TEST_ROTATED = 'second'
    await pool.reload()
    await pool.chat(ask())
    assert.deepEqual(
      a.exchanges.map((exchange) => exchange.headers.authorization),
      ['Bearer first', 'Bearer second'],
    )
  })

  it('initializes a pool that was not, and is refused by one that is closed', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = poolOf(t, [provider('a', a)])
    await pool.reload()
    assert.deepEqual(names(pool), ['a'])
    await pool.shutdown()
    assert.ok((await rejection(pool.reload())) instanceof PoolClosedError)
    assert.throws(() => pool.removeProvider('a'), PoolClosedError)
  })

  it('ten thousand times leaves nothing behind', roomy, async (t) => {
    const ended = await runNode(
      t,
      `
      import { readdirSync, readFileSync } from 'node:fs'
      const { LLMPool } = await import(ENTRY)
      const config = (n) => ({ providers: [
        { name: 'a', type: 'openai', api_key: 'k' + (n % 7), model: 'm', priority: n % 3 + 1 },
        { name: 'p' + n, type: 'groq', api_key: 'k', model: 'm', requests_per_minute: n + 1 },
        // A client of its own, now and then: those must go, too.
        { name: 'c', type: 'groq', api_key: 'k', model: 'm', connect_timeout_ms: 5000 + Math.floor(n / 1000) },
      ] })
      const pool = await LLMPool.create({ config: config(0) })
      const count = (of) => { try { return readdirSync('/proc/self/' + of).length } catch { return 0 } }
      // Without the pages of program files; the least of several looks, because heaps grow and shrink by megabytes.
      const memory = () => {
        gc()
        try {
          return Number(/RssAnon:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))[1]) * 1024
        } catch {
          return process.memoryUsage().rss
        }
      }
      const rounds = async (from, to) => {
        let least = Infinity
        for (let n = from; n < to; n++) {
          await pool.reload(config(n))
          if (n % 250 === 0) least = Math.min(least, memory())
        }
        return { memory: least, handles: count('fd'), threads: count('task') }
      }
      await rounds(1, 2000)
      const before = await rounds(2000, 5000)
      const after = await rounds(5000, 10_000)
      console.log(JSON.stringify({ before, after, version: pool.getStats().configVersion }))
    `,
      { flags: ['--expose-gc'] },
    )
    assert.equal(ended.code, 0, ended.stderr)
    const { before, after, version } = JSON.parse(ended.stdout)
    assert.equal(version, 10_000)
    const more = (after.memory - before.memory) / 2 ** 20
    assert.ok(more < 16, `${more} MiB more`)
    assert.equal(after.handles, before.handles)
    // A few that read files come and go; one that stayed for each reload would be thousands.
    assert.ok(after.threads < before.threads + 20, `${before.threads} threads, then ${after.threads}`)
  })
})

describe('ConfigManager: changes by the program', () => {
  it('add, remove, enable, prioritise; and they survive a reload', bounded, async (t) => {
    const [a, b] = [await Upstream.start(t, ok('from a')), await Upstream.start(t, ok('from b'))]
    const pool = await openPool(t, [provider('a', a)])
    const changes = []
    pool.on('providersUpdated', (_list, change) => changes.push(change))
    await pool.addProvider(provider('b', b, { priority: 2 }))
    assert.deepEqual(names(pool), ['a', 'b'])
    pool.setProviderPriority('b', 0)
    assert.equal((await pool.chat(ask())).content, 'from b')
    pool.setProviderEnabled('b', false)
    assert.equal((await pool.chat(ask())).content, 'from a')
    await pool.reload({ providers: [provider('a', a, { priority: 5 })] })
    assert.deepEqual(names(pool), ['a', 'b'])
    assert.equal(pool.getProviderStats().b.enabled, false)
    pool.setProviderEnabled('b', true)
    assert.equal((await pool.chat(ask())).content, 'from b')
    pool.removeProvider('b')
    assert.deepEqual(names(pool), ['a'])
    assert.deepEqual(
      changes.map((change) => JSON.stringify(change)),
      [
        '{"added":["b"],"removed":[],"changed":[]}',
        '{"added":[],"removed":[],"changed":["b"]}',
        '{"added":[],"removed":[],"changed":["b"]}',
        '{"added":[],"removed":[],"changed":["a"]}',
        '{"added":[],"removed":[],"changed":["b"]}',
        '{"added":[],"removed":["b"],"changed":[]}',
      ],
    )
  })

  it('a provider that is disabled is drained', bounded, async (t) => {
    const held = gate()
    const a = await Upstream.start(t, after(held.opened, ok('from a')))
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
    const running = pool.chat(ask())
    await a.request(1)
    pool.setProviderEnabled('a', false)
    assert.equal((await pool.chat(ask())).content, 'from b')
    held.open()
    assert.equal((await running).content, 'from a')
    assert.equal(a.count, 1)
  })

  it('what cannot be done is refused', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    const wrong = await rejection(pool.addProvider({ name: 'b', modle: 'm' }))
    assert.ok(wrong instanceof ConfigurationError)
    assert.match(wrong.message, /did you mean "model"/)
    assert.match((await rejection(pool.addProvider(provider('a', a)))).message, /unique/)
    for (const bad of [undefined, null, 'a', []])
      assert.ok((await rejection(pool.addProvider(bad))) instanceof ConfigurationError)
    assert.throws(() => pool.removeProvider('a'), /at least one provider/)
    assert.throws(() => pool.removeProvider('nobody'), /nobody/)
    assert.throws(() => pool.setProviderEnabled('nobody', true), /nobody/)
    assert.throws(() => pool.setProviderEnabled('a', 'yes'), ConfigurationError)
    assert.deepEqual(names(pool), ['a'])
  })
})

describe('ConfigManager: a file that changes', () => {
  const ways = {
    'is written over': (path, text) => writeFileSync(path, text),
    'is replaced by a rename': (path, text) => {
      writeFileSync(`${path}~`, text)
      renameSync(`${path}~`, path)
    },
    'is deleted and comes back': async (path, text) => {
      unlinkSync(path)
      await pause(20)
      writeFileSync(path, text)
    },
  }
  for (const [way, write] of Object.entries(ways)) {
    it(`when it ${way}`, bounded, async (t) => {
      const [a, b] = [await Upstream.start(t, ok('from a')), await Upstream.start(t, ok('from b'))]
      const { pool, path } = await poolOverFile(t, configOf(provider('a', a)))
      const told = record(pool, 'configChanged')
      assert.equal((await pool.chat(ask())).content, 'from a')
      const next = configOf(provider('b', b))
      await write(path, next)
      await inForce(pool, next)
      assert.equal((await pool.chat(ask())).content, 'from b')
      await until(() => told.length === 1)
    })
  }

  it('when a link on the way to it is swapped, as ConfigMaps are', bounded, async (t) => {
    const a = await Upstream.start(t)
    const dir = folder(t)
    const version = (name, text) => {
      mkdirSync(join(dir, name))
      writeFileSync(join(dir, name, 'config.yaml'), text)
      symlinkSync(name, join(dir, '..tmp'))
      renameSync(join(dir, '..tmp'), join(dir, '..data'))
    }
    version('..2026_01', configOf(provider('a', a)))
    symlinkSync(join('..data', 'config.yaml'), join(dir, 'config.yaml'))
    const pool = new LLMPool({ configPath: join(dir, 'config.yaml') })
    t.after(() => pool.shutdown())
    await pool.initialize()
    for (const name of ['..2026_02', '..2026_03']) {
      const next = configOf(provider(name, a))
      version(name, next)
      await inForce(pool, next)
    }
    rmSync(join(dir, '..2026_01'), { recursive: true })
    assert.deepEqual(names(pool), ['..2026_03'])
  })

  it('when its folder is bind-mounted and it is replaced outside', bounded, async (t) => {
    const a = await Upstream.start(t)
    const [outside, inside] = [folder(t), folder(t)]
    writeFileSync(join(outside, 'config.json'), configOf(provider('a', a)))
    await mounted(t, outside, inside, async () => {
      const pool = await LLMPool.create({ configPath: join(inside, 'config.json'), checkInterval: null })
      t.after(() => pool.shutdown())
      const next = configOf(provider('b', a))
      ways['is replaced by a rename'](join(outside, 'config.json'), next)
      await inForce(pool, next)
    })
  })

  it('when it is bind-mounted itself, by reading it every checkInterval', bounded, async (t) => {
    const a = await Upstream.start(t)
    const dir = folder(t)
    const [outside, inside] = [join(dir, 'outside.json'), join(dir, 'inside', 'config.json')]
    mkdirSync(join(dir, 'inside'))
    writeFileSync(inside, '')
    writeFileSync(outside, configOf(provider('a', a)))
    const pool = new LLMPool({ configPath: inside, checkInterval: 20 })
    t.after(() => pool.shutdown())
    await mounted(t, outside, inside, async () => {
      await pool.initialize()
      const next = configOf(provider('b', a))
      writeFileSync(outside, next)
      await inForce(pool, next)
    })
    // Another file is mounted in its place, as when a container is given a new one.
    const other = join(dir, 'other.json')
    const last = configOf(provider('c', a))
    writeFileSync(other, last)
    await mounted(t, other, inside, () => inForce(pool, last))
  })

  it('when its folder is deleted and comes back', bounded, async (t) => {
    const a = await Upstream.start(t)
    const root = folder(t)
    const dir = join(root, 'etc')
    mkdirSync(dir)
    writeFileSync(join(dir, 'config.json'), configOf(provider('a', a)))
    const pool = new LLMPool({ configPath: join(dir, 'config.json') })
    t.after(() => pool.shutdown())
    const errors = record(pool, 'error')
    await pool.initialize()
    rmSync(dir, { recursive: true })
    await until(() => errors.length === 1)
    assert.match(errors[0][1].message, /does not exist/)
    assert.equal((await pool.chat(ask())).content, 'pong')
    mkdirSync(dir)
    const next = configOf(provider('b', a))
    writeFileSync(join(dir, 'config.json'), next)
    await inForce(pool, next)
  })

  it('to something wrong, changes nothing and is told once', bounded, async (t) => {
    const a = await Upstream.start(t, ok('from a'))
    const good = configOf(provider('a', a))
    const { pool, path } = await poolOverFile(t, good)
    const errors = record(pool, 'error')
    writeFileSync(path, `{ "providers": [{ "name": "b", "api_key": "sk-secret", "modle": "m" }] }`)
    await until(() => errors.length === 1)
    const [, error] = errors[0]
    assert.ok(error instanceof ConfigurationError)
    assert.match(error.message, /did you mean "model".*line 1, column/)
    assert.doesNotMatch(error.message, /sk-secret/)
    assert.equal((await pool.chat(ask())).content, 'from a')
    assert.equal(pool.getStats().configChecksum, sum(good))
    const next = configOf(provider('a', a, { priority: 4 }))
    writeFileSync(path, next)
    await inForce(pool, next)
    assert.equal(errors.length, 1)
  })

  it('without a listener for errors is a process warning', bounded, async (t) => {
    const ended = await runNode(
      t,
      `
      import { writeFileSync } from 'node:fs'
      const { LLMPool } = await import(ENTRY)
      const pool = await LLMPool.create({ configPath: process.env.FILE })
      process.on('warning', (warning) => { console.log(warning.name); clearInterval(alive) })
      const alive = setInterval(() => {}, 1000)
      writeFileSync(process.env.FILE, '{')
    `,
      { env: { FILE: fileWith(t, configOf({ name: 'a', model: 'm' })) }, flags: ['--no-warnings'] },
    )
    assert.deepEqual([ended.code, ended.stdout], [0, 'ConfigurationError\n'], ended.stderr)
  })

  it('keeps no process alive by being watched, and no pool by being followed', roomy, async (t) => {
    const ended = await runNode(
      t,
      `
      import { readdirSync, readFileSync } from 'node:fs'
      const { LLMPool } = await import(ENTRY)
      // Each watched file has a thread of its own, as long as it is watched.
      const nameOf = (id) => { try { return readFileSync('/proc/self/task/' + id + '/comm', 'utf8') } catch { return 'gone' } }
      const names = () => readdirSync('/proc/self/task').map(nameOf)
      const watching = () => (process.platform === 'linux' ? names().filter((name) => name.startsWith('notify')).length : 0)
      for (let n = 0; n < 20; n++) await LLMPool.create({ configPath: process.env.FILE, checkInterval: 50 })
      const pool = await LLMPool.create({ configPath: process.env.FILE })
      const before = watching()
      await pool.shutdown()
      for (let n = 0; n < 500 && watching() > 0; n++) { gc(); await new Promise((resolve) => setTimeout(resolve, 2)) }
      console.log(JSON.stringify({ before, after: watching() }))
    `,
      { env: { FILE: fileWith(t, configOf({ name: 'a', model: 'm' })) }, flags: ['--expose-gc'] },
    )
    assert.equal(ended.code, 0, ended.stderr)
    const { before, after } = JSON.parse(ended.stdout)
    if (process.platform === 'linux') assert.ok(before > 0, 'files are watched')
    assert.equal(after, 0)
  })

  it('a secret in a file of its own is read again every checkInterval', bounded, async (t) => {
    const a = await Upstream.start(t)
    const secret = fileWith(t, 'first\n')
    const { pool } = await poolOverFile(t, configOf(provider('a', a, { api_key: `\${file:${secret}}` })), {
      checkInterval: 20,
    })
    await pool.chat(ask())
    writeFileSync(secret, 'second\n')
    await until(() => pool.getStats().configVersion > 1)
    await pool.chat(ask())
    assert.equal(a.last.headers.authorization, 'Bearer second')
  })

  it('an object that a program put in force stays until the file says something new', bounded, async (t) => {
    const a = await Upstream.start(t)
    const { pool, path } = await poolOverFile(t, configOf(provider('file', a)), { checkInterval: 10 })
    await pool.reload({ providers: [provider('object', a)] })
    await pause(50)
    assert.deepEqual(names(pool), ['object'])
    const next = configOf(provider('file', a, { priority: 2 }))
    writeFileSync(path, next)
    await inForce(pool, next)
    assert.deepEqual(names(pool), ['file'])
  })

  it('a hundred times under a thousand calls costs none of them', roomy, async (t) => {
    const held = gate()
    const slow = await Upstream.start(t, after(held.opened, ok('late')))
    const quick = await Upstream.start(t, ok('quick'))
    const broken = await Upstream.start(t, status(500))
    const once = { circuit_breaker_threshold: 1, circuit_breaker_timeout: 3_600_000 }
    const config = (n) =>
      JSON.stringify({
        providers: [
          provider('slow', slow, { requests_per_day: 5000 }),
          provider('quick', quick, { priority: 2, max_tokens: n + 1 }),
          provider('broken', broken, { priority: 3, ...once }),
        ],
        routing: { max_concurrent: null },
      })
    const { pool, path, dir } = await poolOverFile(t, config(0), { timeout: 120_000, deadline: 120_000 })
    pool.on('error', () => {})
    await rejection(pool.chat(ask(), { providers: ['broken'], maxRetries: 0 }))
    assert.equal(pool.getProviderStats().broken.health.circuitState, 'open')
    const calls = Array.from({ length: 1000 }, () => pool.chat(ask(), { providers: ['slow'] }))
    await slow.requests(1000)

    const other = join(dir, 'other.json')
    for (let n = 1; n <= 100; n++) {
      const text = config(n)
      const kind = n % 6
      if (kind === 0) writeFileSync(path, text)
      else if (kind === 1) writeFileSync(path, text.slice(0, text.length / 2))
      else if (kind === 2) writeFileSync(path, '{ "providers": [{ "name": "nobody" }] }')
      else if (kind === 3) ways['is replaced by a rename'](path, text)
      else if (kind === 4) {
        writeFileSync(other, text)
        symlinkSync(other, `${path}.link`)
        renameSync(`${path}.link`, path)
      } else await ways['is deleted and comes back'](path, text)
      // Some are given the time to be noticed, most are written over at once.
      if (n % 18 === 0) await inForce(pool, text)
      assert.equal((await pool.chat(ask(), { providers: ['quick'] })).content, 'quick')
    }
    const last = config(1000)
    ways['is replaced by a rename'](path, last)
    await inForce(pool, last)
    held.open()
    for (const answer of await Promise.all(calls)) assert.equal(answer.content, 'late')
    const { slow: stats, broken: still } = pool.getProviderStats()
    assert.equal(stats.usage.dailyRequestsRemaining, 4000)
    assert.deepEqual([stats.usage.successfulRequests, stats.usage.inFlight], [1000, 0])
    assert.equal(still.health.circuitState, 'open')
    assert.equal(broken.count, 1)
  })
})

/** A file of its own. */
function fileWith(t, text) {
  const path = join(folder(t), 'file')
  writeFileSync(path, text)
  return path
}

describe('ConfigManager: a configuration from a URL', () => {
  const remote = (t, server, options = {}) => {
    const pool = new LLMPool({ configUrl: server.url, retryDelay: 1, checkInterval: 20, ...options })
    t.after(() => pool.shutdown({ drainTimeout: 0 }))
    return pool
  }

  it('is fetched with its headers, and again', bounded, async (t) => {
    const a = await Upstream.start(t)
    process.env.LLMPOOL_TEST_REMOTE = 'given'
    t.after(() => delete process.env.LLMPOOL_TEST_REMOTE)
    const key = { api_key: `\${LLMPOOL_TEST_REMOTE}` }
    const first = configOf(provider('a', a, key))
    const server = (await ConfigServer.start(t)).serves(first, { etag: '"1"' })
    const pool = remote(t, server, {
      configHeaders: { authorization: 'Bearer for-the-config' },
      configUrlEnv: ['LLMPOOL_TEST_REMOTE'],
    })
    await pool.chat(ask())
    assert.equal(a.last.headers.authorization, 'Bearer given')
    assert.equal(server.requests[0].headers.authorization, 'Bearer for-the-config')
    await until(() => server.requests.length > 2)
    assert.equal(server.requests.at(-1).headers['if-none-match'], '"1"')
    const next = configOf(provider('b', a, key))
    server.serves(next)
    await inForce(pool, next)
    assert.deepEqual(names(pool), ['b'])
  })

  it('reads no variable it was not given, and no file', bounded, async (t) => {
    const a = await Upstream.start(t)
    const server = (await ConfigServer.start(t)).serves(
      configOf(provider('a', a, { api_key: `\${HOME}` }), provider('b', a, { api_key: `\${file:/etc/hostname}` })),
    )
    const error = await rejection(remote(t, server).initialize())
    assert.ok(error instanceof ConfigurationError)
    assert.match(error.message, /may not read HOME/)
    assert.match(error.message, /reads no files of this machine/)
  })

  it('that is down, slow, endless or nonsense delays no call and changes nothing', roomy, async (t) => {
    const a = await Upstream.start(t, ok('from a'))
    const good = configOf(provider('a', a))
    const server = (await ConfigServer.start(t)).serves(good)
    const pool = remote(t, server)
    const errors = record(pool, 'error')
    await pool.initialize()
    const piece = Buffer.alloc(1 << 20, ' ')
    const bad = {
      'answered 500': (_req, res) => res.writeHead(500).end('no'),
      'over 16777216 bytes': (_req, res) => res.writeHead(200, { 'content-length': 2 ** 30 }).write(piece),
      'over 16777216 bytes ': (_req, res) => {
        const more = () => {
          while (!res.destroyed && res.write(piece));
        }
        res.writeHead(200).on('drain', more)
        more()
      },
      'not valid JSON': (_req, res) => res.writeHead(200).end('<html>'),
      'redirects are not followed': (_req, res) => res.writeHead(302, { location: 'https://example.com/' }).end(),
      'unknown key': (_req, res) => res.writeHead(200).end(JSON.stringify({ provider: [] })),
      'nothing came': () => {}, // it never says a word
    }
    for (const [expected, answer] of Object.entries(bad)) {
      const before = errors.length
      server.answer = answer
      if (expected === 'nothing came') {
        const asked = server.requests.length
        await until(() => server.requests.length > asked)
      } else await until(() => errors.length > before, expected)
      assert.equal((await pool.chat(ask())).content, 'from a')
      if (expected !== 'nothing came') {
        assert.match(errors.at(-1)[1].message, new RegExp(expected.trim()))
        assert.ok(errors.at(-1)[1] instanceof ConfigurationError)
      }
    }
    assert.equal(pool.getStats().configChecksum, sum(good))
  })

  it('that fails at the start rejects, and the next start tries again', bounded, async (t) => {
    const a = await Upstream.start(t)
    const server = await ConfigServer.start(t)
    const pool = remote(t, server)
    const error = await rejection(pool.initialize())
    assert.ok(error instanceof ConfigurationError)
    assert.match(error.message, /configUrl.*answered 404/)
    server.serves(configOf(provider('a', a)))
    await pool.initialize()
    assert.equal((await pool.chat(ask())).content, 'pong')
  })

  it('that is down is stood in for by configCache', bounded, async (t) => {
    const a = await Upstream.start(t)
    const good = configOf(provider('a', a))
    const server = (await ConfigServer.start(t)).serves(good)
    const configCache = join(folder(t), 'cache.json')
    const first = remote(t, server, { configCache })
    await first.initialize()
    await first.shutdown()
    server.answer = (_req, res) => res.writeHead(503).end()
    const warnings = []
    const note = (warning) => warnings.push(warning.message)
    process.on('warning', note)
    t.after(() => process.off('warning', note))
    const second = remote(t, server, { configCache })
    await second.initialize()
    assert.equal((await second.chat(ask())).content, 'pong')
    await until(() => warnings.some((warning) => /configCache.*503/.test(warning)))
    const next = configOf(provider('b', a))
    server.serves(next)
    await inForce(second, next)
    await until(() => JSON.parse(readFileSync(configCache, 'utf8')).text === next)
    assert.deepEqual(readdirSync(join(configCache, '..')), ['cache.json'])
  })

  it('must have the hash that was asked for', bounded, async (t) => {
    const a = await Upstream.start(t)
    const good = configOf(provider('a', a))
    const server = (await ConfigServer.start(t)).serves(good)
    assert.match((await rejection(remote(t, server, { configSha256: sum('other') }).initialize())).message, /SHA-256/)
    const pool = remote(t, server, { configSha256: sum(good) })
    await pool.initialize()
    const errors = record(pool, 'error')
    server.serves(configOf(provider('b', a)))
    await until(() => errors.length === 1)
    assert.deepEqual(names(pool), ['a'])
  })

  it('takes its options from nobody else', () => {
    for (const option of [{ configHeaders: {} }, { configUrlEnv: [] }, { configSha256: 'x' }, { configCache: 'x' }])
      assert.throws(() => new LLMPool({ configPath: 'x', ...option }), /there is no configUrl/)
    assert.throws(() => new LLMPool({ configUrl: 'http://example.com/c.json' }), /https/)
    assert.throws(() => new LLMPool({ configUrl: 'https://a.b/c', configHeaders: { 'a b': 'c' } }), /configHeaders/)
  })

  it('ends with the pool, even in the middle of an answer', bounded, async (t) => {
    const a = await Upstream.start(t)
    const server = (await ConfigServer.start(t)).serves(configOf(provider('a', a)))
    const pool = remote(t, server)
    await pool.initialize()
    const closed = gate()
    server.answer = (req) => req.socket.on('close', () => closed.open())
    const asked = server.requests.length
    await until(() => server.requests.length > asked)
    await pool.shutdown()
    await closed.opened
  })
})

describe('ConfigManager: upstreams that hang', () => {
  it('hold up no reload', bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const b = await Upstream.start(t, ok('from b'))
    const pool = await openPool(t, [provider('a', a)])
    const running = rejection(pool.chat(ask()))
    await a.request(1)
    await pool.reload({ providers: [provider('b', b)] })
    assert.equal((await pool.chat(ask())).content, 'from b')
    await pool.shutdown({ drainTimeout: 0 })
    assert.ok((await running) instanceof PoolClosedError)
  })
})
