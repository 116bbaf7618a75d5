'use strict'

// A simulated model that describes code: an HTTP server on loopback that speaks OpenAI's chat wire. It finds names by
// patterns where a real one would read, and answers badly or by half now and then, as real ones do.

const { createServer } = require('node:http')
const { once } = require('node:events')
const { json } = require('node:stream/consumers')

/** Every so many answers one is no good, and another one is cut off. */
const BAD_EVERY = 7
const CUT_EVERY = 11

class Analyst {
  #server = createServer((request, reply) => this.#answer(request, reply))
  /** What was asked for, by the first line of each prompt. @type {string[]} */
  asked = []
  bad = 0

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
    const { model, messages, response_format } = /** @type {any} */ (await json(request))
    const prompt = messages.at(-1).content
    const whole = JSON.stringify(describe(response_format.json_schema.name, prompt))
    this.asked.push(prompt.split('\n', 1)[0])
    const number = this.asked.length
    let [content, finish_reason] = [whole, 'stop']
    if (number % BAD_EVERY === 0) content = '{"summary": "I forgot the rest."}'
    else if (number % CUT_EVERY === 0) [content, finish_reason] = [whole.slice(0, whole.length >> 1), 'length']
    if (content !== whole) this.bad++
    const tokens = (/** @type {string} */ text) => Math.ceil(text.length / 4)
    const [prompt_tokens, completion_tokens] = [tokens(prompt), tokens(content)]
    reply.writeHead(200, { 'content-type': 'application/json' }).end(
      JSON.stringify({
        id: 'chatcmpl-simulated',
        object: 'chat.completion',
        created: Math.floor(Date.now() / 1000),
        model,
        choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason }],
        usage: { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
      }),
    )
  }
}

/** @param {string} shape @param {string} prompt */
function describe(shape, prompt) {
  const subject = prompt.split('\n', 1)[0].replace(/^\w+: /, '')
  const material = prompt.slice(prompt.indexOf('>\n') + 2, prompt.lastIndexOf('</material'))
  if (shape === 'file_analysis') return describeFile(subject, material)
  const children = material.split('\n').filter(Boolean).map(parsed)
  const interfaces = children.flatMap((child) => child.publicInterfaces ?? []).slice(0, 5)
  const names = children.map((child) => child.file ?? child.directory ?? 'a part')
  const summary = `A simulated description of ${subject}: ${names.length} parts, ${interfaces.length} interfaces shown.`
  if (shape === 'directory_analysis') {
    const keyComponents = names.slice(0, 5).map((name) => ({ name, description: 'A simulated component.' }))
    return { summary, keyComponents, publicInterfaces: interfaces }
  }
  return {
    overview: summary,
    architecture: 'A simulated architecture: every part stands on those described before it.',
    coreTechnologies: ['JavaScript'],
    mainInterfaces: interfaces,
    risks: ['Nobody has read this code: the model is simulated.'],
  }
}

/** @param {string} path @param {string} text */
function describeFile(path, text) {
  const all = (/** @type {RegExp} */ pattern) => [...new Set([...text.matchAll(pattern)].map(([, name]) => name))]
  const names = [
    ...all(/^exports\.(\w+) =/gm),
    ...all(/^(?:export|pub) (?:async )?(?:function|class|fn|struct) (\w+)/gm),
  ]
  return {
    type: /test/.test(path) ? 'test' : 'source',
    summary: `A simulated description of ${path}: ${text.split('\n').length} lines, ${names.length} exports.`,
    externalDependencies: all(/(?:require\(|from )'([^'.][^']*)'/g),
    publicInterfaces: names.map((name) => ({
      name,
      kind: /^[A-Z][a-z]/.test(name) ? 'struct' : 'function',
      description: 'A simulated description.',
    })),
  }
}

/** @param {string} line */
function parsed(line) {
  try {
    return JSON.parse(line)
  } catch {
    return {}
  }
}

exports.Analyst = Analyst
