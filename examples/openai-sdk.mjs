// The official client of OpenAI over a pool: the same code, whoever answers, and no socket in between.
import OpenAI from 'openai'
import { LLMPool } from 'llmpool'

const pool = await LLMPool.create({ configPath: process.argv[2] ?? 'config.json' })
const openai = new OpenAI({ apiKey: 'unused', baseURL: 'http://llmpool.local/v1', fetch: pool.fetch })

const stream = await openai.chat.completions.create({
  model: 'auto', // every provider with its own model
  messages: [{ role: 'user', content: 'Where is it cold?' }],
  stream: true,
})
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? '')
process.stdout.write('\n')

await pool.shutdown()
