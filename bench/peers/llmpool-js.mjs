// The npm package `llmpool` as it was before this one: JavaScript over axios.

import { createRequire } from 'node:module'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

const require = createRequire(import.meta.url)

export const entry = 'llmpool-js'
export const version = require('llmpool-js/package.json').version

// It tells the console about every call, which would cost it more than the call.
console.log = () => {}

export async function open({ origins, apiKey }) {
  const { LLMPool } = require('llmpool-js')
  const folder = mkdtempSync(path.join(tmpdir(), 'bench-'))
  const configPath = path.join(folder, 'config.json')
  const providers = origins.map((origin, at) => ({
    name: `upstream-${at + 1}`,
    type: 'openai',
    api_key: apiKey,
    base_url: `${origin}/v1`,
    model: 'gpt-4o-mini',
    priority: at + 1,
    // It counts requests and not what is left of them: a limit would end the run.
    requests_per_minute: 1e9,
    requests_per_day: 1e9,
  }))
  // It writes a file of statistics to where it is.
  process.chdir(folder)
  writeFileSync(configPath, JSON.stringify({ providers }))
  const pool = new LLMPool({ configPath })
  pool.on('error', () => {})
  await pool.initialize()
  return {
    chat: async ({ messages }) => (await pool.chat({ messages })).content,
    async close() {
      await pool.shutdown()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
