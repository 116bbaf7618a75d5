// What a pool came to survives its process.

import assert from 'node:assert/strict'
import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ConfigurationError, LLMPool } from '../index.mjs'
import { folder, startNode } from './support/child.mjs'
import { ask, openPool, poolOf, provider, record, rejection } from './support/pool.mjs'
import { Upstream } from './support/upstream.mjs'
import { bounded, until } from './support/wait.mjs'

const priced = { input_token_price: 0.001, output_token_price: 0.002 }

describe('LLMPool statsFile', () => {
  it('totals and cost go on where the process before stopped', bounded, async (t) => {
    const a = await Upstream.start(t)
    const statsFile = join(folder(t), 'stats.json')
    const first = await openPool(t, [provider('a', a, priced), provider('b', a, priced)], { statsFile })
    await first.chat(ask(), { providers: ['a'] })
    await first.chat(ask(), { providers: ['b'] })
    const before = first.getStats()
    assert.ok(before.totalCost > 0)
    await first.shutdown()

    const second = await openPool(t, [provider('a', a, priced)], { statsFile })
    const { totalRequests, totalCost, totalTokens } = second.getStats()
    assert.deepEqual([totalRequests, totalCost, totalTokens], [2, before.totalCost, before.totalTokens])
    await second.chat(ask())
    assert.equal(second.getProviderStats().a.usage.totalRequests, 2)
    assert.equal(second.getStats().totalRequests, 3)
    await second.shutdown()
    assert.doesNotMatch(readFileSync(statsFile, 'utf8'), /key-of/)
    assert.deepEqual(readdirSync(join(statsFile, '..')).sort(), ['stats.json', 'stats.json.lock'])
  })

  it('the day of a limit goes on where the process before stopped', bounded, async (t) => {
    const a = await Upstream.start(t)
    const statsFile = join(folder(t), 'stats.json')
    const limited = provider('a', a, { requests_per_day: 5 })
    const left = (pool) => pool.getPoolHealth().providers.a.dailyRequestsRemaining
    const first = await openPool(t, [limited], { statsFile })
    await first.chat(ask())
    await first.chat(ask())
    assert.equal(left(first), 3)
    await first.shutdown()

    const second = await openPool(t, [limited], { statsFile })
    assert.equal(left(second), 3)
    await second.chat(ask())
    await second.shutdown()

    // As it stands on the day after.
    const saved = JSON.parse(readFileSync(statsFile, 'utf8'))
    const { requests } = saved.days.a
    assert.deepEqual([requests.count, requests.ends - requests.begins], [3, 24 * 3_600_000])
    requests.begins -= 24 * 3_600_000
    requests.ends -= 24 * 3_600_000
    writeFileSync(statsFile, JSON.stringify(saved))
    assert.equal(left(await openPool(t, [limited], { statsFile })), 5)
  })

  it('belongs to one pool at a time', bounded, async (t) => {
    const a = await Upstream.start(t)
    const statsFile = join(folder(t), 'stats.json')
    const first = await openPool(t, [provider('a', a)], { statsFile })
    const second = poolOf(t, [provider('a', a)], { statsFile })
    const error = await rejection(second.initialize())
    assert.ok(error instanceof ConfigurationError)
    assert.match(error.message, /statsFile.*another pool writes this file/)
    await first.shutdown()
    await second.initialize()
  })

  it('is the same file by every name, and a link to it stays a link', bounded, async (t) => {
    const a = await Upstream.start(t)
    const dir = folder(t)
    const [file, link] = [join(dir, 'stats.json'), join(dir, 'link.json')]
    symlinkSync(file, link)
    const first = await openPool(t, [provider('a', a)], { statsFile: file })
    const second = poolOf(t, [provider('a', a)], { statsFile: link })
    assert.match((await rejection(second.initialize())).message, /another pool writes this file/)
    await first.chat(ask())
    await first.shutdown()
    await second.initialize()
    assert.equal(second.getStats().totalRequests, 1)
    await second.shutdown()
    assert.ok(lstatSync(link).isSymbolicLink())
  })

  it('belongs to the next pool as soon as a shutdown is over, whatever else was being saved', bounded, async (t) => {
    const a = await Upstream.start(t)
    const statsFile = join(folder(t), 'stats.json')
    for (let round = 1; round <= 5; round++) {
      const pool = await openPool(t, [provider('a', a)], { statsFile })
      await pool.chat(ask())
      const saving = Array.from({ length: 20 }, () => pool.saveStats().catch((error) => error))
      await pool.shutdown()
      assert.equal(JSON.parse(readFileSync(statsFile, 'utf8')).totals.pool.total_requests, round)
      await Promise.all(saving)
    }
  })

  it('stays where it was named when the process goes to another folder', bounded, async (t) => {
    const a = await Upstream.start(t)
    const dir = folder(t)
    for (const name of ['one', 'two']) mkdirSync(join(dir, name))
    writeFileSync(join(dir, 'one', 'config.json'), JSON.stringify({ providers: [provider('a', a)] }))
    const { code, stderr } = await startNode(
      t,
      `const { LLMPool } = await import(ENTRY)
       process.chdir('one')
       const pool = new LLMPool({ configPath: './config.json', statsFile: './stats.json' })
       process.chdir('../two')
       await pool.chat([{ role: 'user', content: 'ping' }])
       await pool.reload()
       await pool.shutdown()`,
      { cwd: dir },
    ).ended
    assert.deepEqual([code, stderr], [0, ''])
    assert.deepEqual(readdirSync(join(dir, 'one')).sort(), ['config.json', 'stats.json', 'stats.json.lock'])
    assert.deepEqual(readdirSync(join(dir, 'two')), [])
  })

  it('is written by saveStats() and from time to time', bounded, async (t) => {
    const a = await Upstream.start(t)
    const statsFile = join(folder(t), 'stats.json')
    const requests = () => {
      try {
        return JSON.parse(readFileSync(statsFile, 'utf8')).totals.pool.total_requests
      } catch {
        return null
      }
    }
    const pool = await openPool(t, [provider('a', a)], { statsFile, saveStatsInterval: null })
    await pool.chat(ask())
    assert.equal(requests(), null)
    await pool.saveStats()
    assert.equal(requests(), 1)
    await pool.shutdown()
    const often = await openPool(t, [provider('a', a)], { statsFile, saveStatsInterval: 5 })
    await often.chat(ask())
    await until(() => requests() === 2)
    await often.shutdown() // before its folder goes
  })

  it('that is damaged is set aside with a warning', bounded, async (t) => {
    const a = await Upstream.start(t)
    const statsFile = join(folder(t), 'stats.json')
    writeFileSync(statsFile, '{ "version": 1, "totals": { "pool": ')
    const warnings = []
    const note = (warning) => warnings.push(warning.message)
    process.on('warning', note)
    t.after(() => process.off('warning', note))
    const pool = await openPool(t, [provider('a', a)], { statsFile })
    await until(() => warnings.some((warning) => /stats\.json\.damaged/.test(warning)))
    assert.equal(pool.getStats().totalRequests, 0)
    assert.match(readFileSync(`${statsFile}.damaged`, 'utf8'), /"totals"/)
  })

  it('is whole whenever the process is killed, and free for the next one', bounded, async (t) => {
    const a = await Upstream.start(t)
    const statsFile = join(folder(t), 'stats.json')
    for (let round = 0; round < 5; round++) {
      const child = startNode(
        t,
        `
        const { LLMPool } = await import(ENTRY)
        const config = { providers: [{ name: 'a', type: 'openai', api_key: 'k', model: 'm', base_url: process.env.BASE }] }
        const pool = await LLMPool.create({ config, statsFile: process.env.FILE })
        console.log('ready')
        for (;;) {
          await pool.chat([{ role: 'user', content: 'x' }])
          await pool.saveStats()
        }
      `,
        { env: { BASE: a.base, FILE: statsFile } },
      )
      const asked = a.count
      await until(() => a.count > asked + 10)
      child.kill('SIGKILL')
      await child.ended
      const { version, totals } = JSON.parse(readFileSync(statsFile, 'utf8'))
      assert.equal(version, 1)
      assert.ok(totals.pool.total_requests >= 10 * (round + 1), `${totals.pool.total_requests} after round ${round}`)
    }
  })

  it('that cannot be written is told, and the pool goes on', bounded, async (t) => {
    const a = await Upstream.start(t)
    const dir = folder(t)
    assert.ok(
      (await rejection(
        poolOf(t, [provider('a', a)], { statsFile: join(dir, 'no', 'stats.json') }).initialize(),
      )) instanceof ConfigurationError,
    )
    const pool = await openPool(t, [provider('a', a)])
    assert.match((await rejection(pool.saveStats())).message, /statsFile: is not set/)
    // Who sets the file only sometimes need not leave out the interval the other times.
    assert.doesNotThrow(() => new LLMPool({ config: {}, statsFile: undefined, saveStatsInterval: 5 }))
    const errors = record(pool, 'error')
    assert.equal((await pool.chat(ask())).content, 'pong')
    assert.deepEqual(errors, [])
  })
})
