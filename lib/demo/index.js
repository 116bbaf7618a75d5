'use strict'

// The main job, to be watched: a preferred provider breaks, the next one limits its rate, a dearer one carries the load,
// and each gets its place back as soon as it can take it. The story is staged by the upstreams; what the pool makes of it
// is its own doing, over real HTTP.

const { setTimeout: sleep } = require('node:timers/promises')
const { LLMPool, createTextMessage } = require('../../index.js')
const { Screen, dollars } = require('./screen')
const { Upstream, providerOf } = require('./upstreams')

/** Longer than everything that happens while the breaker is open, so that the probe comes when the story wants it. */
const BREAKER_OPEN_MS = 6000
/** What the limited provider asks for; long enough to watch others do its work, short enough to wait for. */
const REST_SECONDS = 3
/** Between two calls: the eye is slower than the pool. */
const PACE_MS = 60

const QUESTIONS = [
  'What is the capital of France?',
  'Name three uses of a brick.',
  'Translate "good morning" into Italian.',
  'Why is the sky blue?',
  'Summarise the plot of Hamlet in one sentence.',
]

/**
 * Runs the demo.
 *
 * @param {NodeJS.WriteStream} [output]
 * @returns {Promise<boolean>} every call was answered
 */
async function demo(output = process.stdout) {
  const screen = new Screen(output)
  const flaky = new Upstream({ name: 'flaky', latencyMs: 25 })
  const limited = new Upstream({ name: 'limited', latencyMs: 40, allowance: 6, restSeconds: REST_SECONDS })
  const steady = new Upstream({ name: 'steady', latencyMs: 60 })
  const upstreams = [flaky, limited, steady]
  // The upstreams are on this machine; a proxy configured for the world could not reach them.
  process.env.NO_PROXY = process.env.no_proxy = '127.0.0.1'

  const pool = new LLMPool({
    config: {
      providers: [
        {
          ...(await providerOf(flaky, 1)),
          input_token_price: 0.0002,
          output_token_price: 0.0006,
          circuit_breaker_threshold: 3,
          circuit_breaker_timeout: BREAKER_OPEN_MS,
        },
        { ...(await providerOf(limited, 2)), input_token_price: 0.0005, output_token_price: 0.0015 },
        { ...(await providerOf(steady, 3)), input_token_price: 0.0025, output_token_price: 0.01 },
      ],
    },
  })
  const story = new Story(pool, screen)

  screen.line('llmpool demo', 'bold')
  screen.line(
    'Three SIMULATED providers on this machine, behind one pool. Real HTTP, no keys, nothing leaves the machine.',
  )
  screen.line('  flaky    cheapest, asked first; will break and recover')
  screen.line(`  limited  asked second; answers ${limited.allowance} calls, then asks for a rest of ${REST_SECONDS} s`)
  screen.line('  steady   asked last; always there, and dearer')

  try {
    screen.heading('Everything works: the cheapest answers.')
    await story.calls(8)

    screen.heading('flaky breaks. Each call fails over at once; after three failures in a row its breaker opens.')
    flaky.broken = true
    await story.calls(6)

    screen.heading('limited has had enough (429). steady takes over; nobody waits.')
    await story.calls(8)

    screen.heading("limited's rest is over: it is asked again.")
    await story.until('limited')
    await story.calls(4)

    screen.heading('flaky has recovered. Its breaker lets one probe through, then closes.')
    flaky.broken = false
    await story.until('flaky')
    await story.calls(14)

    story.summary()
  } finally {
    await pool.shutdown()
    for (const upstream of upstreams) upstream.close()
  }
  return story.failures === 0
}

/** Makes the calls and tells what becomes of them. */
class Story {
  #pool
  #screen
  #number = 0
  /** What the pool tells by events during a call; shown below the call's line. @type {string[]} */
  #notes = []
  failures = 0

  /** @param {LLMPool} pool @param {Screen} screen */
  constructor(pool, screen) {
    this.#pool = pool
    this.#screen = screen
    pool.on('circuitOpen', ({ provider, reason }) => this.#notes.push(`breaker of ${provider} OPEN: ${reason}`))
    pool.on('circuitHalfOpen', ({ provider }) => this.#notes.push(`breaker of ${provider} HALF-OPEN: one probe`))
    pool.on('circuitClose', ({ provider }) => this.#notes.push(`breaker of ${provider} CLOSED`))
    pool.on('rateLimited', ({ provider, resetAt }) => {
      const rest = resetAt === null ? '' : ` for ${Math.ceil((resetAt - Date.now()) / 1000)} s`
      this.#notes.push(`${provider} rests${rest}: it said 429`)
    })
  }

  /** @param {number} count */
  async calls(count) {
    for (; count > 0; count--) {
      await this.#call()
      await sleep(PACE_MS)
    }
  }

  async #call() {
    const number = ++this.#number
    const question = QUESTIONS[number % QUESTIONS.length]
    try {
      const { provider, latencyMs, cost, attempts } = await this.#pool.chat([createTextMessage('user', question)])
      const because = attempts
        .filter(({ outcome }) => outcome !== 'success')
        .map(explain)
        .join(', ')
      this.#screen.call({ number, provider, ms: Math.round(latencyMs), cost: dollars(cost ?? 0), because })
    } catch (error) {
      this.failures++
      this.#screen.line(`${String(number).padStart(4)}  FAILED: ${/** @type {Error} */ (error).message}`, 'red')
    }
    for (const note of this.#notes.splice(0)) this.#screen.note(note)
  }

  /** Waits until the pool would ask this provider again. @param {string} name */
  async until(name) {
    const { retryAt } = this.#pool.getProviderStats()[name].health
    const wait = (retryAt ?? 0) - Date.now()
    if (wait <= 0) return
    this.#screen.line(`      (waiting ${(wait / 1000).toFixed(1)} s)`, 'gray')
    // A timer may fire a little early by the wall clock.
    await sleep(wait + 50)
  }

  summary() {
    const screen = this.#screen
    const rows = Object.entries(this.#pool.getProviderStats()).map(([name, { usage, performance, health }]) => [
      name,
      String(usage.totalRequests),
      String(usage.successfulRequests),
      String(usage.errors),
      performance.p50 === null ? '-' : `${Math.round(performance.p50)} ms`,
      dollars(usage.totalCost),
      health.circuitState,
    ])
    const { totalRequests, successfulRequests, failoverCount, totalCost } = this.#pool.getStats()
    screen.heading('By provider (all simulated):')
    screen.table(['provider', 'asked', 'answered', 'failed', 'median', 'cost', 'breaker'], rows)
    screen.line()
    screen.line(
      `${totalRequests} calls, ${successfulRequests} answered, ${failoverCount} failovers, ${dollars(totalCost)} in all.`,
      successfulRequests === totalRequests ? 'green' : 'red',
    )
  }
}

/** Why a provider did not answer. */
function explain(/** @type {import('../../index').Attempt} */ { provider, outcome, errorClass, status }) {
  if (outcome === 'marked') return `${provider} skipped: marked as broken`
  if (outcome === 'breaker_open') return `${provider} skipped: breaker open`
  if (outcome === 'key_cooling' || outcome === 'rate_limited') return `${provider} skipped: resting`
  return `${provider} failed: ${status ?? errorClass ?? outcome}`
}

exports.demo = demo
