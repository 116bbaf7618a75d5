'use strict'

// Simulated providers: HTTP servers on loopback that speak OpenAI's chat wire. They know nothing of the pool; it meets
// them as it would meet the real ones.

const { createServer } = require('node:http')
const { once } = require('node:events')
const { json } = require('node:stream/consumers')
const { setTimeout: sleep } = require('node:timers/promises')

class Upstream {
  #server = createServer((request, reply) => this.#answer(request, reply))
  #served = 0
  /** While set, the allowance is used up. @type {number | null} */
  #limitedUntil = null

  /**
   * @param {object} traits
   * @param {string} traits.name
   * @param {number} traits.latencyMs
   * @param {number} [traits.allowance] calls it answers before it asks for a rest
   * @param {number} [traits.restSeconds] how long a rest it asks for
   */
  constructor({ name, latencyMs, allowance = Number.POSITIVE_INFINITY, restSeconds = 0 }) {
    this.name = name
    this.latencyMs = latencyMs
    this.allowance = allowance
    this.restSeconds = restSeconds
    this.broken = false
  }

  async listen() {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    const { port } = /** @type {import('node:net').AddressInfo} */ (this.#server.address())
    return `http://127.0.0.1:${port}/v1`
  }

  close() {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  /**
   * @param {import('node:http').IncomingMessage} request
   * @param {import('node:http').ServerResponse} reply
   */
  async #answer(request, reply) {
    const body = /** @type {any} */ (await json(request))
    await sleep(this.latencyMs)
    if (this.broken) {
      return send(reply, 500, failure('server_error', 'The server had an error while processing your request'))
    }
    if (this.#isLimited()) {
      reply.setHeader('retry-after', this.restSeconds)
      return send(reply, 429, failure('rate_limit_exceeded', `Rate limit reached for ${body.model}`))
    }
    this.#served++
    send(reply, 200, completion(body))
  }

  #isLimited() {
    const now = performance.now()
    if (this.#limitedUntil !== null && now >= this.#limitedUntil) {
      this.#limitedUntil = null
      this.#served = 0
    }
    if (this.#served >= this.allowance) this.#limitedUntil ??= now + this.restSeconds * 1000
    return this.#limitedUntil !== null
  }
}

/** @param {import('node:http').ServerResponse} reply @param {number} status @param {object} body */
function send(reply, status, body) {
  reply.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** @param {string} code @param {string} message */
function failure(code, message) {
  return { error: { message, type: code, param: null, code } }
}

/** @param {{ model: string, messages: { content: string }[] }} body */
function completion({ model, messages }) {
  const question = messages[messages.length - 1].content
  const content = `A simulated answer to: ${question}`
  const prompt = tokens(messages.map((message) => message.content).join(' '))
  const completed = tokens(content) + 200
  return {
    id: 'chatcmpl-simulated',
    object: 'chat.completion',
    created: Math.floor(Date.now() / 1000),
    model,
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
    usage: { prompt_tokens: prompt, completion_tokens: completed, total_tokens: prompt + completed },
  }
}

/** About four characters each; the demo needs numbers, not the right ones. @param {string} text */
function tokens(text) {
  return Math.ceil(text.length / 4)
}

/** The entry of an upstream in a pool's configuration. @param {Upstream} upstream @param {number} priority */
async function providerOf(upstream, priority) {
  return {
    name: upstream.name,
    type: /** @type {const} */ ('openai-compatible'),
    base_url: await upstream.listen(),
    api_key: 'simulated',
    model: `${upstream.name}-1`,
    priority,
  }
}

exports.Upstream = Upstream
exports.providerOf = providerOf
