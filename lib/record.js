'use strict'

// Completions cross as one flat array, `id, kind, …fields`, record behind record: no object is built on the native side
// and every object built here has one shape. The order of the reads below is the layout.

/** What a record is. */
const KIND = Object.freeze({ RESPONSE: 0, ERROR: 1, VALUE: 2, OPEN: 3, CHUNK: 4, EVENT: 5 })

class RecordReader {
  /** @param {any[]} records */
  constructor(records) {
    this.records = records
    this.at = 0
  }

  get done() {
    return this.at >= this.records.length
  }

  next() {
    return this.records[this.at++]
  }
}

/** @param {RecordReader} reader */
function readResponse(reader) {
  const response = {
    id: reader.next(),
    content: reader.next(),
    role: 'assistant',
    finish_reason: reader.next(),
    raw_finish_reason: reader.next(),
    model: reader.next(),
    provider: reader.next(),
    created: reader.next(),
    usage: {
      prompt_tokens: reader.next(),
      completion_tokens: reader.next(),
      total_tokens: reader.next(),
      cached_tokens: reader.next(),
      cache_write_tokens: reader.next(),
      reasoning_tokens: reader.next(),
      estimated: reader.next(),
    },
    cost: reader.next(),
    cached: false,
    latencyMs: reader.next(),
    requestId: reader.next(),
    warnings: /** @type {string[]} */ ([]),
    attempts: /** @type {ReturnType<typeof readAttempt>[]} */ ([]),
  }
  setIfPresent(response, 'refusal', reader.next())
  setIfPresent(response, 'reasoning', reader.next())
  setIfPresent(response, 'tool_calls', parse(reader.next()))
  response.warnings = parse(reader.next()) ?? response.warnings
  for (let count = reader.next(); count > 0; count--) response.attempts.push(readAttempt(reader))
  return response
}

/** @param {RecordReader} reader */
function readAttempt(reader) {
  const provider = reader.next()
  const model = reader.next()
  const keyIndex = reader.next()
  const outcome = reader.next()
  const errorClass = reader.next()
  const status = reader.next()
  const attempt = { provider, model, keyIndex, outcome, latencyMs: reader.next(), waitedMs: reader.next() }
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

/** One piece of a stream. @param {RecordReader} reader @param {string} [provider] @param {string} [model] */
function readChunk(reader, provider, model) {
  const chunk = { delta: reader.next(), provider, model }
  const extra = reader.next()
  return extra === null ? chunk : Object.assign(chunk, JSON.parse(extra))
}

exports.KIND = KIND
exports.RecordReader = RecordReader
exports.readResponse = readResponse
exports.readChunk = readChunk
