// A provider of OpenAI's family that does what the last message of the conversation says. So a test in any language
// can have whatever it needs, without another way to talk to the upstream.

import { chunk, completion, hang, ok, sse, sseOk, status } from './upstream.mjs'

/** What the model is asked to call, by the message `weather`. */
export const CALL = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } }

/** Two vectors, exact in 32 bits: base64 and numbers must come to the same. */
export const VECTORS = [
  [0.25, -1.5, 3],
  [1, 2, 3],
]

const USAGE = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }

const WISHES = {
  hello: { whole: ok('hello'), streamed: sseOk('hel', 'lo') },
  weather: {
    whole: (exchange) =>
      exchange.reply(200, completion(null, { finish: 'tool_calls', message: { tool_calls: [CALL] } })),
    streamed: sse(async (stream) => {
      await stream.push(chunk({ role: 'assistant', tool_calls: [{ index: 0, ...CALL }] }))
      await stream.finish('tool_calls', USAGE)
      await stream.done()
    }),
  },
  // What a tool said is the last message of the round after its call.
  '3 °C': { whole: ok('cold'), streamed: sseOk('co', 'ld') },
  fail: { whole: status(500), streamed: status(500) },
  refuse: { whole: status(400), streamed: status(400) },
  hang: {
    whole: hang(),
    streamed: sse(async (stream) => {
      await stream.text('one')
    }),
  },
  break: {
    whole: hang(),
    streamed: sse(async (stream) => {
      await stream.text('half')
      stream.reset()
    }),
  },
}

/** The behaviour of such an upstream. */
export function wishes(exchange) {
  if (exchange.path.endsWith('/embeddings')) return exchange.reply(200, embeddings(exchange.json))
  const { messages, stream } = exchange.json
  const wish = WISHES[text(messages.at(-1).content)]
  if (!wish) throw new Error(`nobody wished for this: ${exchange.text}`)
  return (stream ? wish.streamed : wish.whole)(exchange)
}

function text(content) {
  return typeof content === 'string' ? content : content.map((part) => part.text ?? '').join('')
}

function embeddings({ input, model }) {
  const data = [input].flat().map((_, index) => ({ object: 'embedding', index, embedding: VECTORS[index] }))
  return { object: 'list', model, data, usage: { prompt_tokens: 4, total_tokens: 4 } }
}
