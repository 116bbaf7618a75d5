// Pools for tests: opened over loopback upstreams, shut down with the test.

import assert from 'node:assert/strict'
import { LLMPool } from '../../index.mjs'

// A proxy or root of the machine that runs the tests must not decide what they see.
for (const name of [
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'ALL_PROXY',
  'NO_PROXY',
  'http_proxy',
  'https_proxy',
  'all_proxy',
  'no_proxy',
  'NODE_EXTRA_CA_CERTS',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
])
  delete process.env[name]

/** A user's message, the shortest good request. */
export const ask = (text = 'ping') => [{ role: 'user', content: text }]

/** One provider of a config, at the prices of the catalogue, answered by `upstream`. */
export function provider(name, upstream, more = {}) {
  const { type = 'openai' } = more
  return { name, type, api_key: `key-of-${name}`, base_url: upstream.base, model: 'gpt-4o', ...more }
}

/** Providers in this order of preference. */
export const inOrder = (...providers) => providers.map((each, index) => ({ priority: index + 1, ...each }))

/** A pool over these providers, not yet initialized. Backoff is 1 ms, so that a retry is a fact and not a wait. */
export function poolOf(t, providers, { config = {}, ...options } = {}) {
  const pool = new LLMPool({ config: { providers, ...config }, retryDelay: 1, ...options })
  t.after(() => pool.shutdown({ drainTimeout: 0 }))
  return pool
}

/** The same, ready. */
export async function openPool(t, providers, options) {
  const pool = poolOf(t, providers, options)
  await pool.initialize()
  return pool
}

/** What these events said, in order, as `[name, payload]`. */
export function record(pool, ...names) {
  const seen = []
  for (const name of names) pool.on(name, (payload) => seen.push([name, payload]))
  return seen
}

/** The rejection of this promise; fails if it fulfils. */
export async function rejection(promise) {
  let value
  try {
    value = await promise
  } catch (error) {
    return error
  }
  assert.fail(`expected a rejection, got ${JSON.stringify(value)?.slice(0, 300)}`)
}

/** `provider:outcome` of every line of a trail. */
export const trail = (answerOrError) =>
  answerOrError.attempts.map((attempt) => `${attempt.provider}:${attempt.outcome}`)

/** Consumes a stream: everything it gave, then how it ended. */
export async function drain(stream) {
  const chunks = []
  try {
    for await (const each of stream) chunks.push(each)
    return { chunks, text: chunks.map((each) => each.delta).join('') }
  } catch (error) {
    return { chunks, text: chunks.map((each) => each.delta).join(''), error }
  }
}

/** What a StreamInterruptedError says was delivered. */
export const partialText = (error) => (typeof error.partial === 'string' ? error.partial : error.partial?.content)
