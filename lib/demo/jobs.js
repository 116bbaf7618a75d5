'use strict'

// Background jobs, to be watched: a queue of mixed priorities over three simulated providers, one of which breaks and one of
// which limits its rate.

const { LLMPool } = require('../../index.js')
const { Screen } = require('./screen')
const { Upstream, providerOf } = require('./upstreams')

const WORKERS = 4
/** So many of each priority. */
const EACH = 10
/** @type {('low' | 'normal' | 'high' | 'critical')[]} */
const PRIORITIES = ['low', 'normal', 'high', 'critical']

/**
 * Runs the demo.
 *
 * @param {NodeJS.WriteStream} [output]
 * @returns {Promise<boolean>} every job was completed
 */
async function demoJobs(output = process.stdout) {
  const screen = new Screen(output)
  const flaky = new Upstream({ name: 'flaky', latencyMs: 25 })
  const limited = new Upstream({ name: 'limited', latencyMs: 40, allowance: 12, restSeconds: 1 })
  const steady = new Upstream({ name: 'steady', latencyMs: 60 })
  const upstreams = [flaky, limited, steady]
  // The upstreams are on this machine; a proxy configured for the world could not reach them.
  process.env.NO_PROXY = process.env.no_proxy = '127.0.0.1'
  const providers = await Promise.all(upstreams.map((upstream, index) => providerOf(upstream, index + 1)))
  const pool = new LLMPool({ config: { providers } })

  screen.line('llmpool demo jobs', 'bold')
  screen.line(
    `${EACH * PRIORITIES.length} jobs over three SIMULATED providers on this machine. Real HTTP, no keys, nothing leaves the machine.`,
  )
  try {
    const jobs = pool.background({ workers: WORKERS, queueSize: EACH * PRIORITIES.length })
    const results = jobs.results()
    screen.heading(`They come in a mixed order; ${WORKERS} workers take the most urgent first.`)
    for (let number = 1; number <= EACH; number++) {
      for (const priority of PRIORITIES) {
        await jobs.submit({ prompt: `Summarise chapter ${number}.`, id: `${priority}-${number}`, priority })
      }
    }
    const stopped = jobs.stop()
    const tally = new Tally()
    for await (const result of results) {
      tally.add(result)
      screen.call(lineOf(result, tally.count))
      if (tally.count === 12) {
        screen.note('flaky breaks: calls fail over, and no job hears of it')
        flaky.broken = true
      }
    }
    await stopped

    screen.heading('By priority:')
    screen.table(['priority', 'completed', 'failed', 'mean wait', 'mean place'], tally.rows())
    const { completed, failed, retries, queueSize } = jobs.stats()
    const { failoverCount } = pool.getStats()
    screen.line()
    screen.line(
      `${completed} completed, ${failed} failed, ${queueSize} waiting; ${retries} retries of jobs, ${failoverCount} failovers of calls.`,
      failed === 0 ? 'green' : 'red',
    )
    return completed === EACH * PRIORITIES.length
  } finally {
    await pool.shutdown()
    for (const upstream of upstreams) upstream.close()
  }
}

/** @param {import('../../index').JobResult} result @param {number} number */
function lineOf({ id, durationMs, ...end }, number) {
  if (end.status !== 'completed')
    return { number, provider: '-', ms: Math.round(durationMs), cost: id, because: end.error.message }
  const { provider, attempts } = end.response
  const others = attempts.filter(({ outcome }) => outcome !== 'success').map((attempt) => attempt.provider)
  const because = others.length === 0 ? '' : `not by ${[...new Set(others)].join(', ')}`
  return { number, provider, ms: Math.round(durationMs), cost: id, because }
}

/** What came of the jobs of each priority. */
class Tally {
  /** @type {Map<string, { completed: number, failed: number, waited: number, places: number }>} */
  #rows = new Map(PRIORITIES.toReversed().map((name) => [name, { completed: 0, failed: 0, waited: 0, places: 0 }]))
  count = 0

  /** @param {import('../../index').JobResult} result */
  add({ priority, status, waitedMs }) {
    this.count++
    const row = /** @type {any} */ (this.#rows.get(priority))
    row[status === 'completed' ? 'completed' : 'failed']++
    row.waited += waitedMs
    row.places += this.count
  }

  rows() {
    return [...this.#rows].map(([priority, { completed, failed, waited, places }]) => {
      const ended = completed + failed || 1
      return [priority, `${completed}`, `${failed}`, `${Math.round(waited / ended)} ms`, (places / ended).toFixed(1)]
    })
  }
}

exports.demoJobs = demoJobs
