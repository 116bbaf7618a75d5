// Serves a pool of two simulated providers: `npm run serve:demo`, then ask it as it says, or `sh examples/curl.sh`. What
// is given here goes on to `llmpool serve`: `npm run serve:demo -- --http 127.0.0.1:8080`.

import { once } from 'node:events'
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

let asked = 0

/** A provider that speaks OpenAI's API. */
const providers = createServer(async (request, reply) => {
  const { model, stream, messages } = await json(request)
  if (request.url.startsWith('/shaky') && asked++ % 2 === 0) {
    reply.writeHead(503, { 'content-type': 'application/json' })
    return reply.end('{"error":{"message":"shaky is overloaded","type":"server_error"}}')
  }
  const { content } = messages.at(-1)
  const words = `A simulated answer to: ${typeof content === 'string' ? content : content[0].text}`.split(/(?<= )/)
  const common = { id: 'simulated', created: Math.floor(Date.now() / 1000), model }
  const usage = { prompt_tokens: 10, completion_tokens: words.length, total_tokens: 10 + words.length }
  if (!stream) {
    const choices = [{ index: 0, message: { role: 'assistant', content: words.join('') }, finish_reason: 'stop' }]
    reply.writeHead(200, { 'content-type': 'application/json' })
    return reply.end(JSON.stringify({ ...common, object: 'chat.completion', choices, usage }))
  }
  reply.writeHead(200, { 'content-type': 'text/event-stream' })
  const send = (delta, more) => {
    const choices = [{ index: 0, delta, finish_reason: null, ...more }]
    reply.write(`data: ${JSON.stringify({ ...common, object: 'chat.completion.chunk', choices, usage })}\n\n`)
  }
  for (const word of words) send({ content: word })
  send({}, { finish_reason: 'stop' })
  reply.end('data: [DONE]\n\n')
})
await once(providers.listen(0, '127.0.0.1'), 'listening')
providers.unref() // when serving is over, they are

process.env.SIMULATED_PROVIDERS = `http://127.0.0.1:${providers.address().port}`
process.argv.splice(2, 0, 'serve', '--config', fileURLToPath(new URL('gateway-demo.yaml', import.meta.url)))
await import('../bin/llmpool.js')
