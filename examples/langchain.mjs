// LangChain over a pool, without a socket in between: npm install @langchain/openai @langchain/core
import { ChatOpenAI } from '@langchain/openai'
import { LLMPool } from 'llmpool'

const pool = await LLMPool.create({ configPath: process.argv[2] ?? 'config.json' })
const model = new ChatOpenAI({
  model: 'auto', // every provider with its own model
  apiKey: 'unused',
  maxRetries: 0, // the pool has tried what there was
  configuration: { baseURL: 'http://llmpool.local/v1', fetch: pool.fetch },
})

for await (const { content } of await model.stream('Where is it cold?')) process.stdout.write(content)
process.stdout.write('\n')

await pool.shutdown()
