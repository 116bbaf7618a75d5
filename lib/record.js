'use strict'

// Completions cross as one block of numbers and one array of texts, record behind record: no object is built on the
// native side and every object built here has one shape. The order of the reads below is the order in which
// `src/node/record.rs` writes.

/** What a record is. */
const KIND = Object.freeze({
  RESPONSE: 0,
  ERROR: 1,
  VALUE: 2,
  OPEN: 3,
  CHUNK: 4,
  EVENT: 5,
  VECTORS: 6,
  TURN: 7,
  TURN_OVER: 8,
  HEAD: 9,
  JOB: 10,
})

/** On the answer of a stream that ended well and is refused as a whole: the error as data. */
const VIOLATION = Symbol('violation')

/** Numbers that fit before the block has to grow: a few hundred answers that complete together. */
const NUMBERS = 8192

/** What the core has drained, read from front to back. */
class Records {
  constructor() {
    /** Behind the first number, which says how many there are, stand the numbers of the batch. */
    this.numbers = new Float64Array(NUMBERS)
    /** @type {string[]} */
    this.texts = []
    /** Words that have crossed before cross as their place in here. @type {string[]} */
    this.names = []
    this.at = 0
    this.textAt = 0
  }

  /** Takes the next batch. @param {{ drain(numbers: Float64Array): string[] | null, forget(): void }} bridge */
  take(bridge) {
    let texts = bridge.drain(this.numbers)
    while (texts === null) {
      this.numbers = new Float64Array(2 * this.numbers.length)
      texts = bridge.drain(this.numbers)
    }
    this.texts = texts
    this.at = 1
    this.textAt = 0
  }

  /** A batch was lost, and the words in it. @param {{ forget(): void }} bridge */
  forget(bridge) {
    bridge.forget()
    this.names = []
  }

  get done() {
    return this.at > this.numbers[0]
  }

  number() {
    return this.numbers[this.at++]
  }

  flag() {
    return this.numbers[this.at++] !== 0
  }

  numberOrNull() {
    const number = this.numbers[this.at++]
    return Number.isNaN(number) ? null : number
  }

  text() {
    return this.texts[this.textAt++]
  }

  textOrNull() {
    return this.flag() ? this.text() : null
  }

  name() {
    const place = this.number()
    if (place < 0) return this.text()
    if (place === this.names.length) this.names.push(this.text())
    return this.names[place]
  }

  nameOrNull() {
    return this.flag() ? this.name() : null
  }
}

/** @param {Records} records */
function readResponse(records) {
  const response = {
    id: records.text(),
    content: records.text(),
    role: 'assistant',
    finish_reason: records.name(),
    raw_finish_reason: records.nameOrNull(),
    model: records.name(),
    provider: records.name(),
    created: records.number(),
    usage: readUsage(records),
    cost: records.numberOrNull(),
    cached: records.flag(),
    latencyMs: records.number(),
    requestId: records.text(),
    warnings: /** @type {string[]} */ ([]),
    attempts: /** @type {ReturnType<typeof readAttempt>[]} */ ([]),
  }
  setIfPresent(response, 'refusal', records.textOrNull())
  setIfPresent(response, 'reasoning', records.textOrNull())
  setIfPresent(response, 'reasoning_state', parse(records.textOrNull()))
  setIfPresent(response, 'tool_calls', parse(records.textOrNull()))
  response.warnings = parse(records.textOrNull()) ?? response.warnings
  const parsed = records.textOrNull()
  // `null` is a value, too.
  if (parsed !== null) Object.assign(response, { parsed: JSON.parse(parsed) })
  const violation = records.textOrNull()
  if (violation !== null) Object.defineProperty(response, VIOLATION, { value: JSON.parse(violation) })
  Object.assign(response, parse(records.textOrNull()))
  for (let count = records.number(); count > 0; count--) response.attempts.push(readAttempt(records))
  return response
}

/** @param {Records} records */
function readUsage(records) {
  return {
    prompt_tokens: records.number(),
    completion_tokens: records.number(),
    total_tokens: records.number(),
    cached_tokens: records.number(),
    cache_write_tokens: records.number(),
    reasoning_tokens: records.number(),
    estimated: records.flag(),
  }
}

/** @param {Records} records */
function readVectors(records) {
  const response = {
    object: 'list',
    data: /** @type {{ object: 'embedding', index: number, embedding: number[] | string }[]} */ ([]),
    model: records.name(),
    provider: records.name(),
    usage: readUsage(records),
    cost: records.numberOrNull(),
    latencyMs: records.number(),
    requestId: records.text(),
    warnings: parse(records.textOrNull()) ?? [],
    attempts: /** @type {ReturnType<typeof readAttempt>[]} */ ([]),
  }
  const asText = records.flag()
  const count = records.number()
  for (let index = 0; index < count; index++) {
    const text = records.text()
    response.data.push({ object: 'embedding', index, embedding: asText ? text : numbersOf(text) })
  }
  for (let count = records.number(); count > 0; count--) response.attempts.push(readAttempt(records))
  return response
}

/** Numbers that crossed as base64 of 64-bit floats. @param {string} text */
function numbersOf(text) {
  const bytes = Buffer.from(text, 'base64')
  const numbers = new Float64Array(bytes.length / Float64Array.BYTES_PER_ELEMENT)
  // Copied: a small buffer lies anywhere in a shared one, and floats must lie on a multiple of their size.
  new Uint8Array(numbers.buffer).set(bytes)
  return Array.from(numbers)
}

/** @param {Records} records */
function readAttempt(records) {
  const provider = records.name()
  const model = records.name()
  const keyIndex = records.numberOrNull()
  const outcome = records.name()
  const errorClass = records.nameOrNull()
  const status = records.numberOrNull()
  const attempt = { provider, model, keyIndex, outcome, latencyMs: records.number(), waitedMs: records.number() }
  setIfPresent(attempt, 'errorClass', errorClass)
  setIfPresent(attempt, 'status', status)
  return attempt
}

/** @param {any} target @param {string} field @param {unknown} value */
function setIfPresent(target, field, value) {
  if (value !== null) target[field] = value
}

/** @param {string | null} json */
function parse(json) {
  return json === null ? null : JSON.parse(json)
}

/** One piece of a stream. @param {Records} records @param {string} [provider] @param {string} [model] */
function readChunk(records, provider, model) {
  const chunk = { delta: records.text(), provider, model }
  const extra = records.textOrNull()
  return extra === null ? chunk : Object.assign(chunk, JSON.parse(extra))
}

/** One turn of `pool.execute()`, all but its signal. @param {Records} records */
function readTurn(records) {
  return {
    attempt: records.number(),
    provider: records.name(),
    model: records.name(),
    apiKey: records.textOrNull(),
    baseURL: records.name(),
  }
}

exports.KIND = KIND
exports.VIOLATION = VIOLATION
exports.Records = Records
exports.readResponse = readResponse
exports.readVectors = readVectors
exports.readChunk = readChunk
exports.readTurn = readTurn
