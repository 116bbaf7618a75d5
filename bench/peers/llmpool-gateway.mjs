// This package as a gateway: `llmpool serve` in a process of its own, asked with undici. What the gateway uses is part of
// what a call costs.

import { once } from 'node:events'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { MODEL } from '../exchange.mjs'
import { open as openUndici } from './undici.mjs'

export const entry = null
export const version = createRequire(import.meta.url)('../../package.json').version

const PROGRAM = fileURLToPath(new URL('../../bin/llmpool.js', import.meta.url))

export async function open({ origin, apiKey, ...rest }) {
  const folder = mkdtempSync(path.join(tmpdir(), 'bench-'))
  const config = path.join(folder, 'config.json')
  writeFileSync(
    config,
    JSON.stringify({
      providers: [{ name: 'upstream', type: 'openai', model: MODEL, api_key: apiKey, base_url: `${origin}/v1` }],
      server: { http: '127.0.0.1:0' },
    }),
  )
  const gateway = spawn(process.execPath, [PROGRAM, 'serve', '--config', config], {
    // One line of its log per request goes to nobody, as to a file.
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  process.on('exit', () => gateway.kill('SIGKILL'))
  const url = await urlOf(gateway)
  const client = await openUndici({ ...rest, apiKey, origins: [url] })
  return {
    chat: client.chat,
    pids: [gateway.pid],
    async close() {
      await client.close()
      gateway.kill('SIGTERM')
      await once(gateway, 'exit')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** It says where it listens. */
function urlOf(gateway) {
  return new Promise((resolve, reject) => {
    let said = ''
    gateway.stderr.on('data', (part) => {
      said += part
      const url = /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0]
      if (url) resolve(url)
    })
    gateway.on('exit', () => reject(new Error(`the gateway ended and said ${JSON.stringify(said.slice(0, 200))}`)))
  })
}
