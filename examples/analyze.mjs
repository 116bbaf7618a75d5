// A folder of code described by a model: its files, its folders, the project. Runs offline: the model is a server in
// this process that fills in whatever schema it is asked for.
//
//   node examples/analyze.mjs [folder]

import { createServer } from 'node:http'
import { LLMPool } from 'llmpool'

/** A value of this JSON Schema. */
function filled({ type, properties, items, enum: words }) {
  if (type === 'object') return Object.fromEntries(Object.entries(properties).map(([key, each]) => [key, filled(each)]))
  if (type === 'array') return [filled(items)]
  return words?.[0] ?? 'Said by nobody.'
}

/** A model that answers as Ollama would. */
const server = createServer(async (request, response) => {
  const { model, format } = JSON.parse((await request.toArray()).join(''))
  const message = { role: 'assistant', content: JSON.stringify(filled(format)) }
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ model, message, done: true, done_reason: 'stop' }))
})
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))

const pool = await LLMPool.create({
  config: {
    providers: [
      { name: 'local', type: 'ollama', model: 'none', base_url: `http://127.0.0.1:${server.address().port}` },
    ],
  },
})

const folder = process.argv[2] ?? new URL('.', import.meta.url)
const options = { depth: 'surface', include: ['*.mjs'] }
const { requests } = await pool.estimateAnalysis(folder, options)
console.log(`about ${requests} requests`)

const analysis = pool.analyze(folder, options)
for await (const { done, total, path } of analysis) {
  if (done === total) console.log(`${done}/${total} ${path}`)
}
const { project, files, failed } = await analysis.result()
console.log(`${files.length} files, ${failed.length} failed: ${project.overview}`)

await pool.shutdown()
server.close()
