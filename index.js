'use strict'

// The face of the pool: events, signals, iteration and error classes, as Node people expect them. Whatever decides
// something (who answers, when to retry, what a number means) is in the Rust core behind `lib/bridge.js`.

const { inspect } = require('node:util')
const { analyze, readPath } = require('./lib/analysis')
const { native, bridge, Call, DELIVER, open, register } = require('./lib/bridge')
const { PoolEmitter, TELL } = require('./lib/emitter')
const errors = require('./lib/errors')
const { ConfigurationError, Failed, InvalidRequestError, PoolClosedError, errorFrom, errorFromThrown, unwrap } = errors
const { BackgroundProcessor } = require('./lib/background')
const { answer } = require('./lib/fetch')
const { checkOptions, serve, served } = require('./lib/gateway')
const messages = require('./lib/messages')
const { Problem, findProblemIn, writeJson } = require('./lib/plain')
const { ExecuteCall } = require('./lib/execute')
const { readCall, readEmbed, readInfer, readOptions } = require('./lib/request')
const { ChatStream, StreamCall } = require('./lib/stream')

/** Events of the core. It builds one only while the pool says that somebody listens. */
const CORE_EVENTS = new Set([
  'requestSuccess',
  'requestError',
  'circuitOpen',
  'circuitHalfOpen',
  'circuitClose',
  'rateLimited',
  'healthChanged',
  'budgetWarning',
  'tenantRefused',
  'decision',
  'debug',
])

/** What the pool shows before a configuration is loaded: the core has no providers to speak of. */
const NOBODY_YET = { healthy: false, totalProviders: 0, availableProviders: 0, bestProvider: null, providers: {} }

class LLMPool extends PoolEmitter {
  static METRICS_CONTENT_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8'

  #native
  #ready = false
  #closed = false
  /** @type {Promise<unknown> | undefined} */
  #loading
  /** @type {Promise<void> | undefined} */
  #closing
  /** @type {Set<import('./lib/gateway').Gateway>} */
  #gateways = new Set()

