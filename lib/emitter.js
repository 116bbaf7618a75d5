'use strict'

// An emitter as the pool needs it: it tells the core what is listened to, so that nothing else is built; a listener that
// throws harms nobody; and `error` without a listener ends no process.

const { EventEmitter } = require('node:events')

/** Emits on behalf of the pool. */
const TELL = Symbol('tell')

/** @typedef {(...args: any[]) => void} Listener */

/** @extends {EventEmitter<import('../index').PoolEvents>} */
class PoolEmitter extends EventEmitter {
  #kinds
  #onInterest
  /** Kinds that somebody listens to. @type {Set<string>} */
  #wanted = new Set()

  /**
   * @param {Set<string>} kinds events whose source wants to know whether anybody listens
   * @param {(name: string, wanted: boolean) => void} onInterest is told whenever that changes
   */
  constructor(kinds, onInterest) {
    super()
    this.#kinds = kinds
    this.#onInterest = onInterest
  }

  // Every way to add or remove a listener ends in one of these; `once` and its siblings call them. The emitter's own
  // `newListener` event would not do: `removeAllListeners()` removes its listeners too.

  /** @param {any} name @param {Listener} listener */
  on(name, listener) {
    return this.addListener(name, listener)
  }

  /** @param {any} name @param {Listener} listener */
  addListener(name, listener) {
    super.addListener(name, listener)
    return this.#changed(name)
  }

  /** @param {any} name @param {Listener} listener */
  prependListener(name, listener) {
    super.prependListener(name, listener)
    return this.#changed(name)
  }

  /** @param {any} name @param {Listener} listener */
  off(name, listener) {
    return this.removeListener(name, listener)
  }

  /** @param {any} name @param {Listener} listener */
  removeListener(name, listener) {
    super.removeListener(name, listener)
    return this.#changed(name)
  }

  /** @param {any} [name] */
  removeAllListeners(name) {
    if (name === undefined) super.removeAllListeners()
    else super.removeAllListeners(name)
    for (const wanted of [...this.#wanted]) this.#changed(wanted)
    return this
  }

  /** @param {any} name */
  #changed(name) {
    const wanted = this.listenerCount(name) > 0
    if (this.#kinds.has(name) && wanted !== this.#wanted.has(name)) {
      if (wanted) this.#wanted.add(name)
      else this.#wanted.delete(name)
      this.#onInterest(name, wanted)
    }
    return this
  }

  /** @param {any} name @param {any[]} args */
  emit(name, ...args) {
    if (name !== 'error' || this.listenerCount('error') > 0) return super.emit(name, ...args)
    // What fails in the background must not end a process that did not ask to hear of it.
    process.emitWarning(args[0] instanceof Error ? args[0] : String(args[0]))
    return false
  }

  /**
   * Emits so that a listener that throws reaches neither the call it was told of nor the next listener. Its exception
   * is thrown where nothing of ours is on the stack, and is then the process's business like that of any emitter.
   *
   * @param {string} name
   * @param {any[]} args
   */
  [TELL](name, ...args) {
    // What fails in the background must not end a process that did not ask to hear of it.
    if (name === 'error' && this.listenerCount('error') === 0) process.emitWarning(args[0])
    for (const listener of this.rawListeners(name)) {
      try {
        Reflect.apply(listener, this, args)
      } catch (error) {
        process.nextTick(() => {
          throw error
        })
      }
    }
  }
}

exports.PoolEmitter = PoolEmitter
exports.TELL = TELL
