'use strict'

// `pool.analyze()`: an analysis of code under way. It runs whether anybody looks or not; who looks sees its progress from
// the first file on, and who asks for the result waits for it.

const { fileURLToPath } = require('node:url')
const { inspect } = require('node:util')
const { Call, open } = require('./bridge')
const { Failed, InvalidRequestError, unwrap } = require('./errors')

/** One analysis, as the core sees it. */
class AnalysisCall extends Call {
  /** @param {AbortSignal | null} [signal] */
  constructor(signal) {
    super(signal)
    /** @type {import('../index').AnalysisProgress[]} */
    this.progress = []
    this.ended = false
    /** Whoever waits for more. @type {(() => void)[]} */
    this.waiting = []
  }

  // === the bridge's side ===

  /** @param {{ delta: string }} piece */
  push({ delta }) {
    this.progress.push(JSON.parse(delta))
    this.#wake()
  }

  /** @param {unknown} outcome */
  settle(outcome) {
    this.ended = true
    super.settle(outcome)
    this.#wake()
  }

  #wake() {
    for (const wake of this.waiting.splice(0)) wake()
  }

  // === the reader's side ===

  /** Until there is more, or nothing more will come. @returns {Promise<void>} */
  more() {
    return new Promise((resolve) => {
      this.waiting.push(resolve)
    })
  }
}

class Analysis {
  #native
  #call

  /** @param {any} native @param {AnalysisCall} call */
  constructor(native, call) {
    this.#native = native
    this.#call = call
  }

  async *[Symbol.asyncIterator]() {
    const call = this.#call
    for (let at = 0; ; ) {
      while (at < call.progress.length) yield call.progress[at++]
      if (call.ended) break
      await call.more()
    }
    unwrap(await call.outcome)
  }

  /** @returns {Promise<any>} */
  async result() {
    return structuredClone(unwrap(await this.#call.outcome))
  }

  /** @param {string | URL} dir */
  async toMarkdown(dir) {
    const folder = readPath(dir, 'dir')
    const json = JSON.stringify(unwrap(await this.#call.outcome))
    return unwrap(await open(new Call(), (id) => this.#native.writeAnalysis(id, json, folder)).outcome)
  }
}

/**
 * Begins an analysis. Nothing is thrown: whatever goes wrong, whoever asks for the result is told.
 *
 * @param {any} native
 * @param {() => { path: string, json: string, signal: AbortSignal | null }} read
 * @param {'file' | 'directory' | 'project'} goal
 */
function analyze(native, read, goal) {
  const call = new AnalysisCall()
  try {
    const { path, json, signal } = read()
    call.signal = signal
    open(call, (id) => native.analyze(id, path, goal, json))
  } catch (error) {
    call.settle(new Failed(() => error))
  }
  return new Analysis(native, call)
}

/** @param {unknown} path @param {string} field @returns {string} */
function readPath(path, field) {
  if (typeof path === 'string') return path
  if (path instanceof URL && path.protocol === 'file:') return fileURLToPath(path)
  throw new InvalidRequestError(
    `invalid request: ${field}: must be a path or a file: URL, found ${inspect(path)}`,
    field,
  )
}

exports.AnalysisCall = AnalysisCall
exports.analyze = analyze
exports.readPath = readPath
