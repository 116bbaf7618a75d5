// Frameworks over the pool, with the same things to do as `support/clients.mjs`. They stand here because their packages
// do: together they are larger than everything else that the tests need.
//
// Neither of them reads `x-should-retry`: what the pool has given up they would ask for again, after seconds of sleep.
// That is what `maxRetries: 0` is for.

import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { HumanMessage, ToolMessage } from '@langchain/core/messages'
import { tool as langchainTool } from '@langchain/core/tools'
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import { embedMany, generateText, stepCountIs, streamText, tool } from 'ai'
import { z } from 'zod'

const MODEL = 'gpt-4o'
const WEATHER = z.object({ city: z.string() })

export const FRAMEWORKS = { 'AI SDK 6': aiSdk, LangChain: langchain }

function aiSdk({ url, ...where }) {
  const llmpool = createOpenAICompatible({ name: 'llmpool', ...where, baseURL: `${url}/v1`, includeUsage: true })
  const request = (prompt, signal) => ({ model: llmpool(MODEL), prompt, abortSignal: signal, maxRetries: 0 })
  return {
    chat: async (text, { signal } = {}) => (await generateText(request(text, signal))).text,
    async *stream(text, { signal } = {}) {
      // Its `textStream` leaves errors to `onError`; here they are parts like others.
      const { fullStream } = streamText({ ...request(text, signal), onError: () => {} })
      for await (const part of fullStream) {
        if (part.type === 'error') throw new Error('the stream broke', { cause: part.error })
        if (part.type === 'text-delta') yield part.text
      }
    },
    async tools(text, result) {
      const weather = tool({ description: 'weather', inputSchema: WEATHER, execute: () => result })
      const { steps, text: last } = await generateText({
        ...request(text),
        tools: { weather },
        stopWhen: stepCountIs(2),
      })
      const [{ toolName, input }] = steps[0].toolCalls
      return { name: toolName, input, text: last }
    },
    failure: ({ statusCode, responseHeaders }) => ({
      status: statusCode,
      requestId: responseHeaders['x-request-id'],
    }),
    embed: async (values) => {
      const model = llmpool.textEmbeddingModel('embed')
      return (await embedMany({ model, values, maxRetries: 0 })).embeddings
    },
  }
}

function langchain({ url, apiKey, fetch }) {
  const common = { apiKey, maxRetries: 0, configuration: { baseURL: `${url}/v1`, fetch } }
  const model = new ChatOpenAI({ ...common, model: MODEL })
  return {
    chat: async (text, options) => (await model.invoke(text, options)).content,
    async *stream(text, options) {
      for await (const { content } of await model.stream(text, options)) yield content
    },
    async tools(text, result) {
      const weather = langchainTool(() => result, { name: 'weather', description: 'weather', schema: WEATHER })
      const bound = model.bindTools([weather])
      const first = await bound.invoke(text)
      const [{ id, name, args }] = first.tool_calls
      const answer = new ToolMessage({ tool_call_id: id, content: await weather.invoke(args) })
      return { name, input: args, text: (await bound.invoke([new HumanMessage(text), first, answer])).content }
    },
    failure: ({ status, requestID }) => ({ status, requestId: requestID }),
    embed: (texts) => new OpenAIEmbeddings({ ...common, model: 'embed' }).embedDocuments(texts),
  }
}
