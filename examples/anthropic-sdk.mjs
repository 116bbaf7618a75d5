// The official client of Anthropic over a pool: providers of every type answer it.
import Anthropic from '@anthropic-ai/sdk'
import { LLMPool } from 'llmpool'

const pool = await LLMPool.create({ configPath: process.argv[2] ?? 'config.json' })
const anthropic = new Anthropic({ apiKey: 'unused', baseURL: 'http://llmpool.local', fetch: pool.fetch })

const message = await anthropic.messages.create({
  model: 'auto',
  max_tokens: 200,
  messages: [{ role: 'user', content: 'Where is it cold?' }],
})
for (const block of message.content) if (block.type === 'text') console.log(block.text)

await pool.shutdown()
