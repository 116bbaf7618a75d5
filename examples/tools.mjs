// Lets a model call functions until it has its answer. Whichever provider answers a round, the next one understands it.
//
//   node examples/tools.mjs config.json "What is the weather in Oslo and in Rome?"

import { LLMPool } from 'llmpool'

const [configPath = './config.json', question = 'Which is warmer, Oslo or Rome?'] = process.argv.slice(2)

/** What the model may call, and what is then done. */
const functions = {
  get_weather: {
    description: 'The temperature in a city, in °C',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
    run: ({ city }) => ({ city, celsius: { Oslo: -3, Rome: 14 }[city] ?? 20 }),
  },
}
const tools = Object.entries(functions).map(([name, { description, parameters }]) => ({
  type: 'function',
  function: { name, description, parameters },
}))

/** The result of one call; what goes wrong is told to the model, which may do better. */
function run({ name, arguments: text }) {
  try {
    return JSON.stringify(functions[name].run(JSON.parse(text)))
  } catch (error) {
    return JSON.stringify({ error: String(error) })
  }
}

const pool = await LLMPool.create({ configPath })
const messages = [{ role: 'user', content: question }]
const MOST_ROUNDS = 5
for (let round = 1; round <= MOST_ROUNDS; round++) {
  const { content, tool_calls, reasoning_state, provider } = await pool.chat({ messages, tools })
  if (!tool_calls) {
    console.log(`${provider}: ${content}`)
    break
  }
  messages.push({ role: 'assistant', content, tool_calls, reasoning_state })
  for (const call of tool_calls) {
    const result = run(call.function)
    console.log(`${provider} calls ${call.function.name}(${call.function.arguments}) → ${result}`)
    messages.push({ role: 'tool', tool_call_id: call.id, content: result })
  }
}
await pool.shutdown()
