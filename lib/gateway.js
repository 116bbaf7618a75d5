'use strict'

// `pool.serve()`: what JavaScript holds of a server that runs in the core. It keeps the process alive until it is closed.

const { inspect } = require('node:util')
const { Call, hold, open } = require('./bridge')
const { ConfigurationError, unwrap } = require('./errors')

/** Servers by number, for the lines of their logs. @type {Map<number, Gateway>} */
const gateways = new Map()

class Gateway {
  #native
  #server
  #release = hold()
  /** @type {Promise<unknown> | undefined} */
  #closing

  /**
   * @param {any} native
   * @param {{ server: number, address: string, grpcAddress: string | null, needsKey: boolean, tls: boolean }} serving
   * @param {((entry: any) => void) | undefined} onRequest
   */
  constructor(native, { server, address, grpcAddress, needsKey, tls }, onRequest) {
    /** @type {() => void} */
    this.onClosed = () => {}
    this.#native = native
    this.#server = server
    this.address = address
    const scheme = tls ? 'https' : 'http'
    this.url = `${scheme}://${address}`
    this.grpcAddress = grpcAddress
    this.grpcUrl = grpcAddress === null ? null : `${scheme}://${grpcAddress}`
    this.needsKey = needsKey
    this.onRequest = onRequest
    for (const own of ['onRequest', 'onClosed']) Object.defineProperty(this, own, { enumerable: false })
    gateways.set(server, this)
  }

  /** @param {{ drainTimeout?: number } | null} [options] */
  async close(options) {
    const drainTimeout = options?.drainTimeout
    if (drainTimeout !== undefined && (typeof drainTimeout !== 'number' || !(drainTimeout >= 0))) {
      throw new ConfigurationError(`drainTimeout: must be milliseconds, 0 or more, found ${inspect(drainTimeout)}`)
    }
    // Each goes to the core: a later one may be less patient.
    const closing = open(new Call(), (id) => this.#native.closeServer(id, this.#server, drainTimeout)).outcome
    this.#closing ??= closing
    await closing
    unwrap(await this.#closing)
    this.forget()
  }

  /** It is closed. */
  forget() {
    gateways.delete(this.#server)
    this.#release()
    this.onClosed()
  }

  [Symbol.asyncDispose]() {
    return this.close()
  }
}

/** @param {any} options */
function checkOptions(options) {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new ConfigurationError(`options: must be an object, found ${inspect(options)}`)
  }
  const { onRequest } = options
  if (onRequest !== undefined && typeof onRequest !== 'function') {
    throw new ConfigurationError(`onRequest: must be a function, found ${inspect(onRequest)}`)
  }
}

/** @param {any} native @param {any} options */
async function serve(native, options) {
  const { onRequest, ...rest } = options
  const json = JSON.stringify({ ...rest, log: onRequest !== undefined })
  const serving = unwrap(await open(new Call(), (id) => native.serve(id, json)).outcome)
  return new Gateway(native, serving, onRequest)
}

/** A line of a log. @param {{ server: number, entry: any }} line */
function served({ server, entry }) {
  const onRequest = gateways.get(server)?.onRequest
  if (onRequest === undefined) return
  try {
    onRequest(entry)
  } catch (error) {
    // The listener's problem, and nobody else's.
    process.nextTick(() => {
      throw error
    })
  }
}

exports.Gateway = Gateway
exports.checkOptions = checkOptions
exports.serve = serve
exports.served = served
