// One peer, one case, one round, in a process of its own: warms up, measures, reports and ends. `concurrency` lanes
// each make one call after the other; the window opens and closes between two calls without stopping them, so neither
// the ramp at the start nor the drain at the end is in the figures.

import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { API_KEY, CONTENT, chatRequest, PATH } from './exchange.mjs'

/** A peer whose calls fail at once would spin; what it would measure means nothing. */
const TOO_MANY_ERRORS = 100

const { peer, origin, concurrency, warm, seconds } = JSON.parse(process.argv[2])

process.on('disconnect', () => process.exit())

try {
  await slice()
} catch (error) {
  await tell({ type: 'failed', reason: String(error?.message ?? error) })
}
process.disconnect()

async function slice() {
  const { open, entry, version } = await import(`./peers/${peer}.mjs`)
  const client = await open({ origin, path: PATH, apiKey: API_KEY, concurrency })
  const lanes = startLanes(client.chat, concurrency)

  await wait(warm * 1000)
  await tell({ type: 'measuring' })
  const before = snapshot()
  lanes.record(true)
  await wait(seconds * 1000)
  lanes.record(false)
  const after = snapshot()
  await tell({ type: 'measured' })

  const { calls, errors, latencies } = await lanes.stop()
  await client.close()
  const usable = latencies.length > 0 && errors.count < TOO_MANY_ERRORS
  const sample = usable ? compute(before, after, latencies) : null
  await tell({ type: 'result', version, entry, calls, errors, sample })
}

/** @param {(request: object) => Promise<string>} chat @param {number} concurrency */
function startLanes(chat, concurrency) {
  const latencies = growing()
  const errors = { count: 0, first: null }
  let calls = 0
  let running = true
  let recording = false

  async function lane() {
    while (running) {
      const request = chatRequest(calls++)
      const started = performance.now()
      try {
        const content = await chat(request)
        if (content !== CONTENT) throw new Error(`wrong content: ${String(content).slice(0, 80)}`)
        if (recording) latencies.push(performance.now() - started)
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
      return { calls, errors, latencies: latencies.sorted() }
    },
  }
}

function compute(before, after, latencies) {
  const calls = latencies.length
  const seconds = (after.atMillis - before.atMillis) / 1000
  return {
    calls,
    seconds,
    reqPerSec: calls / seconds,
    cpuMicros: (after.cpuMicros - before.cpuMicros) / calls,
    jsMicros: after.jsMicros === null ? null : (after.jsMicros - before.jsMicros) / calls,
    p50Millis: quantile(latencies, 0.5),
    p99Millis: quantile(latencies, 0.99),
    rssMegabytes: after.rssBytes / 1e6,
  }
}

function snapshot() {
  const { user, system } = process.cpuUsage()
  return {
    atMillis: performance.now(),
    cpuMicros: user + system,
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
