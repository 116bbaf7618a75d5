// One engine, two faces: the same story told to the JavaScript pool and to the Rust library leaves the same trail.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { cargoTarget, ROOT } from '../scripts/shared.mjs'
import { folder } from './support/child.mjs'
import { ask, inOrder, openPool, provider } from './support/pool.mjs'
import { ok, resetBeforeBytes, status, Upstream } from './support/upstream.mjs'
import { roomy, settled } from './support/wait.mjs'

const CALLS = 6

/** Upstreams that answer, fail, limit and break in the same order every time they are made. */
async function story(t) {
  const a = await Upstream.start(t, status(500))
  a.next(ok(), status(500), status(429, undefined, { 'retry-after': '0' }), resetBeforeBytes())
  const b = await Upstream.start(t, ok())
  b.next(status(503), status(401), ok())
  const c = await Upstream.start(t, ok())
  const providers = inOrder(
    provider('a', a, { circuit_breaker_threshold: 2 }),
    provider('b', b, { api_keys: ['first', 'second'], api_key: undefined }),
    provider('c', c, { requests_per_minute: 2 }),
  )
  return { providers: JSON.parse(JSON.stringify(providers)), routing: { seed: 7, max_retries: 1, retry_delay_ms: 1 } }
}

/** What of a trail does not depend on the clock. */
const told = (attempts) => attempts.map(({ latencyMs: _, waitedMs: __, ...line }) => line)

/** The trails of so many calls of the Rust library. */
async function fromRust(t, ...how) {
  const file = join(folder(t), 'config.json')
  writeFileSync(file, JSON.stringify(await story(t)))
  const cargo = ['run', '--quiet', ...cargoTarget(), '--example', 'attempts', '--', file, `${CALLS}`, ...how]
  const { stdout } = await promisify(execFile)('cargo', cargo, { cwd: ROOT })
  const lines = stdout.trim().split('\n')
  return lines.map((line) => told(JSON.parse(line)))
}

/** One request over a connection of its own, which fails as an SDK's would. */
const post = ({ baseURL, apiKey }) =>
  new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${apiKey}` }
    const sent = request(`${baseURL}/chat/completions`, { method: 'POST', headers, agent: false }, async (reply) => {
      const body = (await reply.toArray()).join('')
      if (reply.statusCode === 200) return resolve(body)
      const { statusCode, headers } = reply
      reject(Object.assign(new Error(`${statusCode}`), { status: statusCode, headers, error: JSON.parse(body) }))
    })
    sent.on('error', reject).end('{}')
  })

describe('Integration: both faces', () => {
  it('give equal attempts for the same story', roomy, async (t) => {
    const { providers, ...config } = await story(t)
    const pool = await openPool(t, providers, { config })
    const fromJs = []
    for (let call = 0; call < CALLS; call++) {
      const { value, error } = await settled(pool.chat(ask('Where is it cold?')))
      fromJs.push(told((value ?? error).attempts))
    }

    assert.ok(fromJs.flat().some((line) => line.outcome === 'failure'))
    assert.deepEqual(await fromRust(t), fromJs)
  })

  it('ask the same of a function of your own', roomy, async (t) => {
    const { providers, ...config } = await story(t)
    const pool = await openPool(t, providers, { config })
    const turns = []
    const trails = []
    for (let call = 0; call < CALLS; call++) {
      turns.push([])
      const own = (turn) => {
        turns[call].push(turn.provider)
        return post(turn)
      }
      const { error } = await settled(pool.execute(own))
      trails.push(error === undefined ? 'answered' : told(error.attempts))
    }

    const rust = await fromRust(t, 'execute')
    const sent = (trail) => trail.filter((line) => line.outcome === 'success' || line.outcome === 'failure')
    const answered = (trail) => trail.at(-1).outcome === 'success'
    assert.ok(rust.flat().some((line) => line.errorClass === 'network'))
    assert.deepEqual(
      rust.map((trail) => sent(trail).map((line) => line.provider)),
      turns,
    )
    assert.deepEqual(
      rust.map((trail) => (answered(trail) ? 'answered' : trail)),
      trails,
    )
  })
})
