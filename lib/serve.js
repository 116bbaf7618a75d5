'use strict'

// `llmpool serve`: a pool on a port until somebody ends the process. What it does is told as lines of JSON on stdout, and
// to people on stderr.

const { version } = require('../package.json')

/** Events of the pool that an operator wants to read. */
const TOLD = [
  'circuitOpen',
  'circuitHalfOpen',
  'circuitClose',
  'healthChanged',
  'rateLimited',
  'budgetWarning',
  'tenantRefused',
  'providersUpdated',
]

/**
 * @param {{ config: string, http?: string, grpc?: string | null, insecure: boolean, quiet: boolean, statsFile?: string }} options
 * @returns {Promise<void>} when it has ended in good order
 */
async function serve({ config, http, grpc, insecure, quiet, statsFile }) {
  const { LLMPool } = require('../index.js')
  const pool = new LLMPool({ configPath: config, ...(statsFile === undefined ? {} : { statsFile }) })
  const log = quiet ? () => {} : writeLine
  goOnUnread()
  // Until the very end: nobody's hearing it would end the process, and the requests that are waited for with it.
  let closing = false
  const reload = () => {
    // What is wrong with it is told as `error`, and what was in force stays.
    if (!closing) pool.reload().catch((error) => pool.emit('error', error))
  }
  try {
    pool.on('error', (/** @type {any} */ error) => log('error', { message: error.message }))
    await pool.initialize()
    for (const name of TOLD) {
      pool.on(/** @type {any} */ (name), (/** @type {any} */ payload, /** @type {any} */ more) =>
        log(name, more ?? payload),
      )
    }
    pool.on('configChanged', () => log('configChanged', { version: pool.getStats().configVersion }))
    process.on('SIGHUP', reload)
    const gateway = await pool.serve({
      ...(http === undefined ? {} : { http }),
      ...(grpc === undefined ? {} : { grpc }),
      ...(insecure ? { insecure } : {}),
      ...(quiet ? {} : { onRequest: ({ time, ...entry }) => log('request', entry, time) }),
    })
    process.stderr.write(greeting(gateway, Object.keys(pool.getProviderStats())))
    await ended()
    closing = true
    log('closing', {})
    // The second signal is for those who do not want to wait.
    const forced = new AbortController()
    const force = () => {
      forced.abort()
      gateway.close({ drainTimeout: 0 })
    }
    for (const signal of ENDING) process.once(signal, force)
    await gateway.close()
    for (const signal of ENDING) process.off(signal, force)
  } finally {
    await pool.shutdown({ drainTimeout: 0 })
    process.off('SIGHUP', reload)
  }
}

const ENDING = /** @type {const} */ (['SIGTERM', 'SIGINT'])

/** Until a signal ends it. */
function ended() {
  return new Promise((resolve) => {
    const end = () => {
      for (const signal of ENDING) process.off(signal, end)
      resolve(undefined)
    }
    for (const signal of ENDING) process.on(signal, end)
  })
}

/** A log that nobody reads any more is no reason to leave the callers. */
function goOnUnread() {
  process.stdout.removeAllListeners('error')
  let told = false
  process.stdout.on('error', ({ message }) => {
    if (!told) process.stderr.write(`llmpool: stdout: ${message}; serves on without its log\n`)
    told = true
  })
  // Where that is gone as well, nothing is left to say it to.
  process.stderr.on('error', () => {})
}

/** @param {string} event @param {object} fields @param {number} [time] */
function writeLine(event, fields, time = Date.now()) {
  process.stdout.write(`${JSON.stringify({ time: new Date(time).toISOString(), event, ...fields })}\n`)
}

/** @param {import('../index').Gateway} gateway @param {string[]} providers */
function greeting({ url, grpcAddress, needsKey }, providers) {
  const here = url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:')
  const body = JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }] })
  const key = needsKey ? ` -H "authorization: Bearer $LLMPOOL_KEY"` : ''
  return [
    `llmpool ${version} serves ${providers.join(', ')}`,
    `  OpenAI's API:    ${here}/v1`,
    `  Anthropic's API: ${here}`,
    ...(grpcAddress === null ? [] : [`  gRPC:            ${grpcAddress}`]),
    `  health, metrics: ${here}/health, ${here}/metrics`,
    needsKey ? '  callers need a key, a token or a signature: docs/security.md' : '  everybody who reaches it may call',
    '',
    needsKey ? 'Try it, with a key in LLMPOOL_KEY (export LLMPOOL_KEY=<one of server.api_keys>):' : 'Try it:',
    `  curl ${here}/v1/chat/completions${key} -H 'content-type: application/json' -d '${body}'`,
    '',
  ].join('\n')
}

exports.serve = serve
