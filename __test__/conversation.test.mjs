// One conversation with an image, parallel tools, a schema and reasoning, that begins at one kind of provider and goes
// on at another because the first is down: nothing of it is lost without a word.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createImageMessage } from '../index.mjs'
import { inOrder, openPool, provider } from './support/pool.mjs'
import { chunk, completion, ok, sse, sseOk, Upstream } from './support/upstream.mjs'
import { bounded } from './support/wait.mjs'

const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
const tools = [
  {
    type: 'function',
    function: {
      name: 'get_weather',
      description: 'Weather of a city',
      parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
    },
  },
  { type: 'function', function: { name: 'now', description: 'The time' } },
]
const response_format = {
  type: 'json_schema',
  json_schema: {
    name: 'warmer',
    schema: { type: 'object', properties: { warmest: { type: 'string' } }, required: ['warmest'] },
  },
}
const cities = ['Paris', 'Oslo']

const openai = (id, extra = {}) => ({
  calls: completion(null, {
    finish: 'tool_calls',
    message: {
      ...extra,
      tool_calls: cities.map((city, at) => ({
        id: id(at),
        type: 'function',
        function: { name: 'get_weather', arguments: JSON.stringify({ city }) },
      })),
    },
  }),
  answer: completion('{"warmest":"Paris"}'),
})

/** How each kind answers: first with two calls and what it thought, then with text. */
const kinds = {
  openai: { model: 'gpt-5.1', ...openai((at) => `call_${at}_of_openai`) },
  mistral: { model: 'mistral-large-latest', ...openai((at) => `Mistral0${at}`) },
  openrouter: {
    model: 'anthropic/claude-sonnet-4.6',
    ...openai((at) => `toolu_${at}`, {
      reasoning: 'Two cities.',
      reasoning_details: [{ type: 'reasoning.text', text: 'Two cities.', signature: 'secret of openrouter' }],
    }),
    secret: 'secret of openrouter',
  },
  deepseek: {
    model: 'deepseek-chat',
    ...openai((at) => `call_00_${at}`, { reasoning_content: 'secret of deepseek' }),
    secret: 'secret of deepseek',
  },
  anthropic: {
    model: 'claude-sonnet-4-6',
    calls: {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'Two cities.', signature: 'secret of anthropic' },
        { type: 'text', text: 'I look it up.' },
        ...cities.map((city, at) => ({ type: 'tool_use', id: `toolu_${at}`, name: 'get_weather', input: { city } })),
      ],
      stop_reason: 'tool_use',
      usage: { input_tokens: 1, output_tokens: 1 },
    },
    answer: {
      id: 'msg_2',
      type: 'message',
      role: 'assistant',
      content: [{ type: 'text', text: '{"warmest":"Paris"}' }],
      stop_reason: 'end_turn',
    },
    secret: 'secret of anthropic',
  },
  gemini: {
    model: 'gemini-3-flash',
    calls: {
      candidates: [
        {
          content: {
            parts: cities.map((city, at) => ({
              functionCall: { name: 'get_weather', args: { city } },
              ...(at === 0 ? { thoughtSignature: 'secret of gemini' } : {}),
            })),
          },
          finishReason: 'STOP',
        },
      ],
      responseId: 'r1',
    },
    answer: { candidates: [{ content: { parts: [{ text: '{"warmest":"Paris"}' }] }, finishReason: 'STOP' }] },
    secret: 'secret of gemini',
  },
  cohere: {
    model: 'command-a-reasoning-08-2025',
    calls: {
      id: 'c1',
      finish_reason: 'TOOL_CALL',
      message: {
        role: 'assistant',
        tool_plan: 'I look it up.',
        tool_calls: cities.map((city, at) => ({
          id: `get_weather_${at}`,
          type: 'function',
          function: { name: 'get_weather', arguments: JSON.stringify({ city }) },
        })),
      },
    },
    answer: {
      id: 'c2',
      finish_reason: 'COMPLETE',
      message: { role: 'assistant', content: [{ type: 'text', text: '{"warmest":"Paris"}' }] },
    },
  },
  ollama: {
    model: 'qwen3',
    calls: {
      model: 'qwen3',
      message: {
        role: 'assistant',
        content: '',
        thinking: 'Two cities.',
        tool_calls: cities.map((city) => ({ function: { name: 'get_weather', arguments: { city } } })),
      },
      done: true,
      done_reason: 'stop',
    },
    answer: {
      model: 'qwen3',
      message: { role: 'assistant', content: '{"warmest":"Paris"}' },
      done: true,
      done_reason: 'stop',
    },
  },
}

