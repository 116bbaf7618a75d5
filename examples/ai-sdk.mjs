// Vercel's AI SDK over a pool, without a socket in between: npm install ai @ai-sdk/openai-compatible
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { streamText } from 'ai'
import { LLMPool } from 'llmpool'

const pool = await LLMPool.create({ configPath: process.argv[2] ?? 'config.json' })
const llmpool = createOpenAICompatible({
  name: 'llmpool',
  baseURL: 'http://llmpool.local/v1',
  fetch: pool.fetch,
  includeUsage: true,
  supportsStructuredOutputs: true,
})

const { textStream, usage } = streamText({
  model: llmpool('auto'), // every provider with its own model
  prompt: 'Where is it cold?',
  maxRetries: 0, // the pool has tried what there was
  onError: ({ error }) => console.error(error),
})
for await (const text of textStream) process.stdout.write(text)
process.stdout.write(`\n${(await usage).totalTokens} tokens\n`)

await pool.shutdown()
