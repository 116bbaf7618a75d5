'use strict'

// The crossing: one per JavaScript environment (the main thread, each worker), shared by all pools in it. Calls go down
// with a number; their completions come back in batches and find their caller by that number. The process is kept
// alive while a call is open and not a moment longer.

const native = require('./native')
const { Failed, errorFrom, errorFromThrown } = require('./errors')
const { KIND, Records, readResponse, readVectors, readChunk, readTurn } = require('./record')

/** The method of a pool that takes its events. */
const DELIVER = Symbol('deliver')

/** What is open: number → call. @type {Map<number, Call>} */
const calls = new Map()

/** Pools that events may come for. Weakly: a pool that its user forgot must go, with its listeners. @type {Map<number, WeakRef<any>>} */
const pools = new Map()
const forgotten = new FinalizationRegistry((/** @type {number} */ poolId) => pools.delete(poolId))

/**
 * Signals with open calls. One listener per signal, however many calls share it: Node warns of a leak from the
 * eleventh listener on.
 *
 * @type {Map<AbortSignal, { ids: Set<number>, listener: () => void }>}
 */
const signals = new Map()

const bridge = new native.Bridge(drain)
const records = new Records()
let lastId = 0
/** What keeps the process alive: calls, and servers. */
let held = 0

/** One open call. Whoever waits for it gets its outcome: a value or `Failed`. */
class Call {
  /** It keeps the process alive while it is open. */
  holds = true

  /** @param {AbortSignal | null} [signal] */
  constructor(signal = null) {
    this.id = 0
    this.signal = signal
    /** @type {(outcome: unknown) => void} */
    this.resolve = () => {}
    /** @type {Promise<any>} */
    this.outcome = new Promise((resolve) => {
      this.resolve = resolve
    })
  }

  /** What it ends with because its caller has left, whatever came; null: with what came. */
  left() {
    return leftBy(this.signal)
  }

  /** @param {unknown} outcome */
  settle(outcome) {
    this.resolve(outcome)
  }
}

/**
 * Opens a call and sends it. An exception of the core (never its normal way to fail) closes the call again.
 *
 * @template {Call} C
 * @param {C} call
 * @param {(id: number) => void} send
 * @returns {C}
 */
function open(call, send) {
  do {
    lastId = (lastId + 1) >>> 0
  } while (calls.has(lastId))
  const id = lastId
  call.id = id
  calls.set(id, call)
  if (call.holds) grip()
  try {
    if (call.signal !== null) watch(call.signal, id)
    send(id)
  } catch (thrown) {
    close(call)
    throw errorFromThrown(thrown)
  }
  return call
}

/** @param {Call} call */
function close(call) {
  calls.delete(call.id)
  if (call.holds) loosen()
  if (call.signal !== null) unwatch(call.signal, call.id)
}

function grip() {
  held += 1
  if (held === 1) bridge.ref()
}

function loosen() {
  held -= 1
  if (held === 0) bridge.unref()
}

/** From now on an open call keeps the process alive that did not. @param {Call} call */
function keep(call) {
  if (call.holds || !calls.has(call.id)) return
  call.holds = true
  grip()
}

/** Keeps the process alive until what it returns is called. */
function hold() {
  grip()
  let released = false
  return () => {
    if (released) return
    released = true
    loosen()
  }
}

/** Asks the core to give a call up. Its completion still comes, when everything it held has been returned. @param {number} id */
function cancel(id) {
  if (calls.has(id)) bridge.cancel(id)
}

/** Tells the core that chunks of a stream were taken, so that it may send more. @param {number} id @param {number} count */
function acknowledge(id, count) {
  bridge.ack(id, count)
}

/** @param {AbortSignal} signal @param {number} id */
function watch(signal, id) {
  const watched = signals.get(signal)
  if (watched !== undefined) {
    watched.ids.add(id)
    return
  }
  const ids = new Set([id])
  const listener = () => ids.forEach(cancel)
  signal.addEventListener('abort', listener, { once: true })
  signals.set(signal, { ids, listener })
}

/** @param {AbortSignal} signal @param {number} id */
function unwatch(signal, id) {
  const watched = signals.get(signal)
  if (watched === undefined) return
  watched.ids.delete(id)
  if (watched.ids.size > 0) return
  signals.delete(signal)
  try {
    signal.removeEventListener('abort', watched.listener)
  } catch (error) {
    // A signal of somebody's own making. Calls behind this one in the batch must not pay for it.
    process.nextTick(() => {
      throw error
    })
  }
}

