// Child processes of the bench: where they run, what they inherit, how they are heard.

import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Would change what a peer does (a proxy, a debugger, certificates, an allocator's habits), and not alike for all. */
const NOT_INHERITED =
  /^(https?_proxy|all_proxy|no_proxy|node_.*|ssl_cert_.*|openai_.*|uv_.*|napi_.*|rust_.*|malloc_.*)$/i

const environment = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !NOT_INHERITED.test(name))),
  // Whose certificate the upstream shows where a case is about TLS.
  NODE_EXTRA_CA_CERTS: fileURLToPath(new URL('../__test__/fixtures/tls/ca.pem', import.meta.url)),
}

/**
 * One core for the upstream and one for the clients: the two never compete, and every client has exactly one core
 * whatever its number of threads. `null` where that cannot be had.
 */
export function choosePins() {
  if (process.platform !== 'linux' || spawnSync('taskset', ['--version']).status !== 0) return null
  const cores = allowedCores()
  return cores.length < 2 ? null : { upstream: cores[0], clients: cores[1] }
}

/** The cores this process may use: in a container they need not start at 0. */
function allowedCores() {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? ''
  return list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, offset) => first + offset)
  })
}

/** A child that reports by messages. */
export class Child {
  #name
  #process
  #heard = []
  #waiting = null
  #ended = null

  /** @param {string} script file beside this one @param {string[]} args @param {number} [core] */
  constructor(script, args = [], core) {
    this.#name = script
    const command = [process.execPath, fileURLToPath(new URL(script, import.meta.url)), ...args]
    if (core !== undefined) command.unshift('taskset', '-c', String(core))
    this.#process = spawn(command[0], command.slice(1), {
      env: environment,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#process.on('message', (message) => {
      this.#heard.push(message)
      this.#wake()
    })
    this.#process.on('error', (error) => this.#end(`did not start: ${error.message}`))
    // `close`, not `exit`: what it said last is read before.
    this.#process.on('close', (code, signal) => this.#end(`ended early (${signal ?? `exit code ${code}`})`))
  }

  /** The next message, which must be of this type. */
  async next(type, withinMillis = 30_000) {
    const timer = setTimeout(() => {
      this.#end(`said nothing for ${withinMillis / 1000} s`)
      this.stop()
    }, withinMillis)
    try {
      while (this.#heard.length === 0) {
        if (this.#ended) throw new Error(this.#ended)
        await new Promise((resolve) => {
          this.#waiting = resolve
        })
      }
    } finally {
      clearTimeout(timer)
    }
    const message = this.#heard.shift()
    if (message.type === 'failed') throw new Error(message.reason)
    if (message.type !== type) throw new Error(`${this.#name} said ${message.type} where ${type} was expected`)
    return message
  }

  async ask(message) {
    this.#process.send(message)
    return this.next(message.type)
  }

  /** Waits for it to end by itself, for a moment: an open socket must not hold up the bench. */
  async ended(withinMillis = 5000) {
    const timer = setTimeout(() => this.stop(), withinMillis)
    while (!this.#ended) {
      await new Promise((resolve) => {
        this.#waiting = resolve
      })
    }
    clearTimeout(timer)
  }

  stop() {
    this.#process.kill('SIGKILL')
  }

  #end(reason) {
    this.#ended ??= `${this.#name} ${reason}`
    this.#wake()
  }

  #wake() {
    this.#waiting?.()
    this.#waiting = null
  }
}
