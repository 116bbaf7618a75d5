'use strict'

// `pool.fetch`: the gateway's routes as a function of the shape of `fetch`, without a socket. The request crosses whole;
// the answer comes as a head and pieces of a body, and no piece is asked for that nobody reads.

const { isUint8Array } = require('node:util').types
const { Call, acknowledge, cancel, open } = require('./bridge')
const { unwrap } = require('./errors')

const encoder = new TextEncoder()

/** Statuses of answers that have no body. */
const BODILESS = new Set([204, 205, 304])

/** One request under way. */
class FetchCall extends Call {
  /** @param {AbortSignal | null} signal */
  constructor(signal) {
    super(signal)
    /** @type {string[]} pieces that nobody has read yet */
    this.pieces = []
    /** @type {(() => void) | null} wakes the reader */
    this.wake = null
    this.ended = false
    /** @type {(head: { status: number, headers: [string, string][] } | null) => void} */
    this.resolveHead = () => {}
    /** @type {Promise<{ status: number, headers: [string, string][] } | null>} null: it failed before there was a head */
    this.headed = new Promise((resolve) => {
      this.resolveHead = resolve
    })
  }

  // === the bridge's side ===

  /** @param {number} status @param {[string, string][]} headers */
  head(status, headers) {
    this.resolveHead({ status, headers })
  }

  /** @param {{ delta: string }} piece */
  push({ delta }) {
    this.pieces.push(delta)
    this.wake?.()
  }

  /** @param {unknown} outcome */
  settle(outcome) {
    this.ended = true
    super.settle(outcome)
    this.resolveHead(null)
    this.wake?.()
  }

  // === the reader's side ===

  /** The body, read at the pace of whoever reads it. */
  body() {
    return new ReadableStream(
      {
        type: 'bytes',
        pull: (controller) => this.#pull(controller),
        cancel: async () => {
          cancel(this.id)
          await this.outcome
        },
      },
      { highWaterMark: 0 },
    )
  }

  /** @param {ReadableByteStreamController} controller */
  async #pull(controller) {
    while (this.pieces.length === 0 && !this.ended && !this.signal?.aborted) {
      await new Promise((resolve) => {
        this.wake = () => resolve(undefined)
      })
      this.wake = null
    }
    const piece = this.signal?.aborted ? undefined : this.pieces.shift()
    if (piece !== undefined) {
      if (!this.ended) acknowledge(this.id, 1)
      controller.enqueue(encoder.encode(piece))
      return
    }
    try {
      unwrap(await this.outcome)
    } catch (error) {
      controller.error(error)
      return
    }
    controller.close()
    controller.byobRequest?.respond(0)
  }
}

/**
 * The body, and no more of it than it takes to see that it is too long: the core says so then. Whoever leaves is not
 * kept waiting for the rest.
 *
 * @param {Request} request @param {number} most bytes
 */
async function read({ body, signal }, most) {
  if (body === null) return Buffer.alloc(0)
  const reader = body.getReader()
  // It ends what waits to be read; what the source makes of it is its own affair.
  const stop = () => void reader.cancel(signal.reason).catch(() => {})
  signal.addEventListener('abort', stop, { once: true })
  try {
    const pieces = []
    let length = 0
    while (length <= most) {
      signal.throwIfAborted()
      const { done, value } = await reader.read()
      signal.throwIfAborted()
      if (done) return Buffer.concat(pieces, length)
      if (!isUint8Array(value)) throw new TypeError('the body of a request must be made of Uint8Arrays')
      pieces.push(value)
      length += value.byteLength
    }
    return Buffer.concat(pieces, most + 1)
  } finally {
    signal.removeEventListener('abort', stop)
    stop()
  }
}

/**
 * @param {{ fetch(id: number, method: string, target: string, headers: string[], body: Buffer): void, maxBodyBytes(): number | null }} native
 * @param {Request} request
 * @returns {Promise<Response>}
 */
async function answer(native, request) {
  const { pathname, search } = new URL(request.url)
  const headers = [...request.headers].flat()
  const body = await read(request, native.maxBodyBytes() ?? 0)
  const call = new FetchCall(request.signal)
  open(call, (id) => native.fetch(id, request.method, pathname + search, headers, body))
  const head = await call.headed
  if (head === null) {
    unwrap(await call.outcome)
    throw new TypeError('fetch failed')
  }
  const { status, headers: fields } = head
  const bodiless = BODILESS.has(status) || request.method === 'HEAD'
  return new Response(bodiless ? null : call.body(), { status, headers: fields })
}

exports.FetchCall = FetchCall
exports.answer = answer
