// A queue of jobs over two providers, one of which is down. The first job begins at once; of those that wait for it to end
// the urgent ones go first. Runs offline: the providers are servers in this process.
//
//   node examples/background.mjs

import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { LLMPool } from 'llmpool'

/** A model that answers so many milliseconds later, as Ollama would; without a time it is down. */
async function model(ms) {
  const server = createServer(async (request, response) => {
    const { model, messages } = JSON.parse((await request.toArray()).join(''))
    if (ms === undefined) return response.writeHead(503).end()
    await sleep(ms)
    const message = { role: 'assistant', content: `done: ${messages[0].content}` }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ model, message, done: true, done_reason: 'stop' }))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  server.unref()
  return `http://127.0.0.1:${server.address().port}`
}

const provider = (name, priority, base_url) => ({ name, type: 'ollama', model: name, base_url, priority })
const pool = await LLMPool.create({
  config: { providers: [provider('down', 1, await model()), provider('sound', 2, await model(100))] },
})

const jobs = pool.background({ workers: 1 })
const results = jobs.results()
for (const [chapter, priority] of ['low', 'normal', 'normal', 'critical'].entries()) {
  await jobs.submit({ prompt: `chapter ${chapter + 1}`, priority })
}
const stopped = jobs.stop()
for await (const { priority, response } of results) {
  console.log(`${priority.padEnd(8)} ${response.content} (by ${response.provider})`)
}
await stopped
const { completed, failed, queueSize } = jobs.stats()
console.log(`${completed} completed, ${failed} failed, ${queueSize} waiting`)
await pool.shutdown()
