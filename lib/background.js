'use strict'

// `pool.background()`: what JavaScript holds of a background processor. Whose turn it is, what is tried again and what is
// kept is decided in the core; here are promises, events and iteration.

const { inspect } = require('node:util')
const { Call, cancel, keep, open } = require('./bridge')
const { PoolEmitter, TELL } = require('./emitter')
const { ConfigurationError, Failed, errorFrom, unwrap } = require('./errors')
const { readJob } = require('./request')

/** A job as the bridge sees it: it hears that it was taken on, of further tries, and how it ended. */
class JobCall extends Call {
  /** @type {any} what is known since it is over */
  #end = null
  /** @type {(facts: any) => void} */
  #accept = () => {}

  /** @param {BackgroundProcessor} processor kept while the job is not over: its listeners are owed their events @param {AbortSignal | null} signal */
  constructor(processor, signal) {
    super(signal)
    /** @type {BackgroundProcessor | null} */
    this.processor = processor
    /** @type {Promise<any>} its id and priority, or `Failed` */
    this.accepted = new Promise((resolve) => {
      this.#accept = resolve
    })
    this.accepted.then((facts) => {
      this.jobId = facts.id
    })
  }

  /** @param {any} facts */
  job(facts) {
    if (facts.type === 'accepted') this.#accept(facts)
    else if (facts.type === 'ended') this.#end = facts
    else this.#retry(facts)
  }

  /** @param {any} facts */
  #retry({ tries, retryInMs, counts, error }) {
    this.processor?.[TELL]('jobRetry', { id: this.jobId, tries, retryInMs, counts, error: errorFrom(error) })
  }

  left() {
    // A job that was over when its signal fired stays what it was, as in its results and in the statistics.
    return this.#end === null || this.#end.status === 'cancelled' ? super.left() : null
  }

  /** @param {unknown} outcome */
  settle(outcome) {
    if (this.#end !== null) {
      const result = resultOf(this.#end, outcome)
      // Told before its promise settles, like the events of a call.
      this.processor?.[TELL](EVENTS[result.status], result)
    }
    this.processor = null
    this.#accept(outcome)
    super.settle(outcome)
  }
}

/** @type {Record<string, string>} */
const EVENTS = { completed: 'jobCompleted', failed: 'jobFailed', cancelled: 'jobCancelled' }

/** One job that is over. @param {any} facts @param {unknown} outcome */
function resultOf({ id, priority, metadata, status, tries, waitedMs, durationMs }, outcome) {
  const facts = { tries, waitedMs, durationMs }
  if (!(outcome instanceof Failed)) return { id, priority, metadata, status, response: outcome, ...facts }
  return { id, priority, metadata, status, error: outcome.error(resultOf), ...facts }
}

class Job {
  #call

  /** @param {JobCall} call @param {{ id: string, priority: string }} facts @param {unknown} metadata */
  constructor(call, { id, priority }, metadata) {
    this.#call = call
    this.id = id
    this.priority = priority
    this.metadata = metadata
  }

  async result() {
    return unwrap(await this.#call.outcome)
  }

  cancel() {
    cancel(this.#call.id)
  }
}

class BackgroundProcessor extends PoolEmitter {
  #native
  #ready
  /** Calls of iterators that wait for a result. @type {Set<ResultCall>} */
  #waiting = new Set()

  /** @param {any} native @param {() => Promise<unknown> | null} ready what is to be waited for before a job can be taken on */
  constructor(native, ready) {
    super(new Set(), () => {})
    this.#native = native
    this.#ready = ready
  }

  /** @param {unknown} job @param {unknown} [options] */
  async submit(job, options) {
    const { json, metadata, signal, wait } = readJob(job, options)
    if (signal?.aborted) throw signal.reason
    const ready = this.#ready()
    if (ready !== null) unwrap(await ready)
    if (signal?.aborted) throw signal.reason
    const call = open(new JobCall(this, signal), (id) => this.#native.submit(id, json, wait))
    return new Job(call, unwrap(await call.accepted), metadata)
  }

  results() {
    return new Results(this.#native.results(), this.#waiting)
  }

  stats() {
    return JSON.parse(this.#native.stats())
  }

  /** @param {any} [options] */
  async stop(options) {
    const { drain, drainTimeout } = readStop(options ?? {})
    const call = open(new Call(), (id) => this.#native.stop(id, drain, drainTimeout))
    // What waits for results is going to hear of the end: the process must not end before that.
    for (const waiting of this.#waiting) keep(waiting)
    const outcome = await call.outcome
    const notDone = unwrap(outcome).map((/** @type {any} */ { id, job }) => ({ ...job, id }))
    this[TELL]('stopped', notDone)
    return notDone
  }

  [Symbol.asyncDispose]() {
    return this.stop().then(() => {})
  }

  /** @param {number} depth @param {import('node:util').InspectOptions} options */
  [inspect.custom](depth, options) {
    return depth < 0 ? '[BackgroundProcessor]' : `BackgroundProcessor ${inspect(this.stats(), options)}`
  }
}

/** An iterator over the results of jobs. */
class Results {
  #native
  /** Of all iterators of the processor. @type {Set<ResultCall>} */
  #all
  /** Of this one. @type {Set<ResultCall>} */
  #own = new Set()
  #done = false

  /** @param {any} native @param {Set<ResultCall>} all */
  constructor(native, all) {
    this.#native = native
    this.#all = all
  }

  async next() {
    if (this.#done) return { done: true, value: undefined }
    const call = new ResultCall()
    call.holds = this.#native.isDue()
    for (const calls of [this.#own, this.#all]) calls.add(call)
    open(call, (id) => this.#native.next(id))
    const outcome = await call.outcome
    for (const calls of [this.#own, this.#all]) calls.delete(call)
    if (call.end !== null) return { done: false, value: resultOf(call.end, outcome) }
    unwrap(outcome)
    this.#done = true
    return { done: true, value: undefined }
  }

  /** @param {any} [value] */
  async return(value) {
    this.#done = true
    this.#native.close()
    for (const call of this.#own) cancel(call.id)
    return { done: true, value }
  }

  /** @param {unknown} error @returns {Promise<any>} */
  async throw(error) {
    await this.return()
    throw error
  }

  [Symbol.asyncDispose]() {
    return this.return().then(() => {})
  }

  [Symbol.asyncIterator]() {
    return this
  }
}

/** Waits for one result. Waiting for what may never come keeps no process alive. */
class ResultCall extends Call {
  /** @type {any} */
  end = null

  /** @param {any} facts */
  job(facts) {
    this.end = facts
  }
}

/** @param {any} options @returns {{ drain: boolean, drainTimeout: number | undefined }} */
function readStop(options) {
  const refused = (/** @type {string} */ message) => new ConfigurationError(`invalid configuration: ${message}`)
  if (typeof options !== 'object' || Array.isArray(options)) {
    throw refused(`options: must be an object, found ${inspect(options)}`)
  }
  const { drain = true, drainTimeout = undefined, ...rest } = options
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) throw refused(`${unknown}: unknown option; there are drain and drainTimeout`)
  if (typeof drain !== 'boolean') throw refused(`drain: must be true or false, found ${inspect(drain)}`)
  if (drainTimeout === undefined || (typeof drainTimeout === 'number' && drainTimeout >= 0)) {
    return { drain, drainTimeout }
  }
  throw refused(`drainTimeout: must be milliseconds, 0 or more, found ${inspect(drainTimeout)}`)
}

exports.BackgroundProcessor = BackgroundProcessor