/** Ids of calls and of what answers them, in whatever words a wire has for them. */
function ids(body) {
  const calls = []
  const results = []
  const walk = (value) => {
    if (Array.isArray(value)) return value.forEach(walk)
    if (value === null || typeof value !== 'object') return
    if (value.function?.arguments !== undefined || value.type === 'tool_use') calls.push(value.id)
    if (value.functionCall) calls.push(value.functionCall.id)
    if (value.functionResponse) results.push(value.functionResponse.id)
    if (value.tool_call_id ?? value.tool_use_id) results.push(value.tool_call_id ?? value.tool_use_id)
    Object.values(value).forEach(walk)
  }
  walk(body.messages ?? body.contents)
  return { calls, results }
}

/** What each kind asks of an id. */
const fits = {
  openai: /^.{1,40}$/,
  mistral: /^[A-Za-z0-9]{9}$/,
  anthropic: /^[A-Za-z0-9_-]+$/,
}

/** The first two turns at one kind, the third at another. */
async function converse(t, from, to) {
  const first = await Upstream.start(t, (exchange) => exchange.reply(200, kinds[from].calls))
  const second = await Upstream.start(t, (exchange) => exchange.reply(200, kinds[to].answer))
  const of = (name, upstream, type) =>
    provider(name, upstream, { type, model: kinds[type].model, base_url: upstream.origin })
  const pool = await openPool(t, inOrder(of('first', first, from), of('second', second, to)), { maxRetries: 0 })
  const messages = [
    { role: 'system', content: 'You are brief.' },
    { role: 'developer', content: 'Name the source.' },
    createImageMessage('user', 'Weather here and in Oslo?', `data:image/png;base64,${PIXEL}`),
  ]
  const request = { messages, tools, tool_choice: 'auto', response_format, reasoning_effort: 'low', max_tokens: 500 }
  const asked = await pool.chat(request)
  assert.equal(asked.provider, 'first')
  assert.equal(asked.tool_calls.length, 2)
  const { content, tool_calls, reasoning, reasoning_state } = asked
  messages.push({ role: 'assistant', content, tool_calls, reasoning, reasoning_state })
  messages.push({ role: 'tool', tool_call_id: tool_calls[0].id, content: '{"celsius":21}' })
  messages.push({ role: 'tool', tool_call_id: tool_calls[1].id, content: 'no such city' })
  return { pool, request, asked, first, second }
}

