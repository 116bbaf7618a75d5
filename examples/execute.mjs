// The official `openai` client under the pool: it is told at whom to ask, and its errors decide what happens next.
//
//   node examples/execute.mjs
//
// Two simulated providers on loopback stand for real ones; with real ones only the configuration differs.

import { createServer } from 'node:http'
import { once } from 'node:events'
import { LLMPool } from 'llmpool'
import OpenAI from 'openai'

/** A provider that answers everything with this. */
async function upstream(status, body) {
  const server = createServer((request, reply) => {
    request.resume()
    reply.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, base_url: `http://127.0.0.1:${server.address().port}/v1` }
}

const empty = await upstream(429, { error: { message: 'You exceeded your current quota', code: 'insufficient_quota' } })
const sound = await upstream(200, {
  id: '1',
  object: 'chat.completion',
  model: 'simulated',
  choices: [{ index: 0, message: { role: 'assistant', content: 'In Oslo.' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 },
})

const pool = await LLMPool.create({
  config: {
    providers: [
      { name: 'first', type: 'openai', model: 'gpt-4o', api_key: 'a', priority: 1, base_url: empty.base_url },
      { name: 'second', type: 'openai', model: 'gpt-4o', api_key: 'b', priority: 2, base_url: sound.base_url },
    ],
  },
})
pool.on('requestError', ({ provider, errorClass }) => console.log(`${provider}: ${errorClass}`))

const answer = await pool.execute(async ({ provider, apiKey, baseURL, model, signal }) => {
  // The pool repeats and fails over; a client that did so as well would multiply it.
  const openai = new OpenAI({ apiKey, baseURL, maxRetries: 0 })
  const messages = [{ role: 'user', content: 'Where is it cold?' }]
  const { choices, usage } = await openai.chat.completions.create({ model, messages }, { signal })
  return { provider, text: choices[0].message.content, usage }
})
console.log(`${answer.provider}: ${answer.text}`)
console.log(`tokens booked: ${pool.getProviderStats().second.usage.totalTokensUsed}`)

await pool.shutdown()
empty.server.close()
sound.server.close()
