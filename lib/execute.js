'use strict'

// A function of the caller's own under the pool. The core says when to call it and for whom; what it returned stays here
// until the core says that the call is over, and what it threw is described to the core, which decides what it means.

const { bridge, Call, leftBy } = require('./bridge')
const { Failed } = require('./errors')

/** Causes of causes that are looked at. */
const DEPTH = 5

/** One call of `pool.execute()`. */
class ExecuteCall extends Call {
  /** @param {(turn: import('../index').ExecuteTurn) => unknown} fn @param {AbortSignal | null} signal */
  constructor(fn, signal) {
    super(signal)
    this.fn = fn
    /** The turn under way. @type {{ attempt: number, controller: AbortController } | null} */
    this.current = null
    /** @type {unknown} */
    this.value = undefined
    /** What the last turn threw. @type {{ error: unknown } | null} */
    this.thrown = null
  }

  // === the bridge's side ===

  /** @param {Omit<import('../index').ExecuteTurn, 'signal'>} facts */
  turn(facts) {
    const controller = new AbortController()
    const turn = { attempt: facts.attempt, controller }
    this.current = turn
    this.thrown = null
    this.#run(turn, facts)
  }

  /** @param {number} attempt */
  over(attempt) {
    if (this.current?.attempt !== attempt) return
    const { controller } = this.current
    this.current = null
    const left = leftBy(this.signal)
    controller.abort(left === null ? new DOMException('The attempt took too long', 'TimeoutError') : left.error(leftBy))
  }

  /** @param {unknown} outcome */
  settle(outcome) {
    if (!(outcome instanceof Failed)) return super.settle(this.value)
    const { thrown } = this
    super.settle(thrown === null ? outcome : new Failed((above) => blame(outcome.error(above), thrown.error)))
  }

  // === the caller's side ===

  /** @param {{ attempt: number, controller: AbortController }} turn @param {any} facts */
  async #run(turn, facts) {
    let report
    try {
      const value = await this.fn({ ...facts, signal: turn.controller.signal })
      if (this.current !== turn) return
      this.value = value
      report = { done: usageOf(value) }
    } catch (error) {
      if (this.current !== turn) return
      this.thrown = { error }
      report = { failed: describe(error) }
    }
    this.current = null
    bridge.settle(this.id, turn.attempt, JSON.stringify(report))
  }
}

/**
 * What the caller is told: an error of his own making is his own, whatever else is the pool's with it as the cause.
 *
 * @param {any} error
 * @param {unknown} cause
 */
function blame(error, cause) {
  if (error?.errorClass === 'invalid_request' && error.status === null) return cause
  if (error?.code !== undefined && error.cause === undefined) {
    Object.defineProperty(error, 'cause', { value: cause, writable: true, configurable: true })
  }
  return error
}

/** The usage of an answer in the shape of OpenAI or Anthropic, or null. @param {any} value */
function usageOf(value) {
  try {
    const usage = value?.usage
    if (typeof usage !== 'object' || usage === null) return null
    const numbers = {}
    for (const field of ['prompt_tokens', 'completion_tokens', 'input_tokens', 'output_tokens']) {
      if (Number.isFinite(usage[field])) Object.assign(numbers, { [field]: usage[field] })
    }
    return numbers
  } catch {
    return null // a getter that throws; the answer itself is the caller's business
  }
}

/** What can be seen of an exception, as plain data. @param {any} error */
function describe(error) {
  try {
    return JSON.parse(
      JSON.stringify({
        name: text(error?.name),
        message: text(error?.message ?? error),
        status: number(error?.status ?? error?.statusCode),
        headers: headersOf(error?.headers ?? error?.response?.headers),
        error: bodyOf(error),
        code: optionalText(error?.code),
        type: optionalText(error?.type),
        codes: codesOf(error),
        errorClass: optionalText(error?.errorClass),
      }),
    )
  } catch {
    return { message: 'an exception that cannot be read' }
  }
}

/** @param {unknown} value */
const text = (value) => (typeof value === 'string' ? value : value === undefined ? '' : String(value))
/** @param {unknown} value */
const optionalText = (value) => (typeof value === 'string' ? value : null)
/** @param {unknown} value */
const number = (value) => (typeof value === 'number' && Number.isFinite(value) ? value : null)

/** The body of the reply, or what of it the SDK kept. @param {any} error */
function bodyOf(error) {
  const body = error?.error ?? error?.body ?? error?.response?.data
  return typeof body === 'string' || (typeof body === 'object' && !Array.isArray(body)) ? body : null
}

/** `Headers`, or a plain object of them. @param {any} headers */
function headersOf(headers) {
  if (typeof headers !== 'object' || headers === null) return {}
  const pairs = typeof headers.entries === 'function' ? [...headers.entries()] : Object.entries(headers)
  return Object.fromEntries(pairs.filter(([, value]) => typeof value === 'string' || typeof value === 'number'))
}

/** The codes of an exception and of what caused it. @param {any} error */
function codesOf(error) {
  const codes = []
  for (let depth = 0, each = error; depth < DEPTH && typeof each === 'object' && each !== null; depth++) {
    if (typeof each.code === 'string') codes.push(each.code)
    each = each.cause ?? each.errors?.[0]
  }
  return codes
}

exports.ExecuteCall = ExecuteCall
