'use strict'

// The core sends errors as data; here they become classes. Nothing in this file decides anything about a failure.

// Registered globally, so that errors of two copies of the package in one process recognise each other.
const BRAND = Symbol.for('llmpool.error')

/** Fields of a record from the core that land on the error under the same name. */
const RECORD_FIELDS = [
  'code',
  'errorClass',
  'provider',
  'model',
  'status',
  'retryable',
  'retryAfterMs',
  'requestId',
  'attempts',
  'problems',
  'reasons',
  'phase',
  'resetTime',
  'resetAt',
  'scope',
  'period',
  'limit',
  'spent',
  'reserved',
  'field',
  'tenant',
  'tenantLimit',
]

class LLMPoolError extends Error {
  /** @type {string} */
  static code = 'ERR_LLMPOOL_INTERNAL'

  /**
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(message, options) {
    super(message, options)
    this.code = /** @type {typeof LLMPoolError} */ (new.target).code
    /** @type {import('../index').ErrorClass | null} */
    this.errorClass = null
    /** @type {string | null} */
    this.provider = null
    /** @type {string | null} */
    this.model = null
    /** @type {number | null} */
    this.status = null
    this.retryable = false
    /** @type {number | null} */
    this.retryAfterMs = null
    /** @type {string | null} */
    this.requestId = null
    /** @type {import('../index').Attempt[]} */
    this.attempts = []
  }

  /** @param {unknown} value @returns {value is any} */
  static isInstance(value) {
    const names = /** @type {any} */ (value)?.[BRAND]
    return Array.isArray(names) && names.includes(brandOf(this))
  }

  get statusCode() {
    return this.status
  }

  /** @returns {{ name: string, message: string, code: string, [field: string]: unknown }} */
  toJSON() {
    const { name, message, code } = this
    return { name, message, code, ...Object.fromEntries(Object.entries(this)) }
  }
}

class ConfigurationError extends LLMPoolError {
  static code = 'ERR_LLMPOOL_CONFIG'

  /** @param {string} message @param {ErrorOptions} [options] */
  constructor(message, options) {
    super(message, options)
    /** @type {{ path: string, message: string }[]} */
    this.problems = []
  }
}

class InvalidRequestError extends LLMPoolError {
  static code = 'ERR_LLMPOOL_INVALID_REQUEST'

  /** @param {string} message @param {string} [field] @param {ErrorOptions} [options] */
  constructor(message, field = '', options = undefined) {
    super(message, options)
    this.field = field
  }
}

class ProviderError extends LLMPoolError {
  static code = 'ERR_LLMPOOL_PROVIDER'

  /**
   * @param {string} message
   * @param {string | null} [provider]
   * @param {number | null} [statusCode]
   * @param {boolean} [retryable]
   */
  constructor(message, provider = null, statusCode = null, retryable = false) {
    super(message)
    this.provider = provider
    this.status = statusCode
    this.retryable = retryable
  }
}

class RateLimitError extends ProviderError {
  static code = 'ERR_LLMPOOL_RATE_LIMITED'

  /**
   * @param {string} message
   * @param {string | null} [provider]
   * @param {number | null} [resetTime] seconds
   */
  constructor(message, provider = null, resetTime = null) {
    super(message, provider, 429, true)
    this.resetTime = resetTime
    this.retryAfterMs = resetTime === null ? null : resetTime * 1000
  }
}

class TimeoutError extends ProviderError {
  static code = 'ERR_LLMPOOL_TIMEOUT'

  /** @param {string} message @param {string | null} [provider] @param {import('../index').TimeoutError['phase']} [phase] */
  constructor(message, provider = null, phase = null) {
    super(message, provider, null, true)
    this.phase = phase
  }
}

class StreamInterruptedError extends ProviderError {
  static code = 'ERR_LLMPOOL_STREAM_INTERRUPTED'

  /** @param {string} message @param {string | null} [provider] @param {import('../index').StreamInterruptedError['partial']} [partial] */
  constructor(message, provider = null, partial = undefined) {
    super(message, provider, null, true)
    // Kept out of logs and of JSON: it may be a whole answer.
    Object.defineProperty(this, 'partial', { value: partial, writable: true, configurable: true })
  }
}

class NoProviderError extends LLMPoolError {
  static code = 'ERR_LLMPOOL_NO_PROVIDER'

  /** @param {string} message */
  constructor(message) {
    super(message)
    /** @type {{ provider: string, reason: string }[]} */
    this.reasons = []
  }
}

