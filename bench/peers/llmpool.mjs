// This package as a user has it: one provider, every policy at its default, nobody listening to events.

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { LLMPool } = require('../../index.js')

export const entry = '../index.js'
export const version = require('../../package.json').version

export async function open({ origin, apiKey }) {
  const pool = await LLMPool.create({
    config: {
      providers: [
        { name: 'upstream', type: 'openai', model: 'gpt-4o-mini', api_key: apiKey, base_url: `${origin}/v1` },
      ],
    },
  })
  return {
    async chat(request) {
      const answer = await pool.chat(request)
      return answer.content
    },
    close: () => pool.shutdown(),
  }
}
