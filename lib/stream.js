'use strict'

// A streamed answer. The bridge holds a StreamCall; the user holds a ChatStream. The first never refers to the second,
// so a stream that its user dropped can be collected, and its call cancelled.

const { inspect } = require('node:util')
const { Call, acknowledge, cancel } = require('./bridge')
const { Failed, errorFrom, unwrap } = require('./errors')
const { VIOLATION } = require('./record')

/** Chunks taken between two acknowledgements: few enough to keep the core sending, many enough to cross rarely. */
const ACK_EVERY = 32

/** Stands for "no chunk will come any more". */
const END = Symbol('end')

const left = () => new DOMException('The stream was left before its end', 'AbortError')

/** Both sides of a stream: what the bridge brings, and what the consumer takes. */
class StreamCall extends Call {
  /** @param {object} pool kept while the stream runs: the listeners on it are owed their events */
  constructor(pool) {
    super()
    /** @type {object | null} */
    this.pool = pool
    this.provider = ''
    this.model = ''
    /** @type {any[]} chunks nobody has taken yet */
    this.queue = []
    /** @type {((chunk: any) => void)[]} takers that came before their chunk */
    this.takers = []
    /** Chunks taken that the core has not been told of. */
    this.unacknowledged = 0
    this.ended = false
    /** Somebody asked for the whole answer: chunks are acknowledged as they come, so that it completes by itself. */
    this.wanted = false
    /** @type {Failed | null} what the consumer is told after giving the stream up */
    this.abandoned = null
    /** @type {(open: boolean) => void} */
    this.resolveOpen = () => {}
    /** @type {Promise<boolean>} true: content is here; false: it ended before any came */
    this.open = new Promise((resolve) => {
      this.resolveOpen = resolve
    })
  }

  // === the bridge's side ===

  /** @param {string} provider @param {string} model */
  opened(provider, model) {
    this.provider = provider
    this.model = model
    this.resolveOpen(true)
  }

  /** @param {any} chunk */
  push(chunk) {
    if (this.abandoned !== null) return
    const taker = this.takers.shift()
    if (taker === undefined) this.queue.push(chunk)
    else taker(chunk)
    if (taker !== undefined || this.wanted) this.acknowledge(1)
  }

  /** @param {unknown} outcome */
  settle(outcome) {
    if (this.ended) return
    this.ended = true
    this.pool = null
    super.settle(this.abandoned ?? outcome)
    this.resolveOpen(false)
    for (const taker of this.takers.splice(0)) taker(END)
  }

  // === the consumer's side ===

  /** The next chunk or END, or a promise of it. */
  take() {
    const { signal } = this
    if (signal?.aborted && !(this.ended && this.queue.length === 0)) this.abandon(() => signal.reason)
    if (this.queue.length > 0) {
      const chunk = this.queue.shift()
      if (!this.wanted) this.acknowledge(1)
      return chunk
    }
    return this.ended ? END : new Promise((resolve) => this.takers.push(resolve))
  }

  /** Chunks have left the queue for good: the core may send more. @param {number} count */
  acknowledge(count) {
    this.unacknowledged += count
    if (this.queue.length > 0 && this.unacknowledged < ACK_EVERY && !this.wanted) return
    if (!this.ended) acknowledge(this.id, this.unacknowledged)
    this.unacknowledged = 0
  }

  /** The whole answer is wanted, whether or not anybody takes the chunks. */
  want() {
    if (this.wanted) return
    this.wanted = true
    if (this.queue.length > 0) this.acknowledge(this.queue.length)
  }

  /** @param {() => unknown} error what the consumer is told */
  abandon(error) {
    if (this.abandoned !== null) return
    this.abandoned = new Failed(error)
    this.queue.length = 0
    if (!this.ended) cancel(this.id)
  }
}

/** A stream that nobody can read any more would block a connection for ever. */
const dropped = new FinalizationRegistry((/** @type {StreamCall} */ call) => {
  if (!call.wanted) call.abandon(left)
})

class ChatStream {
  /** @type {StreamCall} */
  #call
  #read = false

  /** @param {StreamCall} call */
  constructor(call) {
    this.#call = call
    dropped.register(this, call)
  }

  [Symbol.asyncIterator]() {
    if (this.#read) throw new TypeError('this stream is being read already, or was read')
    this.#read = true
    return new Chunks(this, this.#call)
  }

  /** @param {unknown} [reason] */
  abort(reason = new DOMException('This operation was aborted', 'AbortError')) {
    this.#call.abandon(() => reason)
  }

  async response() {
    this.#call.want()
    const response = unwrap(await this.#call.outcome)
    const violation = response[VIOLATION]
    return violation === undefined ? response : unwrap(new Failed((above) => errorFrom(violation, above)))
  }

  async text() {
    this.#call.want()
    return unwrap(await this.#call.outcome).content
  }

  toReadableStream() {
    const chunks = this[Symbol.asyncIterator]()
    return new ReadableStream(
      {
        async pull(controller) {
          const { done, value } = await chunks.next()
          if (done) controller.close()
          else controller.enqueue(value)
        },
        async cancel() {
          await chunks.return()
        },
      },
      // Nothing is pulled ahead of the reader: the reader's pace is the upstream's pace.
      { highWaterMark: 0 },
    )
  }

  /** @param {number} _depth @param {import('node:util').InspectOptions} options */
  [inspect.custom](_depth, options) {
    const { provider, model, ended } = this.#call
    return `ChatStream ${inspect({ provider, model, ended }, options)}`
  }
}

/** The iterator over a stream's chunks. */
class Chunks {
  #call
  #done = false

  /** @param {ChatStream} stream @param {StreamCall} call */
  constructor(stream, call) {
    this.#call = call
    // Whoever still iterates has not dropped the stream.
    this.stream = stream
  }

  async next() {
    if (this.#done) return { done: true, value: undefined }
    const taken = this.#call.take()
    const chunk = taken instanceof Promise ? await taken : taken
    if (chunk !== END) return { done: false, value: chunk }
    this.#done = true
    unwrap(this.#call.abandoned ?? (await this.#call.outcome))
    return { done: true, value: undefined }
  }

  /** Leaving early. It is done when the core has let go of everything that the call held. @param {any} [value] */
  async return(value) {
    this.#done = true
    this.#call.abandon(left)
    await this.#call.outcome
    return { done: true, value }
  }

  /** @param {unknown} error @returns {Promise<any>} */
  async throw(error) {
    await this.return()
    throw error
  }

  [Symbol.asyncIterator]() {
    return this
  }
}

exports.ChatStream = ChatStream
exports.StreamCall = StreamCall