describe('Provider conversations: from one kind to the next', () => {
  for (const from of Object.keys(kinds)) {
    it(`${from}: goes on where it began, with its own ids and thoughts`, bounded, async (t) => {
      const { pool, request, asked, first } = await converse(t, from, 'openai')
      first.always((exchange) => exchange.reply(200, kinds[from].answer))
      const { warnings } = await pool.chat(request)
      const { calls, results } = ids(first.last.json)
      const own = asked.tool_calls.map((call) => call.id)
      assert.deepEqual([calls, results], [own, own])
      const { secret } = kinds[from]
      assert.equal(asked.reasoning_state === undefined, secret === undefined)
      if (secret) assert.ok(first.last.text.includes(secret), first.last.text)
      assert.ok(!warnings.some((warning) => warning.includes('reasoning_state')), warnings.join('\n'))
    })

    for (const to of Object.keys(kinds)) {
      it(`${from} → ${to}`, bounded, async (t) => {
        const { pool, request, asked, first, second } = await converse(t, from, to)
        first.always((exchange) => exchange.reply(503, 'down'))
        const response = await pool.chat(request)
        assert.deepEqual([response.provider, response.content], ['second', '{"warmest":"Paris"}'])

        const { json, text } = second.last
        const said = [PIXEL, 'You are brief.', 'Name the source.', 'Weather here', 'celsius', 'no such city', ...cities]
        for (const part of [...said, asked.content]) assert.ok(text.includes(part), `${part}: ${text}`)
        const offered = JSON.stringify(json.tools)
        for (const part of ['get_weather', 'Weather of a city', '"city"', 'required', '"now"', 'The time'])
          assert.ok(offered.includes(part), `${part}: ${offered}`)

        const { calls, results } = ids(json)
        assert.equal(new Set(calls).size, 2)
        assert.deepEqual(calls, results)
        for (const id of calls) assert.match(id, fits[to] ?? /./)
        // Whoever keeps a log of calls by their ids is told which ones it will not find.
        asked.tool_calls.forEach(({ id }, at) => {
          const renamed = response.warnings.some((warning) => warning.startsWith(`messages[3].tool_calls[${at}].id: `))
          assert.equal(renamed, !calls.includes(id), `${id}: ${response.warnings.join('\n')}`)
        })

        const named = (field) => response.warnings.some((warning) => warning.startsWith(field))
        assert.ok(text.includes('warmest') || named('response_format'), response.warnings.join('\n'))
        assert.ok(/"low"|"LOW"|"enabled"/.test(text) || named('reasoning_effort'), response.warnings.join('\n'))
        const { secret } = kinds[from]
        if (secret) assert.ok(!text.includes(secret), text)
        assert.equal(named('messages[3].reasoning_state'), secret !== undefined)
      })
    }
  }
})

describe('Provider conversations: streamed', () => {
  it(
    'the whole answer says whose thoughts it holds, and a picture of a tool goes where it is taken',
    bounded,
    async (t) => {
      const detail = { type: 'reasoning.text', text: 'Hm.', signature: 'secret', index: 0 }
      const call = { index: 0, id: 'c1', type: 'function', function: { name: 'now', arguments: '{}' } }
      const a = await Upstream.start(
        t,
        sse(async (stream) => {
          await stream.push(chunk({ reasoning: 'Hm.', reasoning_details: [detail] }))
          await stream.push(chunk({ tool_calls: [call] }))
          await stream.finish('tool_calls')
          await stream.done()
        }),
      )
      const openai = await Upstream.start(t, ok('never asked'))
      const pool = await openPool(
        t,
        inOrder(provider('o', openai), provider('a', a, { type: 'openrouter', model: 'm', base_url: a.origin })),
        { maxRetries: 0 },
      )
      const request = { messages: [{ role: 'user', content: 'What time is it?' }], tools }
      const { reasoning_state, tool_calls } = await pool.stream(request, { providers: ['a'] }).response()
      assert.deepEqual(reasoning_state, { provider: 'a', model: 'm', state: { details: [detail] } })
      const picture = { type: 'image_url', image_url: { url: `data:image/png;base64,${PIXEL}` } }
      request.messages.push(
        { role: 'assistant', content: null, tool_calls, reasoning_state },
        { role: 'tool', tool_call_id: 'c1', content: [picture] },
      )
      a.always(sseOk('Noon.'))
      assert.equal(await pool.stream(request).text(), 'Noon.')
      assert.deepEqual(a.last.json.messages[1].reasoning_details, [detail])
      assert.deepEqual(a.last.json.messages[2].content, [picture])
      assert.equal(openai.count, 0)
    },
  )
})
