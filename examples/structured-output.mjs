// An answer that fits a schema: OPENAI_API_KEY=… node examples/structured-output.mjs

import { LLMPool } from 'llmpool'
import { config } from './openai-config.mjs'

const pool = await LLMPool.create({ config })
const { parsed, provider } = await pool.chat({
  messages: [{ role: 'user', content: 'Name the coldest capital of Europe and its mean temperature in January.' }],
  response_format: {
    type: 'json_schema',
    json_schema: {
      name: 'capital',
      strict: true,
      schema: {
        type: 'object',
        properties: { city: { type: 'string' }, celsius: { type: 'number' } },
        required: ['city', 'celsius'],
        additionalProperties: false,
      },
    },
  },
})
console.log(`${provider} says: ${parsed.city} at ${parsed.celsius} °C`)
await pool.shutdown()
