// The official clients, each as the same few things to do with it. `where` is how a client reaches the pool:
// `{ url, apiKey, fetch }`, the last one only where there is no socket.

import Anthropic from '@anthropic-ai/sdk'
import OpenAI6 from 'openai'
import OpenAI7 from 'openai-7'
import { ask } from './pool.mjs'

const MODEL = 'gpt-4o'
const WEATHER = { type: 'object', properties: { city: { type: 'string' } } }

export const SDKS = { 'openai 6': openai(OpenAI6), 'openai 7': openai(OpenAI7), anthropic }

function openai(OpenAI) {
  return ({ url, ...where }) => {
    const client = new OpenAI({ ...where, baseURL: `${url}/v1` })
    const complete = (messages, more, options) =>
      client.chat.completions.create({ model: MODEL, messages, ...more }, options)
    return {
      async chat(text, { signal } = {}) {
        const { choices } = await complete(ask(text), {}, { signal })
        return choices[0].message.content
      },
      async *stream(text, { signal } = {}) {
        for await (const { choices } of await complete(ask(text), { stream: true }, { signal }))
          yield choices[0].delta.content ?? ''
      },
      async tools(text, result) {
        const tools = [{ type: 'function', function: { name: 'weather', parameters: WEATHER } }]
        const first = (await complete(ask(text), { tools })).choices[0].message
        const [{ id, function: call }] = first.tool_calls
        const messages = [...ask(text), first, { role: 'tool', tool_call_id: id, content: result }]
        const { choices } = await complete(messages, { tools })
        return { name: call.name, input: JSON.parse(call.arguments), text: choices[0].message.content }
      },
      failure: ({ status, requestID }) => ({ status, requestId: requestID }),
      models: () => ids(client.models.list()),
      embed: async (input) => {
        const { data } = await client.embeddings.create({ model: 'embed', input })
        return data.map(({ embedding }) => [...embedding])
      },
    }
  }
}

function anthropic({ url, ...where }) {
  const client = new Anthropic({ ...where, baseURL: url })
  const create = (messages, more, options) =>
    client.messages.create({ model: MODEL, max_tokens: 100, messages, ...more }, options)
  return {
    async chat(text, { signal } = {}) {
      return (await create(ask(text), {}, { signal })).content[0].text
    },
    async *stream(text, { signal } = {}) {
      for await (const event of await create(ask(text), { stream: true }, { signal })) yield event.delta?.text ?? ''
    },
    async tools(text, content) {
      const tools = [{ name: 'weather', input_schema: WEATHER }]
      const first = await create(ask(text), { tools })
      const { id, name, input } = first.content.find(({ type }) => type === 'tool_use')
      const result = { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content }] }
      const messages = [...ask(text), { role: 'assistant', content: first.content }, result]
      return { name, input, text: (await create(messages, { tools })).content[0].text }
    },
    failure: ({ status, requestID }) => ({ status, requestId: requestID }),
    models: () => ids(client.models.list()),
    // Anthropic has no embeddings.
  }
}

async function ids(models) {
  const ids = []
  for await (const { id } of models) ids.push(id)
  return ids
}