class BudgetExceededError extends LLMPoolError {
  static code = 'ERR_LLMPOOL_BUDGET'

  /** @param {string} message */
  constructor(message) {
    super(message)
    /** @type {'pool' | 'provider' | 'tenant'} */
    this.scope = 'pool'
    /** @type {'daily' | 'monthly'} */
    this.period = 'daily'
    this.limit = 0
    this.spent = 0
    this.reserved = 0
    /** @type {number | null} */
    this.resetAt = null
  }
}

class PermissionDeniedError extends LLMPoolError {
  static code = 'ERR_LLMPOOL_PERMISSION'
}

class QueueFullError extends LLMPoolError {
  static code = 'ERR_LLMPOOL_QUEUE_FULL'

  /** @param {string} message */
  constructor(message) {
    super(message)
    this.retryable = true
  }
}

class PoolClosedError extends LLMPoolError {
  static code = 'ERR_LLMPOOL_CLOSED'

  constructor(message = 'the pool was shut down') {
    super(message)
  }
}

/** @type {Record<string, new (message: string) => LLMPoolError>} */
const CLASSES = {
  LLMPoolError,
  ConfigurationError,
  InvalidRequestError,
  ProviderError,
  RateLimitError,
  TimeoutError,
  StreamInterruptedError,
  NoProviderError,
  BudgetExceededError,
  PermissionDeniedError,
  QueueFullError,
  PoolClosedError,
}

for (const [name, Class] of Object.entries(CLASSES)) {
  const parent = Object.getPrototypeOf(Class.prototype)[BRAND] ?? []
  // On the prototype: a name set per instance would be printed as a field of every error.
  Object.defineProperty(Class.prototype, 'name', { value: name, writable: true, configurable: true })
  Object.defineProperty(Class.prototype, BRAND, { value: [...parent, name] })
}

/** The name that stands for a class; a user's subclass answers for the class it extends. @param {Function} Class */
function brandOf(Class) {
  return Class.prototype[BRAND].at(-1)
}

/**
 * Builds the error that a record of the core describes. `above` is the function of ours that the stack is to leave out,
 * with everything it called.
 *
 * @param {any} record
 * @param {Function} [above]
 * @returns {Error}
 */
function errorFrom(record, above = errorFrom) {
  if (record.class === 'Cancelled') return new DOMException(record.message, 'AbortError')
  const error = /** @type {any} */ (new (CLASSES[record.class] ?? LLMPoolError)(record.message))
  for (const field of RECORD_FIELDS) {
    if (record[field] !== undefined && record[field] !== null) error[field] = record[field]
  }
  if (record.partial !== undefined) error.partial = record.partial
  Error.captureStackTrace(error, above)
  return error
}

/** Begins the message of an exception of the core that carries an error record. */
const RECORD_PREFIX = 'llmpool:'

/**
 * What the core threw synchronously, as one of our classes. Anything but a record is a defect of ours.
 *
 * @param {any} thrown
 */
function errorFromThrown(thrown) {
  const message = String(thrown?.message ?? thrown)
  if (!message.startsWith(RECORD_PREFIX)) return new LLMPoolError(message, { cause: thrown })
  return errorFrom(JSON.parse(message.slice(RECORD_PREFIX.length)), errorFromThrown)
}

/**
 * The failed outcome of a call. The error itself is built when it is thrown, inside the async function whose promise the
 * caller awaits: V8 then ends its stack with the caller's line.
 */
class Failed {
  /** @param {(above: Function) => unknown} error */
  constructor(error) {
    this.error = error
  }
}

/**
 * The value of an outcome, or its error thrown from here.
 *
 * @template T
 * @param {T | Failed} outcome
 * @returns {T}
 */
function unwrap(outcome) {
  if (outcome instanceof Failed) throw outcome.error(unwrap)
  return outcome
}

exports.LLMPoolError = LLMPoolError
exports.ConfigurationError = ConfigurationError
exports.InvalidRequestError = InvalidRequestError
exports.ProviderError = ProviderError
exports.RateLimitError = RateLimitError
exports.TimeoutError = TimeoutError
exports.StreamInterruptedError = StreamInterruptedError
exports.NoProviderError = NoProviderError
exports.BudgetExceededError = BudgetExceededError
exports.PermissionDeniedError = PermissionDeniedError
exports.QueueFullError = QueueFullError
exports.PoolClosedError = PoolClosedError
exports.Failed = Failed
exports.unwrap = unwrap
exports.errorFrom = errorFrom
exports.errorFromThrown = errorFromThrown
