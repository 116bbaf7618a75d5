// 50,000 calls to providers that misbehave, and what becomes of the memory.
//
//   npm run soak
//   npm run soak -- --calls 200000 --seed 7
//
// The upstreams run in a process of their own, so that this one's memory is the pool's. The resident set and the heap are
// read ten times, each after a collection. The first third is the warm-up, in which pools of connections, histories and the
// allocator's own pages fill; the run fails when the last readings lie above the middle ones by more than allocators wander,
// or when an answer is wrong.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { parseArgs } from 'node:util'
import { answerTo, crowd, impatient, question, routing, wild } from '../__test__/support/chaos.mjs'
import { inOrder, provider } from '../__test__/support/pool.mjs'
import { Upstream } from '../__test__/support/upstream.mjs'
import { seeded } from '../__test__/support/wait.mjs'
import { LLMPool, StreamInterruptedError } from '../index.mjs'

const UPSTREAMS = 5
const READINGS = 10
/** Pages that an allocator keeps are no leak; one kilobyte a call would be ten times this over 50,000 calls. */
const WANDERS_MB = 5

const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '50000' },
    seed: { type: 'string', default: '1' },
    upstreams: { type: 'boolean', default: false },
  },
})
const calls = Number(values.calls)
const seed = Number(values.seed)

if (values.upstreams) await serve()
else await soak()

/** The other process: five upstreams that keep nothing of what they were asked. */
async function serve() {
  const t = { after: () => {} }
  const ports = []
  for (let index = 0; index < UPSTREAMS; index++) {
    const act = wild(seeded(seed * 100 + index))
    const upstream = await Upstream.start(t, (exchange) => {
      upstream.exchanges.length = 0
      upstream.connections = upstream.connections.filter((connection) => connection.open)
      return act(exchange)
    })
    ports.push(upstream.base)
  }
  process.send?.(ports)
  process.on('disconnect', () => process.exit())
}

async function soak() {
  const child = fork(new URL(import.meta.url), ['--upstreams', '--seed', String(seed)])
  const [bases] = await once(child, 'message')
  const providers = inOrder(...bases.map((base, index) => provider('abcde'[index], { base }, impatient)))
  const pool = await LLMPool.create({
    config: { providers, routing: { seed, ...routing } },
    retryDelay: 1,
    deadline: 20_000,
  })
  const counts = { answered: 0, interrupted: 0, failed: 0, wrong: 0 }
  const readings = []
  const batch = Math.ceil(calls / READINGS)
  const began = performance.now()
  for (let reading = 0; reading < READINGS; reading++) {
    await run(pool, reading * batch, batch, counts)
    readings.push(await memory())
    const { rss, heap } = readings[reading]
    console.log(
      `${String((reading + 1) * batch).padStart(8)} calls   rss ${rss.toFixed(1)} MB   heap ${heap.toFixed(1)} MB`,
    )
  }
  const seconds = (performance.now() - began) / 1000
  const stats = pool.getStats()
  await pool.shutdown()
  child.disconnect()

  const grown = (of) => median(readings.slice(-3).map(of)) - median(readings.slice(3, 6).map(of))
  const [rss, heap] = [grown((reading) => reading.rss), grown((reading) => reading.heap)]
  console.log(
    `${counts.answered} answered, ${counts.interrupted} streams cut by their provider, ${counts.failed} failed, ` +
      `${counts.wrong} wrong; ${seconds.toFixed(0)} s; ${stats.failoverCount} failovers, ${stats.retryCount} retries, ` +
      `${stats.circuitBreakerTrips} breaker trips`,
  )
  console.log(`grown by ${rss.toFixed(1)} MB resident, ${heap.toFixed(1)} MB heap`)
  const ended = counts.answered + counts.interrupted + counts.failed
  if (counts.wrong > 0 || ended !== batch * READINGS || stats.activeConnections > 0) fail('calls were lost or mixed up')
  if (rss > WANDERS_MB || heap > WANDERS_MB) fail('the memory grows')
}

async function run(pool, from, count, counts) {
  await crowd(count, 48, async (index) => {
    const number = from + index
    try {
      const text =
        number % 3 > 0 ? (await pool.chat(question(number))).content : await pool.stream(question(number)).text()
      counts.answered++
      if (text !== answerTo(number)) counts.wrong++
    } catch (error) {
      counts[error instanceof StreamInterruptedError ? 'interrupted' : 'failed']++
    }
  })
}

async function memory() {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc')
  for (let round = 0; round < 3; round++) {
    collect()
    await new Promise((resolve) => setImmediate(resolve)) // finalizers of native objects run between turns
  }
  const { rss, heapUsed } = process.memoryUsage()
  return { rss: rss / 1e6, heap: heapUsed / 1e6 }
}

/** @param {number[]} numbers */
function median(numbers) {
  return numbers.sort((one, other) => one - other)[numbers.length >> 1]
}

/** @param {string} message */
function fail(message) {
  console.error(message)
  process.exitCode = 1
}
