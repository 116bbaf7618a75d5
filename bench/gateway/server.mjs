// A pool with a port of its own, in a process of its own: what it costs is nobody else's cost. It tells its parent where
// it listens, and answers `look` with what it has used so far.

import { LLMPool } from '../../index.mjs'
import { API_KEY } from '../exchange.mjs'

const [origin] = process.argv.slice(2)

const pool = await LLMPool.create({
  config: {
    providers: [{ name: 'upstream', type: 'openai', model: 'gpt-4o-mini', api_key: API_KEY, base_url: `${origin}/v1` }],
  },
})
const gateway = await pool.serve({ http: '127.0.0.1:0', apiKeys: [API_KEY] })

process.on('message', ({ type }) => {
  const { user, system } = process.cpuUsage()
  const rssMegabytes = process.memoryUsage.rss() / 1e6
  process.send({ type, userMicros: user, systemMicros: system, rssMegabytes })
})
process.on('disconnect', () => process.exit())
process.send({ type: 'listening', origin: gateway.url })
