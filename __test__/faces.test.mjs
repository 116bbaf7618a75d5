// One engine, two faces: the same story told to the JavaScript pool and to the Rust library leaves the same trail.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
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

describe('Integration: both faces', () => {
  it('give equal attempts for the same story', roomy, async (t) => {
    const { providers, ...config } = await story(t)
    const pool = await openPool(t, providers, { config })
    const fromJs = []
    for (let call = 0; call < CALLS; call++) {
      const { value, error } = await settled(pool.chat(ask('Where is it cold?')))
      fromJs.push(told((value ?? error).attempts))
    }

    const file = join(folder(t), 'config.json')
    writeFileSync(file, JSON.stringify(await story(t)))
    const cargo = ['run', '--quiet', ...cargoTarget(), '--example', 'attempts', '--', file, `${CALLS}`]
    const { stdout } = await promisify(execFile)('cargo', cargo, { cwd: ROOT })
    const fromRust = stdout
      .trim()
      .split('\n')
      .map((line) => told(JSON.parse(line)))

    assert.ok(fromJs.flat().some((line) => line.outcome === 'failure'))
    assert.deepEqual(fromRust, fromJs)
  })
})