/** The core calls this when completions wait that nobody has been told of. */
function drain() {
  try {
    records.take(bridge)
  } catch (thrown) {
    // Something in the batch cannot be a JavaScript value (a string over V8's limit), and which call it was of is lost
    // with it. A call that fails is better than one that never ends.
    records.forget(bridge)
    for (const id of [...calls.keys()]) complete(id, new Failed(() => thrown))
    return
  }
  // The callers' continuations run before the next tick; what they ask then goes down together.
  bridge.cork()
  queueMicrotask(uncorkNextTick)
  while (!records.done) {
    const id = records.number()
    const kind = records.number()
    if (kind === KIND.EVENT) deliver(id, records.name(), records.text())
    else if (kind === KIND.CHUNK) chunk(id)
    else if (kind === KIND.OPEN) opened(id, records.name(), records.name())
    else if (kind === KIND.HEAD) head(id, records.number(), records.text())
    else if (kind === KIND.JOB) job(id, records.text())
    else if (kind === KIND.TURN) turn(id)
    else if (kind === KIND.TURN_OVER) turnOver(id, records.number())
    else complete(id, readOutcome(kind))
  }
}

const uncork = () => bridge.uncork()
const uncorkNextTick = () => process.nextTick(uncork)

/** @param {number} kind */
function readOutcome(kind) {
  switch (kind) {
    case KIND.RESPONSE:
      return readResponse(records)
    case KIND.VECTORS:
      return readVectors(records)
    case KIND.VALUE:
      return JSON.parse(records.text())
    case KIND.ERROR: {
      const record = JSON.parse(records.text())
      return new Failed((above) => errorFrom(record, above))
    }
    default:
      throw new Error(`llmpool: unknown record kind ${kind} from the native addon`)
  }
}

/** @param {number} id @param {unknown} outcome */
function complete(id, outcome) {
  const call = calls.get(id)
  if (call === undefined) return
  close(call)
  // Once the caller has left, that is what the call ends with, even if an answer was already on its way.
  call.settle(call.left() ?? outcome)
}

/**
 * What a call ends with whose signal has fired; null while it has not. A signal of somebody's own making may throw at
 * being read: that is its call's to hear, and nothing that the calls behind it in the batch must pay for.
 *
 * @param {AbortSignal | null} signal
 * @returns {Failed | null}
 */
function leftBy(signal) {
  try {
    if (!signal?.aborted) return null
    const { reason } = signal
    return new Failed(() => reason)
  } catch (error) {
    return new Failed(() => error)
  }
}

/** @param {number} id @param {string} provider @param {string} model */
function opened(id, provider, model) {
  const call = /** @type {import('./stream').StreamCall | undefined} */ (calls.get(id))
  call?.opened(provider, model)
}

/** @param {number} id */
function chunk(id) {
  const call =
    /** @type {import('./stream').StreamCall | import('./fetch').FetchCall | import('./analysis').AnalysisCall | undefined} */ (
      calls.get(id)
    )
  // Read in any case: the next record stands behind it.
  const piece = readChunk(records, /** @type {any} */ (call)?.provider, /** @type {any} */ (call)?.model)
  call?.push(piece)
}

/** @param {number} id @param {number} status @param {string} headers */
function head(id, status, headers) {
  const call = /** @type {import('./fetch').FetchCall | undefined} */ (calls.get(id))
  call?.head(status, JSON.parse(headers))
}

/** @param {number} id @param {string} facts */
function job(id, facts) {
  const call = /** @type {{ job(facts: any): void } | undefined} */ (/** @type {unknown} */ (calls.get(id)))
  call?.job(JSON.parse(facts))
}

/** @param {number} id */
function turn(id) {
  const facts = readTurn(records)
  const call = /** @type {import('./execute').ExecuteCall | undefined} */ (calls.get(id))
  call?.turn(facts)
}

/** @param {number} id @param {number} attempt */
function turnOver(id, attempt) {
  const call = /** @type {import('./execute').ExecuteCall | undefined} */ (calls.get(id))
  call?.over(attempt)
}

/** @param {number} poolId @param {string} type @param {string} json */
function deliver(poolId, type, json) {
  pools.get(poolId)?.deref()?.[DELIVER](type, JSON.parse(json))
}

/** @param {number} poolId @param {object} pool */
function register(poolId, pool) {
  pools.set(poolId, new WeakRef(pool))
  forgotten.register(pool, poolId)
}

exports.native = native
exports.bridge = bridge
exports.Call = Call
exports.DELIVER = DELIVER
exports.leftBy = leftBy
exports.open = open
exports.hold = hold
exports.keep = keep
exports.cancel = cancel
exports.acknowledge = acknowledge
exports.register = register
