'use strict'

// One call as the caller wrote it, made ready to cross: one JSON text, and the signal beside it. What the fields mean
// and whether they fit is the core's business.

const { InvalidRequestError } = require('./errors')
const { Problem, findProblemIn, unreadable, writeJson } = require('./plain')

/** @param {Problem} problem */
function refusal({ path, message, cause }) {
  return new InvalidRequestError(`invalid request: ${path === '' ? '' : `${path}: `}${message}`, path, { cause })
}

/** @param {any} value */
function isRecord(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The signal is the one field that is no data. @param {object} fields */
function checkFields(fields) {
  const problem = findProblemIn(fields, 'signal')
  if (problem !== null) throw refusal(problem)
}

/**
 * Options go over the request, because they were said last; one that is undefined says nothing.
 *
 * @param {any} request
 * @param {any} options
 */
function merge(request, options) {
  // Spread, not assignment: an own `__proto__` must stay a field, for the core to refuse by name.
  const merged = { ...request, ...options }
  for (const key of Object.keys(options)) {
    if (options[key] === undefined && Object.hasOwn(request, key)) merged[key] = request[key]
  }
  return merged
}

/** @param {any} fields @returns {AbortSignal | null} */
function signalOf(fields) {
  let signal
  try {
    signal = fields.signal
  } catch (error) {
    throw refusal(unreadable(error).under('signal'))
  }
  if (signal === undefined || signal === null) return null
  // By shape: a signal may come from a polyfill or another realm.
  const methods = [signal.addEventListener, signal.removeEventListener]
  if (typeof signal.aborted === 'boolean' && methods.every((method) => typeof method === 'function')) return signal
  throw refusal(new Problem('must be an AbortSignal').under('signal'))
}

/**
 * @param {unknown} request a request, or just its messages
 * @param {unknown} [options]
 */
function readCall(request, options) {
  const fields = Array.isArray(request) ? { messages: request } : request
  return read(fields, options, 'must be an object with messages, or an array of messages')
}

/** @param {unknown} request @param {unknown} [options] */
function readEmbed(request, options) {
  return read(request, options, 'must be an object with input')
}

/** @param {unknown} work @param {unknown} [options] */
function readInfer(work, options) {
  const signals = [work, options].filter((fields) => isRecord(fields) && signalOf(fields) !== null)
  if (signals.length > 1) throw refusal(new Problem('is in the work and in the options; give one').under('signal'))
  return read(work, options, 'must be an object with task and prompt')
}

/**
 * @param {any} fields
 * @param {unknown} options
 * @param {string} expected
 * @returns {{ json: string, signal: AbortSignal | null, stream: boolean }}
 */
function read(fields, options, expected) {
  if (!isRecord(fields)) throw refusal(new Problem(expected))
  checkFields(fields)
  if (options !== undefined && options !== null) {
    if (!isRecord(options)) throw refusal(new Problem('must be an object').under('options'))
    checkFields(options)
    fields = merge(fields, options)
  }
  const signal = signalOf(fields)
  if ('signal' in fields) {
    const { signal: _, ...rest } = fields
    fields = rest
  }
  const json = writeJson(fields)
  if (json instanceof Problem) throw refusal(json)
  return { json, signal, stream: fields.stream === true }
}

/**
 * A job of a background processor: a request among fields of its own. Its options are not part of it: a job may outlive
 * whoever submits it.
 *
 * @param {any} job
 * @param {any} options
 */
function readJob(job, options) {
  if (!isRecord(job)) throw refusal(new Problem('must be an object with a request or a prompt'))
  const { wait = false, signal: _, ...rest } = isRecord(options ?? {}) ? { ...options } : { options }
  const [unknown] = Object.keys(rest)
  if (unknown === 'options') throw refusal(new Problem('must be an object').under('options'))
  if (unknown !== undefined) throw refusal(new Problem('unknown option; there are wait and signal').under(unknown))
  if (typeof wait !== 'boolean') throw refusal(new Problem('must be true or false').under('wait'))
  for (const [place, fields] of Object.entries({ signal: job, 'request.signal': job.request ?? {} })) {
    if (fields.signal === undefined || fields.signal === null) continue
    throw refusal(new Problem('is an option of submit(), its second argument').under(place))
  }
  checkFields(job)
  const { signal: __, ...fields } = job
  if (Array.isArray(fields.request)) fields.request = { messages: fields.request }
  else if (isRecord(fields.request)) {
    const { signal: ___, ...request } = fields.request
    fields.request = request
  }
  const json = writeJson(fields)
  if (json instanceof Problem) throw refusal(json)
  return { json, metadata: job.metadata, signal: signalOf(options ?? {}), wait }
}

/**
 * Options of a call that has no request.
 *
 * @param {unknown} options
 * @returns {{ json: string, signal: AbortSignal | null }}
 */
function readOptions(options) {
  const { json, signal } = read(options ?? {}, null, 'must be an object')
  return { json, signal }
}

exports.readCall = readCall
exports.readEmbed = readEmbed
exports.readInfer = readInfer
exports.readJob = readJob
exports.readOptions = readOptions
