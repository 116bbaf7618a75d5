// Serves a pool, and asks it by fetch, as any program could. See `docs/gateway.md` for SDKs and coding agents.
import { LLMPool } from 'llmpool'

const pool = await LLMPool.create({ configPath: process.argv[2] ?? 'config.json' })
const gateway = await pool.serve({ http: '127.0.0.1:0', apiKeys: ['my-key'] })

const response = await fetch(`${gateway.url}/v1/chat/completions`, {
  method: 'POST',
  headers: { 'content-type': 'application/json', authorization: 'Bearer my-key' },
  body: JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Where is it cold?' }] }),
})
const { choices } = await response.json()
console.log(choices[0].message.content)
console.log(`answered by ${response.headers.get('x-llmpool-provider')}`)

await pool.shutdown() // closes the gateway, too
