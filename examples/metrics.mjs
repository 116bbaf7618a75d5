// Serves a pool's numbers to Prometheus.
//
//   node examples/metrics.mjs config.json 9464
//
//   scrape_configs:
//     - job_name: llmpool
//       static_configs: [{ targets: ['localhost:9464'] }]

import http from 'node:http'
import { LLMPool } from 'llmpool'

const [configPath = './config.json', port = '9464'] = process.argv.slice(2)
const pool = await LLMPool.create({ configPath })

const server = http.createServer((request, response) => {
  if (request.url !== '/metrics') return response.writeHead(404).end()
  response.setHeader('content-type', LLMPool.METRICS_CONTENT_TYPE)
  response.end(pool.metrics())
})
server.listen(Number(port), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}/metrics`)
})

process.once('SIGTERM', async () => {
  server.close()
  await pool.shutdown()
})
