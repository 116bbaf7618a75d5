// This package as a user has it: every policy at its default, nobody listening to events.

import { createRequire } from 'node:module'
import { MODEL } from '../exchange.mjs'

const require = createRequire(import.meta.url)
const { LLMPool } = require('../../index.js')

export const entry = '../index.js'
export const version = require('../../package.json').version

export async function open({ origins, row, apiKey }) {
  const providers = origins.map((origin, at) => ({
    name: `upstream-${at + 1}`,
    type: 'openai',
    model: MODEL,
    priority: at + 1,
    api_key: apiKey,
    base_url: `${origin}/v1`,
  }))
  const cache = row.needs === 'cache' ? { enabled: true } : undefined
  const pool = await LLMPool.create({ config: { providers, cache } })
  const options = row.needs === 'votes' ? { strategy: 'VOTING' } : undefined
  return {
    async chat(request) {
      const answer = await pool.chat(request, options)
      return answer.content
    },
    async stream(request, first) {
      let text = ''
      for await (const { delta } of pool.stream(request)) {
        if (text === '' && delta !== '') first()
        text += delta
      }
      return text
    },
    close: () => pool.shutdown(),
  }
}
