// One peer, one case, one round, in a process of its own: warms up, measures, reports and ends. `concurrency` lanes
// each make one call after the other; the window opens and closes between two calls without stopping them, so neither
// the ramp at the start nor the drain at the end is in the figures.

import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { API_KEY, contentOf, PATH, requestsOf } from './exchange.mjs'
import { processMicros } from './machine.mjs'

/** A peer whose calls fail at once would spin; what it would measure means nothing. */
const TOO_MANY_ERRORS = 100

const { peer, origins, row, warm, seconds } = JSON.parse(process.argv[2])

process.on('disconnect', () => process.exit())

try {
  await slice()
} catch (error) {
  await tell({ type: 'failed', reason: String(error?.message ?? error) })
}
process.disconnect()

async function slice() {
  const { open, entry, version } = await import(`./peers/${peer}.mjs`)
  const { concurrency } = row
  const client = await open({ origin: origins[0], origins, row, path: PATH, apiKey: API_KEY, concurrency })
  const lanes = startLanes(row.chunks ? client.stream : client.chat, concurrency)

  await wait(warm * 1000)
  await tell({ type: 'measuring' })
  const before = snapshot(client.pids)
  lanes.record(true)
  await wait(seconds * 1000)
  lanes.record(false)
  const after = snapshot(client.pids)
  await tell({ type: 'measured' })

  const { calls, errors, latencies, firsts } = await lanes.stop()
  await client.close()
  const usable = latencies.length > 0 && errors.count < TOO_MANY_ERRORS
  const sample = usable ? compute(before, after, latencies, firsts) : null
  await tell({ type: 'result', version, entry, calls, errors, sample })
}

/** @param {(request: object, first: () => void) => Promise<string>} call @param {number} concurrency */
function startLanes(call, concurrency) {
  const chatRequest = requestsOf(row)
  const content = contentOf(row)
  const latencies = growing()
  /** Of a stream: when its first text was there. */
  const firsts = growing()
  const errors = { count: 0, first: null }
  let calls = 0
  let running = true
  let recording = false

  async function lane() {
    while (running) {
      const request = chatRequest(calls++)
      const started = performance.now()
      let first
      try {
        const said = await call(request, () => {
          first ??= performance.now()
        })
        if (said !== content) throw new Error(`wrong content: ${String(said).slice(0, 80)}`)
        if (!recording) continue
        latencies.push(performance.now() - started)
        if (first !== undefined) firsts.push(first - started)
      } catch (error) {
        errors.first ??= String(error)
        errors.count++
        if (errors.count >= TOO_MANY_ERRORS) running = false
      }
    }
  }

  const done = Promise.all(Array.from({ length: concurrency }, lane))
  return {
    record(yes) {
      recording = yes
    },
    async stop() {
      running = false
      await done
      return { calls, errors, latencies: latencies.sorted(), firsts: firsts.sorted() }
    },
  }
}

function compute(before, after, latencies, firsts) {
  const calls = latencies.length
  const seconds = (after.atMillis - before.atMillis) / 1000
  const cpuMicros = (after.cpuMicros - before.cpuMicros) / calls
  return {
    calls,
    seconds,
    reqPerSec: calls / seconds,
    cpuMicros,
    chunkMicros: row.chunks ? cpuMicros / row.chunks : null,
    jsMicros: after.jsMicros === null ? null : (after.jsMicros - before.jsMicros) / calls,
    p50Millis: quantile(latencies, 0.5),
    p99Millis: quantile(latencies, 0.99),
    firstMillis: firsts.length > 0 ? quantile(firsts, 0.5) : null,
    rssMegabytes: after.rssBytes / 1e6,
  }
}

/** `pids`: processes that work for this one. What they use is part of what a call costs. */
function snapshot(pids = []) {
  const { user, system } = process.cpuUsage()
  return {
    atMillis: performance.now(),
    cpuMicros: pids.reduce((sum, pid) => sum + processMicros(pid), user + system),
    jsMicros: mainThreadMicros(),
    rssBytes: process.memoryUsage.rss(),
  }
}

/** CPU time of the thread that runs JavaScript: Node counts it from 23.9 on, before that Linux does. */
function mainThreadMicros() {
  if (process.threadCpuUsage) {
    const { user, system } = process.threadCpuUsage()
    return user + system
  }
  const file = `/proc/self/task/${process.pid}/schedstat`
  if (!existsSync(file)) return null
  const nanoseconds = Number.parseInt(readFileSync(file, 'latin1'), 10)
  return nanoseconds > 0 ? nanoseconds / 1000 : null
}

/** Numbers in one flat block that doubles: an array of boxed numbers would put the bench's garbage on the peer's bill. */
function growing() {
  let block = new Float64Array(1 << 16)
  let length = 0
  return {
    push(value) {
      if (length === block.length) {
        const larger = new Float64Array(length * 2)
        larger.set(block)
        block = larger
      }
      block[length++] = value
    },
    sorted: () => block.subarray(0, length).sort(),
  }
}

function quantile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

function tell(message) {
  return new Promise((resolve) => process.send(message, resolve))
}