  /** @param {unknown} options */
  constructor(options) {
    super(CORE_EVENTS, (name, wanted) => this.#native.listen(name, wanted))
    this.#native = createNative(options)
    register(this.#native.id(), this)
    // SDKs take the function alone.
    this.fetch = this.fetch.bind(this)
    Object.defineProperty(this, 'fetch', { enumerable: false })
  }

  /** @param {unknown} options @returns {Promise<any>} */
  static async create(options) {
    const pool = new this(options)
    await pool.initialize()
    return pool
  }

  // === life ===

  async initialize() {
    unwrap(this.#refusal(null))
    // Every caller gets an error of its own, with its own stack.
    unwrap(await this.#loaded())
  }

  /** Sees to it that the configuration is there or on its way: in the core, calls wait for it. */
  #load() {
    // What went wrong is told to everyone who waits for it.
    if (!this.#ready) this.#loaded().catch(() => {})
  }

  /** Loads once, whoever asks; a load that failed is not remembered. */
  #loaded() {
    this.#loading ??= this.#loadNow()
    return this.#loading
  }

  async #loadNow() {
    const outcome = await open(new Call(), (id) => this.#native.initialize(id, JSON.stringify(process.env))).outcome
    if (outcome instanceof Failed) {
      this.#loading = undefined
      return outcome
    }
    if (this.#closed) return new Failed(() => new PoolClosedError())
    this.#ready = true
    warn(outcome.warnings)
    const names = outcome.providers.map((/** @type {{ name: string }} */ provider) => provider.name)
    this[TELL]('providersUpdated', outcome.providers, { added: names, removed: [], changed: [] })
    this[TELL]('ready')
    return outcome
  }

  /** @param {{ drainTimeout?: number } | null} [options] */
  async shutdown(options) {
    const drainTimeout = readDrainTimeout(options ?? {})
    this.#closed = true
    // Each goes to the core: a later one may be less patient.
    const closing = this.#close(drainTimeout)
    if (this.#closing === undefined) this.#closing = closing.then(() => this[TELL]('shutdown'))
    await closing
    await this.#closing
  }

  /** @param {number} drainTimeout */
  async #close(drainTimeout) {
    unwrap(await open(new Call(), (id) => this.#native.shutdown(id, drainTimeout)).outcome)
    for (const gateway of this.#gateways) gateway.forget()
  }

  [Symbol.asyncDispose]() {
    return this.shutdown()
  }

  // === calls ===

  /** @param {unknown} request @param {unknown} [options] */
  async chat(request, options) {
    const { json, signal, stream } = readCall(request, options)
    unwrap(this.#refusal(signal))
    this.#load()
    if (stream) return await this.#streamFromFirstContent(json, signal)
    return unwrap(await open(new Call(signal), (id) => this.#native.chat(id, json)).outcome)
  }

  /** @param {unknown} request @param {unknown} [options] */
  stream(request, options) {
    const call = new StreamCall(this)
    try {
      const { json, signal } = readCall(request, options)
      const refused = this.#refusal(signal)
      if (refused !== null) call.settle(refused)
      else {
        this.#load()
        this.#sendStream(call, json, signal)
      }
    } catch (error) {
      // A stream reports like a promise: to whoever reads it, not to whoever asks for it.
      call.settle(new Failed(() => error))
    }
    return new ChatStream(call)
  }

  /** @param {unknown} request @param {unknown} [options] */
  async embed(request, options) {
    const { json, signal } = readEmbed(request, options)
    unwrap(this.#refusal(signal))
    this.#load()
    return unwrap(await open(new Call(signal), (id) => this.#native.embed(id, json)).outcome)
  }

  /** @param {unknown} work @param {unknown} [options] */
  async infer(work, options) {
    const { json, signal } = readInfer(work, options)
    unwrap(this.#refusal(signal))
    this.#load()
    return unwrap(await open(new Call(signal), (id) => this.#native.infer(id, json)).outcome)
  }

  /** @param {string} json @param {AbortSignal | null} signal */
  async #streamFromFirstContent(json, signal) {
    const call = new StreamCall(this)
    this.#sendStream(call, json, signal)
    if (!(await call.open)) unwrap(await call.outcome)
    return new ChatStream(call)
  }

  /** @param {StreamCall} call @param {string} json @param {AbortSignal | null} signal */
  #sendStream(call, json, signal) {
    call.signal = signal
    open(call, (id) => this.#native.stream(id, json))
  }

  /** @param {unknown} fn @param {unknown} [options] */
  async execute(fn, options) {
    if (typeof fn !== 'function') throw new InvalidRequestError(`fn: must be a function, found ${inspect(fn)}`, 'fn')
    const { json, signal } = readOptions(options)
    unwrap(this.#refusal(signal))
    this.#load()
    const call = new ExecuteCall(/** @type {any} */ (fn), signal)
    return unwrap(await open(call, (id) => this.#native.execute(id, json)).outcome)
  }

  // === jobs ===

  /** @param {any} [options] @returns {any} */
  background(options = {}) {
    const json = configurationJson(options ?? {}, 'options')
    unwrap(this.#refusal(null))
    try {
      const jobs = this.#native.background(json)
      return new BackgroundProcessor(jobs, () => (this.#ready && !this.#closed ? null : this.#takesJobs()))
    } catch (thrown) {
      throw errorFromThrown(thrown)
    }
  }

  async #takesJobs() {
    return this.#refusal(null) ?? (await this.#prepared())
  }

  // === code ===

  /** @param {string | URL} path @param {object} [options] */
  analyze(path, options) {
    return analyze(this.#native, () => this.#toAnalyze(path, options), 'project')
  }

  /** @param {string | URL} path @param {object} [options] */
  analyzeDirectory(path, options) {
    return analyze(this.#native, () => this.#toAnalyze(path, options), 'directory')
  }

  /** @param {string | URL} path @param {object} [options] */
  async analyzeFile(path, options) {
    const { files } = await analyze(this.#native, () => this.#toAnalyze(path, options), 'file').result()
    return files[0]
  }

  /** @param {string | URL} path @param {object} [options] */
  async estimateAnalysis(path, options) {
    const asked = this.#toAnalyze(path, options)
    const send = (/** @type {number} */ id) => this.#native.estimateAnalysis(id, asked.path, asked.json)
    return unwrap(await open(new Call(asked.signal), send).outcome)
  }

  /** @param {unknown} path @param {unknown} options */
  #toAnalyze(path, options) {
    const place = readPath(path, 'path')
    const { json, signal } = readOptions(options)
    unwrap(this.#refusal(signal))
    this.#load()
    return { path: place, json, signal }
  }

  // === serving it ===

  /** @param {any} [options] */
  async serve(options = {}) {
    checkOptions(options)
    unwrap(this.#refusal(null))
    unwrap(await this.#prepared())
    const gateway = await serve(this.#native, options)
    this.#gateways.add(gateway)
    gateway.onClosed = () => this.#gateways.delete(gateway)
    return gateway
  }

  /** @param {string | URL | Request} input @param {RequestInit} [init] */
  async fetch(input, init) {
    const request = new Request(input, init)
    if (request.signal.aborted) throw request.signal.reason
    // A pool that was shut down answers that it is, with a status, as a server does; one that never began cannot.
    if (!this.#ready) unwrap(this.#refusal(null))
    // How long a body may be stands in the configuration.
    if (!this.#ready) unwrap(await this.#loaded())
    request.signal.throwIfAborted()
    return answer(this.#native, request)
  }

  /** Why a call cannot be sent at all, or null. @param {AbortSignal | null} signal */
  #refusal(signal) {
    if (signal?.aborted) return new Failed(() => signal.reason)
    return this.#closed ? new Failed(() => new PoolClosedError()) : null
  }

  /** The same, once the configuration is loaded. */
  async #prepared() {
    const outcome = this.#ready ? null : await this.#loaded()
    return outcome instanceof Failed ? outcome : this.#refusal(null)
  }

  // === looking at it ===

  getPoolHealth() {
    return JSON.parse(this.#native.poolHealth()) ?? structuredClone(NOBODY_YET)
  }

  getProviderStats() {
    return JSON.parse(this.#native.providerStats()) ?? {}
  }

  getStats() {
    return JSON.parse(this.#native.stats())
  }

  /** @param {unknown} window */
  getAnalytics(window) {
    const analytics = typeof window === 'string' ? JSON.parse(this.#native.analytics(window)) : null
    if (analytics !== null) return analytics
    throw refused('window', `must be '1h', '24h' or '7d', found ${inspect(window)}`)
  }

  metrics() {
    return this.#native.metrics()
  }

  /** @param {unknown} request @param {unknown} [options] */
  explain(request, options) {
    const { json, signal } = readCall(request, options)
    unwrap(this.#refusal(signal))
    try {
      return JSON.parse(this.#native.explain(json))
    } catch (thrown) {
      throw errorFromThrown(thrown)
    }
  }

  /** @param {unknown} what @param {string | null} [model] */
  estimateTokens(what, model) {
    if (model !== undefined && model !== null && typeof model !== 'string') {
      throw new InvalidRequestError(`invalid request: model: must be a string, found ${inspect(model)}`, 'model')
    }
    if (typeof what === 'string') return this.#native.countText(what, model)
    const { json } = readCall(what)
    try {
      return this.#native.countPrompt(json, model)
    } catch (thrown) {
      throw errorFromThrown(thrown)
    }
  }

  /** @returns {ReturnType<import('./index').LLMPool['toJSON']>} */
  toJSON() {
    const state = this.#closed ? 'closed' : this.#ready ? 'ready' : 'new'
    const { providers: healths } = this.getPoolHealth()
    const providers = this.#listing().map((provider) => ({
      ...provider,
      circuitState: healths[provider.name]?.circuitState,
    }))
    return { state, providers }
  }

  /** @returns {import('./index').ProviderListing[]} */
  #listing() {
    return JSON.parse(this.#native.providers()) ?? []
  }

  /** @param {number} depth @param {import('node:util').InspectOptions} options */
  [inspect.custom](depth, options) {
    const name = this.constructor.name
    return depth < 0 ? `[${name}]` : `${name} ${inspect(this.toJSON(), options)}`
  }

  // === steering it ===

  /** @param {object} [config] */
  async reload(config) {
    const json = config === undefined ? undefined : configurationJson(config, 'config')
    unwrap(this.#refusal(null))
    unwrap(await this.#prepared())
    const env = JSON.stringify(process.env)
    this.#applied(unwrap(await open(new Call(), (id) => this.#native.reload(id, env, json)).outcome))
  }

  /** @param {object} provider */
  async addProvider(provider) {
    const json = configurationJson(provider, 'provider')
    unwrap(this.#refusal(null))
    unwrap(await this.#prepared())
    this.#applied(unwrap(await open(new Call(), (id) => this.#native.addProvider(id, json)).outcome))
  }

  async saveStats() {
    unwrap(this.#refusal(null))
    unwrap(await this.#prepared())
    unwrap(await open(new Call(), (id) => this.#native.saveStats(id)).outcome)
  }

  /** @param {string} name */
  removeProvider(name) {
    this.#applied(this.#steer(() => this.#native.removeProvider(String(name))))
  }

  /** @param {string} name @param {boolean} enabled */
  setProviderEnabled(name, enabled) {
    if (typeof enabled !== 'boolean') {
      throw refused('enabled', `must be true or false, found ${inspect(enabled)}`)
    }
    this.#applied(this.#steer(() => this.#native.setProviderEnabled(String(name), enabled)))
  }

  /** @param {string} name */
  markError(name) {
    this.#tell(this.#steer(() => this.#native.markError(String(name))))
  }

  /** @param {string} name */
  clearError(name) {
    const events = this.#steer(() => this.#native.clearError(String(name)))
    this.#tell(events ?? [])
    return events !== null
  }

  /** What the core says it did, at once. @param {() => string} change @returns {any} */
  #steer(change) {
    unwrap(this.#refusal(null))
    try {
      return JSON.parse(change())
    } catch (thrown) {
      throw errorFromThrown(thrown)
    }
  }

  /** @param {{ type: string }[]} events */
  #tell(events) {
    for (const event of events) this[DELIVER](event.type, event)
  }

  /** Tells what a change came to. @param {any} change */
  #applied(change) {
    if (change === null) return
    const { providers, added, removed, changed, warnings, config } = change
    warn(warnings)
    if (config !== null) this[TELL]('configChanged', config)
    if (added.length + removed.length + changed.length > 0) {
      this[TELL]('providersUpdated', providers, { added, removed, changed })
    }
  }

  /** @param {string} name @param {number} priority */
  setProviderPriority(name, priority) {
    if (!Number.isInteger(priority) || priority < 0 || priority > 0xffff_ffff) {
      throw refused('priority', `must be a whole number, 0 or more, found ${inspect(priority)}`)
    }
    this.#applied(this.#steer(() => this.#native.setProviderPriority(String(name), priority)))
    this[TELL]('providerPriorityChanged', { provider: name, priority })
  }

  /** @param {string} [name] */
  resetCircuitBreakers(name) {
    if (name !== undefined && !this.#listing().some((provider) => provider.name === name)) {
      throw this.#noSuchProvider(name)
    }
    const providers = this.#native.resetCircuitBreakers(name)
    this[TELL]('circuitBreakersReset', { providers })
    return providers
  }

  /** @param {unknown} name */
  #noSuchProvider(name) {
    const hint = this.#ready ? '' : '; the pool has not been initialized'
    return refused('', `no provider is named ${typeof name === 'string' ? JSON.stringify(name) : inspect(name)}${hint}`)
  }

  /** An event of the core. @param {string} type @param {any} payload */
  [DELIVER](type, payload) {
    if (type === 'reloaded') return this.#applied(payload)
    if (type === 'served') return served(payload)
    if (type === 'rejected') return this[TELL]('error', errorFrom(payload))
    const { type: _, ...event } = payload
    this[TELL](type, type === 'debug' ? event.message : event)
  }
}

/** @param {unknown} options */
function createNative(options = {}) {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw refused('options', `must be an object, found ${inspect(options)}`)
  }
  const json = findProblemIn(options) ?? writeJson(options)
  if (json instanceof Problem) throw configurationError(json)
  try {
    return new native.NativePool(bridge, json)
  } catch (thrown) {
    throw errorFromThrown(thrown)
  }
}

/** A part of a configuration on its way to the core. @param {unknown} value @param {string} what */
function configurationJson(value, what) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refused(what, `must be an object, found ${inspect(value)}`)
  }
  const json = findProblemIn(value) ?? writeJson(value)
  if (json instanceof Problem) throw configurationError(json)
  return json
}

/** How long a shutdown waits, ms. @param {any} options @returns {number} */
function readDrainTimeout(options) {
  if (typeof options !== 'object') throw refused('options', `must be an object, found ${inspect(options)}`)
  const unknown = Object.keys(options).find((name) => name !== 'drainTimeout')
  if (unknown !== undefined) throw refused(unknown, 'unknown option; did you mean "drainTimeout"?')
  const drainTimeout = options.drainTimeout ?? 5000
  if (typeof drainTimeout === 'number' && drainTimeout >= 0) return drainTimeout
  throw refused('drainTimeout', `must be milliseconds, 0 or more, found ${inspect(drainTimeout)}`)
}

/** @param {string[]} warnings */
function warn(warnings) {
  for (const warning of warnings) process.emitWarning(warning, 'LLMPoolWarning')
}

/** @param {{ path: string, message: string, cause: unknown }} problem */
function configurationError({ path, message, cause }) {
  const error = new ConfigurationError(`invalid configuration: ${path === '' ? '' : `${path}: `}${message}`, { cause })
  error.problems.push({ path, message })
  return error
}

/** @param {string} path @param {string} message */
const refused = (path, message) => configurationError({ path, message, cause: undefined })

/** What is exported is what `index.d.ts` promises. @type {typeof import('./index')} */
const face = {
  LLMPool,
  LLMPoolError: errors.LLMPoolError,
  ConfigurationError,
  InvalidRequestError,
  ProviderError: errors.ProviderError,
  RateLimitError: errors.RateLimitError,
  NoProviderError: errors.NoProviderError,
  BudgetExceededError: errors.BudgetExceededError,
  TimeoutError: errors.TimeoutError,
  StreamInterruptedError: errors.StreamInterruptedError,
  PermissionDeniedError: errors.PermissionDeniedError,
  QueueFullError: errors.QueueFullError,
  PoolClosedError,
  PROVIDERS: messages.PROVIDERS,
  MESSAGE_TYPES: messages.MESSAGE_TYPES,
  createTextMessage: messages.createTextMessage,
  createImageMessage: messages.createImageMessage,
  createMixedMessage: messages.createMixedMessage,
}

module.exports = face
