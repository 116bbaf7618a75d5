// The gateway as the official client of Anthropic sees it, over a port and through `pool.fetch`, whoever answers: a
// provider of OpenAI's family, or Anthropic itself, which gets what the client said as the client said it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import { ask, openPool, provider } from './support/pool.mjs'
import {
  anthropicMessage,
  anthropicOk,
  chunk,
  completion,
  fixtures,
  hang,
  ok,
  replay,
  sse,
  sseOk,
  status,
  Upstream,
} from './support/upstream.mjs'
import { bounded } from './support/wait.mjs'

const KEY = 'key-of-the-gateway'

const DOORS = {
  port: async (t, pool) => {
    const gateway = await pool.serve({ http: '127.0.0.1:0', apiKeys: [KEY] })
    t.after(() => gateway.close({ drainTimeout: 0 }))
    return { baseURL: gateway.url, apiKey: KEY }
  },
  fetch: async (_, pool) => ({ baseURL: 'http://llmpool.local', apiKey: 'unused', fetch: pool.fetch }),
}

for (const [door, enter] of Object.entries(DOORS)) suite(door, enter)

function suite(door, enter) {
  const story = (title, tell, type = 'openai') =>
    test(`through the ${door}: ${title}`, bounded, async (t) => {
      const upstream = await Upstream.start(t)
      const model = type === 'anthropic' ? 'claude-sonnet-4-5' : 'gpt-4o'
      const pool = await openPool(t, [provider('main', upstream, { type, model })], { maxRetries: 0 })
      const client = new Anthropic(await enter(t, pool))
      await tell({ t, upstream, pool, client, request: { model, max_tokens: 100, messages: ask('hi') } })
    })

  story('another provider answers', async ({ client, upstream, request }) => {
    upstream.next(ok('hello'))
    const message = await client.messages.create({ ...request, system: 'be kind', top_k: 5 })
    assert.deepEqual(message.content, [{ type: 'text', text: 'hello' }])
    assert.equal(message.stop_reason, 'end_turn')
    assert.deepEqual([message.usage.input_tokens, message.usage.output_tokens], [10, 5])
    assert.match(message._request_id, /^req_/)
    assert.deepEqual(upstream.last.json.messages[0], { role: 'system', content: 'be kind' })
    assert.equal(upstream.last.json.top_k, undefined)
  })

  story('streams by named events', async ({ client, upstream, request }) => {
    upstream.next(sseOk('hel', 'lo'))
    const stream = client.messages.stream(request)
    const events = []
    for await (const event of stream) events.push(event.type)
    assert.equal(await stream.finalText(), 'hello')
    assert.equal((await stream.finalMessage()).usage.input_tokens, 10)
    const twice = (name) => Array(2).fill(name)
    assert.deepEqual(
      events.filter((name) => name !== 'ping'),
      [
        'message_start',
        'content_block_start',
        ...twice('content_block_delta'),
        'content_block_stop',
        'message_delta',
        'message_stop',
      ],
    )
  })

  story('calls tools, whole and streamed, and takes their results', async ({ client, upstream, request }) => {
    const call = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } }
    const tools = [{ name: 'weather', description: 'd', input_schema: { type: 'object', properties: {} } }]
    upstream.next((exchange) =>
      exchange.reply(200, completion(null, { finish: 'tool_calls', message: { tool_calls: [call] } })),
    )
    const message = await client.messages.create({ ...request, tools, tool_choice: { type: 'any' } })
    assert.equal(message.stop_reason, 'tool_use')
    assert.deepEqual(message.content, [{ type: 'tool_use', id: 'call_1', name: 'weather', input: { city: 'Oslo' } }])
    assert.equal(upstream.last.json.tool_choice, 'required')
    assert.equal(upstream.last.json.tools[0].function.name, 'weather')

    upstream.next(
      sse(async (stream) => {
        await stream.text('wait')
        await stream.push(chunk({ tool_calls: [{ index: 0, ...call }] }))
        await stream.finish('tool_calls')
        await stream.done()
      }),
    )
    const final = await client.messages.stream({ ...request, tools }).finalMessage()
    assert.deepEqual(
      final.content.map(({ type }) => type),
      ['text', 'tool_use'],
    )
    assert.deepEqual(final.content[1].input, { city: 'Oslo' })

    upstream.next(ok('cold'))
    const result = { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'call_1', content: '3 °C' }] }
    const messages = [...ask('hi'), { role: 'assistant', content: final.content }, result]
    await client.messages.create({ ...request, messages, tools })
    const [, assistant, tool] = upstream.last.json.messages
    assert.deepEqual(assistant.tool_calls, [call])
    assert.deepEqual([tool.role, tool.tool_call_id, tool.content], ['tool', 'call_1', '3 °C'])
  })

  story('shows images and documents', async ({ client, upstream, request }) => {
    upstream.next(ok('a cat'))
    const content = [
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' } },
      { type: 'image', source: { type: 'url', url: 'https://a.test/cat.png' } },
      { type: 'text', text: 'what?' },
    ]
    await client.messages.create({ ...request, messages: [{ role: 'user', content }] })
    const urls = upstream.last.json.messages[0].content.map((part) => part.image_url?.url)
    assert.deepEqual(urls, ['data:image/png;base64,iVBORw0KGgo=', 'https://a.test/cat.png', undefined])
  })

  story(
    'Anthropic gets what the client said as it said it',
    async ({ client, upstream, request }) => {
      upstream.next(anthropicOk('hello'))
      const said = {
        ...request,
        system: [{ type: 'text', text: 'be kind', cache_control: { type: 'ephemeral' } }],
        top_k: 5,
        thinking: { type: 'enabled', budget_tokens: 1024 },
        context_management: { edits: [] },
        tools: [{ type: 'bash_20250124', name: 'bash' }],
        max_tokens: 2048,
      }
      const headers = { 'anthropic-beta': 'context-management-2025-06-27' }
      await client.beta.messages.create(said, { headers })
      assert.deepEqual(upstream.last.json, said)
      assert.equal(upstream.last.headers['anthropic-beta'], headers['anthropic-beta'])
      assert.equal(upstream.last.headers['x-api-key'], 'key-of-main')
      assert.equal(upstream.last.headers.authorization, undefined, 'the key of the client goes nowhere')
    },
    'anthropic',
  )

  story(
    'thoughts of Anthropic go out and come home',
    async ({ client, upstream, request }) => {
      const thought = { type: 'thinking', thinking: 'hm', signature: 'of anthropic' }
      const content = [thought, { type: 'redacted_thinking', data: 'xyz' }, { type: 'text', text: 'ok' }]
      upstream.next((exchange) => exchange.reply(200, anthropicMessage('', { content })))
      const thinking = { type: 'enabled', budget_tokens: 1024 }
      const message = await client.messages.create({ ...request, thinking })
      assert.deepEqual(
        message.content.map(({ type }) => type),
        ['thinking', 'text'],
      )
      upstream.next(anthropicOk('more'))
      const messages = [...ask('hi'), { role: 'assistant', content: message.content }, ...ask('go on')]
      await client.messages.create({ ...request, thinking, messages })
      assert.deepEqual(upstream.last.json.messages[1].content, content)
    },
    'anthropic',
  )

  story(
    'a stream of Anthropic reads as it was written',
    async ({ client, upstream, request }) => {
      const entry = fixtures().get('anthropic/stream-text.sse')
      upstream.next(replay(entry))
      const message = await client.messages.stream(request).finalMessage()
      assert.ok(message.content.length > 0)
      assert.ok(message.usage.input_tokens > 0)
      assert.ok(message.stop_reason)
    },
    'anthropic',
  )

  story('counts tokens and lists models', async ({ client, request }) => {
    const { model, messages } = request
    assert.ok((await client.messages.countTokens({ model, messages })).input_tokens > 3)
    const ids = []
    for await (const each of client.models.list()) ids.push(each.id)
    assert.deepEqual(ids, ['auto', model])
  })

  story('fails once, in the class of the client', async ({ client, upstream, request }) => {
    upstream.always(status(500))
    const error = await client.messages.create(request).catch((error) => error)
    assert.ok(error instanceof Anthropic.APIError)
    assert.deepEqual([error.status, error.type ?? error.error.error.type], [503, 'overloaded_error'])
    assert.match(error.requestID, /^req_/)
    assert.equal(error.error.request_id, error.requestID)
    assert.equal(upstream.count, 1)
    const unknown = await client.messages.create({ ...request, model: 'nobody' }).catch((error) => error)
    assert.equal(unknown.constructor.name, 'NotFoundError')
    const bad = await client.messages.create({ ...request, messages: [] }).catch((error) => error)
    assert.equal(bad.constructor.name, 'BadRequestError')
  })

  story('a stream that breaks throws', async ({ client, upstream, request }) => {
    upstream.next(
      sse(async (stream) => {
        await stream.text('half')
        stream.reset()
      }),
    )
    const error = await client.messages
      .stream(request)
      .finalMessage()
      .catch((error) => error)
    assert.ok(error instanceof Error, `${error}`)
  })

  story('a client that leaves ends the call upstream', async ({ client, upstream, request }) => {
    upstream.next(hang())
    const controller = new AbortController()
    const asked = client.messages.create(request, { signal: controller.signal }).catch((error) => error)
    const exchange = await upstream.request(1)
    controller.abort()
    assert.equal((await asked).constructor.name, 'APIUserAbortError')
    await exchange.closed
  })
}
