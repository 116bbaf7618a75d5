'use strict'

// Finds what JSON cannot carry. `JSON.stringify` drops functions, turns NaN into null and, when it does throw, does not
// say where; a request that loses a field on the way would be answered wrongly and in silence.

/** serde_json, which reads the text, goes no deeper either. */
const MAX_DEPTH = 128

/** Where the trouble is and what it is. The path is put together on the way out, so that the good case builds none. */
class Problem {
  /** @param {string} message @param {unknown} [cause] */
  constructor(message, cause) {
    this.message = message
    this.cause = cause
    this.path = ''
  }

  /** @param {string | number} step */
  under(step) {
    if (step === '') return this
    const own = typeof step === 'number' ? `[${step}]` : step
    const joint = this.path === '' || this.path.startsWith('[') ? '' : '.'
    this.path = own + joint + this.path
    return this
  }
}

/**
 * The first part of a value that JSON cannot carry faithfully, or null.
 *
 * @param {unknown} value
 * @param {object[]} ancestors
 * @returns {Problem | null}
 */
function findProblem(value, ancestors) {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return null
    case 'number':
      return Number.isFinite(value) ? null : new Problem(`must be a finite number, found ${value}`)
    case 'object':
      return value === null ? null : findProblemIn(value, undefined, ancestors)
    default:
      return new Problem(`must not be a ${typeof value}`)
  }
}

/**
 * The same for the parts of an object or array; `except` names a field of its own that is not to become JSON.
 *
 * @param {any} value
 * @param {string} [except]
 * @param {object[]} [ancestors]
 * @returns {Problem | null}
 */
function findProblemIn(value, except, ancestors = []) {
  if (ancestors.includes(value)) return new Problem('refers back to itself')
  if (ancestors.length === MAX_DEPTH) return new Problem(`is nested deeper than ${MAX_DEPTH} levels`)
  ancestors.push(value)
  /** @type {string | number} */
  let step = ''
  try {
    if (Array.isArray(value)) {
      for (step = 0; step < value.length; step++) {
        const problem = findProblem(value[step], ancestors)
        if (problem !== null) return problem.under(step)
      }
    } else if (typeof value.toJSON !== 'function') {
      // A Map, a Set, Headers: JSON would write them as {} and lose what they hold.
      if (typeof value[Symbol.iterator] === 'function') {
        return new Problem(`must be a plain object, found ${value.constructor?.name ?? 'a collection'}`)
      }
      if (isLost(value)) return new Problem(`must be a plain object, found ${tagOf(value)}`)
      for (step in value) {
        if (step === except) continue
        const problem = findProblem(value[step], ancestors)
        // Asked last, because it is hardly ever asked: JSON leaves out what is inherited.
        if (problem !== null && Object.hasOwn(value, step)) return problem.under(step)
      }
    }
  } catch (error) {
    // A getter or a proxy of the caller.
    return unreadable(error).under(step)
  } finally {
    ancestors.pop()
  }
  return null
}

/** Of what holds nothing that JSON writes. */
const LOST = new Set([
  'Error',
  'RegExp',
  'Promise',
  'ArrayBuffer',
  'SharedArrayBuffer',
  'DataView',
  'WeakMap',
  'WeakSet',
  'WeakRef',
])

/** @param {object} value */
const tagOf = (value) => Object.prototype.toString.call(value).slice(8, -1)

/** JSON would write it as {}. Asked of what has a class alone, so that plain objects cost nothing. @param {object} value */
function isLost(value) {
  const prototype = Object.getPrototypeOf(value)
  return prototype !== Object.prototype && prototype !== null && LOST.has(tagOf(value))
}

/** @param {any} error */
function unreadable(error) {
  return new Problem(`could not be read: ${error?.message ?? String(error)}`, error)
}

/**
 * Writes a value that `findProblem` has passed. What still throws is a `toJSON` of the caller, or the size; then the
 * fields are written one by one to find which.
 *
 * @param {any} fields
 * @returns {string | Problem}
 */
function writeJson(fields) {
  try {
    return JSON.stringify(fields) ?? new Problem('must be an object')
  } catch (error) {
    for (const field of Object.keys(fields)) {
      try {
        JSON.stringify(fields[field])
      } catch (inner) {
        return unreadable(inner).under(field)
      }
    }
    return unreadable(error)
  }
}

exports.Problem = Problem
exports.findProblemIn = findProblemIn
exports.unreadable = unreadable
exports.writeJson = writeJson
