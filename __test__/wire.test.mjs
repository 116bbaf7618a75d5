// What goes over the wire: method, path, headers and body, per type of provider.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import {
  ConfigurationError,
  InvalidRequestError,
  LLMPoolError,
  createImageMessage,
  createTextMessage,
} from '../index.mjs'
import { Upstream, anthropicMessage, anthropicOk, completion, ok, sseOk, status } from './support/upstream.mjs'
import { ask, inOrder, openPool, provider, rejection } from './support/pool.mjs'
import { bounded, settled } from './support/wait.mjs'

const tool = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Weather of a city',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
}

/** A pool with one provider of this type, and its upstream. */
async function one(t, type, more = {}, options = {}) {
  const upstream = await Upstream.start(t, type === 'anthropic' ? anthropicOk() : ok())
  const { path = type === 'groq' ? '/openai/v1' : type === 'anthropic' ? '' : '/v1', ...rest } = more
  const pool = await openPool(
    t,
    [provider('p', upstream, { type, model: 'model-x', base_url: upstream.origin + path, ...rest })],
    options,
  )
  return { upstream, pool, sent: () => upstream.last }
}

const maxTokens = (json) => json.max_completion_tokens ?? json.max_tokens

describe('Provider wire: the OpenAI family', () => {
  const types = {
    openai: '/v1/chat/completions',
    groq: '/openai/v1/chat/completions',
    together: '/v1/chat/completions',
    'openai-compatible': '/v1/chat/completions',
  }
  for (const [type, path] of Object.entries(types)) {
    it(`${type}: method, path, key and body`, bounded, async (t) => {
      const { pool, sent } = await one(t, type)
      const response = await pool.chat({
        messages: [createTextMessage('system', 'be brief'), ...ask('hello')],
        temperature: 0.5,
        top_p: 0.9,
        max_tokens: 77,
        stop: ['END'],
        seed: 7,
        tools: [tool],
        tool_choice: 'auto',
      })
      const { method, headers, json } = sent()
      assert.equal(`${method} ${sent().path}`, `POST ${path}`)
      assert.equal(headers.authorization, 'Bearer key-of-p')
      assert.match(headers['content-type'], /^application\/json/)
      assert.match(headers['user-agent'], /^llmpool\/\d+\.\d+\.\d+/)
      assert.equal(json.model, 'model-x')
      assert.deepEqual(json.messages, [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: 'hello' },
      ])
      assert.equal(json.temperature, 0.5)
      assert.equal(json.top_p, 0.9)
      assert.equal(maxTokens(json), 77)
      assert.equal('max_tokens' in json && 'max_completion_tokens' in json, false)
      assert.deepEqual(json.stop, ['END'])
      assert.equal(json.seed, 7)
      assert.deepEqual(json.tools, [tool])
      assert.equal(json.tool_choice, 'auto')
      assert.ok(json.stream === undefined || json.stream === false)
      assert.deepEqual(response.warnings, [])
    })

    it(`${type}: a format of the answer`, bounded, async (t) => {
      const { pool, sent } = await one(t, type)
      const { warnings } = await pool.chat({ messages: ask(), response_format: { type: 'json_object' } })
      assert.deepEqual([sent().json.response_format, warnings], [{ type: 'json_object' }, []])
    })

    it(`${type}: what was not asked for is not sent`, bounded, async (t) => {
      const { pool, sent } = await one(t, type)
      await pool.chat(ask('hi'))
      const { stream, ...json } = sent().json
      assert.deepEqual(json, { model: 'model-x', messages: [{ role: 'user', content: 'hi' }] })
    })

    it(`${type}: defaults of the provider are sent unless the call says otherwise`, bounded, async (t) => {
      const { pool, sent } = await one(t, type, { max_tokens: 50, temperature: 0 })
      await pool.chat(ask())
      assert.equal(maxTokens(sent().json), 50)
      assert.equal(sent().json.temperature, 0)
      await pool.chat({ messages: ask(), max_tokens: 60, temperature: 1 })
      assert.equal(maxTokens(sent().json), 60)
      assert.equal(sent().json.temperature, 1)
    })

    it(`${type}: a stream is asked for as one`, bounded, async (t) => {
      const { pool, upstream, sent } = await one(t, type)
      upstream.always(sseOk('x'))
      await pool.stream(ask()).text()
      assert.equal(sent().json.stream, true)
      assert.equal(sent().path, path)
    })

    it(`${type}: tool calls and their results go back as they came`, bounded, async (t) => {
      const { pool, upstream, sent } = await one(t, type)
      const call = { id: 'call_abc', type: 'function', function: { name: 'get_weather', arguments: '{"city":"Oslo"}' } }
      upstream.next((exchange) =>
        exchange.reply(200, completion(null, { finish: 'tool_calls', message: { tool_calls: [call] } })),
      )
      const response = await pool.chat({ messages: ask('weather?'), tools: [tool] })
      assert.deepEqual(response.tool_calls, [call])
      assert.equal(response.content, '')
      assert.equal(response.finish_reason, 'tool_calls')
      const { role, content, tool_calls } = response
      await pool.chat({
        messages: [
          ...ask('weather?'),
          { role, content, tool_calls },
          { role: 'tool', tool_call_id: 'call_abc', content: 'cold' },
        ],
        tools: [tool],
      })
      const { messages } = sent().json
      assert.deepEqual(messages[1].tool_calls, [call])
      assert.deepEqual(messages[2], { role: 'tool', tool_call_id: 'call_abc', content: 'cold' })
    })

    it(`${type}: images go as they are`, bounded, async (t) => {
      const { pool, sent } = await one(t, type)
      await pool.chat([createImageMessage('user', 'see', 'https://example.org/a.png', 'high')])
      assert.deepEqual(sent().json.messages[0].content, [
        { type: 'text', text: 'see' },
        { type: 'image_url', image_url: { url: 'https://example.org/a.png', detail: 'high' } },
      ])
    })
  }

  for (const type of ['groq', 'together', 'openai-compatible']) {
    it(`${type}: the developer role is a system role there`, bounded, async (t) => {
      const { pool, sent } = await one(t, type)
      await pool.chat([{ role: 'developer', content: 'be brief' }, ...ask()])
      assert.equal(sent().json.messages[0].role, 'system')
    })
  }

  it('openai: the developer role stays', bounded, async (t) => {
    const { pool, sent } = await one(t, 'openai')
    await pool.chat([{ role: 'developer', content: 'be brief' }, ...ask()])
    assert.equal(sent().json.messages[0].role, 'developer')
  })

  it('openai: reasoning models get max_completion_tokens', bounded, async (t) => {
    for (const model of ['o3-mini', 'gpt-5']) {
      const { pool, sent } = await one(t, 'openai', { model })
      await pool.chat({ messages: ask(), max_tokens: 9 })
      assert.equal(sent().json.max_completion_tokens, 9)
      assert.equal('max_tokens' in sent().json, false)
    }
  })

  it('together: one stop is a list of one', bounded, async (t) => {
    const { pool, sent } = await one(t, 'together')
    await pool.chat({ messages: ask(), stop: 'END' })
    assert.deepEqual(sent().json.stop, ['END'])
  })

  it('groq: what it would refuse is not sent, and the answer says so', bounded, async (t) => {
    const { pool, sent } = await one(t, 'groq')
    const response = await pool.chat({ messages: ask(), presence_penalty: 1, logprobs: true })
    assert.equal('presence_penalty' in sent().json || 'logprobs' in sent().json, false)
    assert.ok(
      response.warnings.some((warning) => warning.includes('presence_penalty')),
      response.warnings.join(),
    )
    assert.ok(
      response.warnings.some((warning) => warning.includes('logprobs')),
      response.warnings.join(),
    )
  })

  it('azure: a deployment is in the path, its version in the query, the key in a header', bounded, async (t) => {
    const { pool, sent } = await one(t, 'azure', { path: '', deployment: 'd', api_version: '2024-10-21' })
    await pool.chat({ messages: ask() })
    assert.equal(sent().path, '/openai/deployments/d/chat/completions?api-version=2024-10-21')
    assert.equal('authorization' in sent().headers, false)
    assert.ok(sent().headers['api-key'])
  })

  it('unsupported_params: "error" refuses what would be left out, by name', bounded, async (t) => {
    const { pool, upstream } = await one(t, 'deepseek', { unsupported_params: 'error' })
    const error = await rejection(pool.chat({ messages: ask(), seed: 7 }))
    assert.match(error.message, /seed/)
    assert.equal(upstream.count, 0)
  })

  it('a parameter that the provider refuses is left out once, and the answer says so', bounded, async (t) => {
    const { pool, upstream, sent } = await one(t, 'openai-compatible')
    const refusal = { message: "Unsupported parameter: 'seed'", param: 'seed', code: 'unsupported_parameter' }
    upstream.next(status(400, { error: refusal }))
    const response = await pool.chat({ messages: ask(), seed: 7 })
    assert.equal('seed' in sent().json, false)
    assert.deepEqual(response.warnings, ['seed: refused by the provider, left out'])
    assert.deepEqual(
      response.attempts.map((line) => line.outcome),
      ['failure', 'success'],
    )
  })

  it('openai: fields of its own go through, extra_body goes over everything', bounded, async (t) => {
    const { pool, sent } = await one(t, 'openai')
    await pool.chat({
      messages: ask(),
      service_tier: 'flex',
      logit_bias: { 50256: -100 },
      temperature: 1,
      user: 'u1',
      metadata: { a: 'b' },
      reasoning_effort: 'low',
      extra_body: { openai: { brand_new: { x: 1 }, temperature: 0.3 }, anthropic: { not_for_you: 1 } },
    })
    const { json } = sent()
    assert.equal(json.service_tier, 'flex')
    assert.deepEqual(json.logit_bias, { 50256: -100 })
    assert.deepEqual(json.brand_new, { x: 1 })
    assert.equal(json.temperature, 0.3)
    assert.equal(json.user, 'u1')
    assert.deepEqual(json.metadata, { a: 'b' })
    assert.equal(json.reasoning_effort, 'low')
    assert.equal('not_for_you' in json || 'extra_body' in json, false)
  })

  it('openai: an unsupported parameter is mended once when the server names it, or thrown', bounded, async (t) => {
    const { pool, upstream } = await one(t, 'openai')
    upstream.next(
      status(400, {
        error: {
          message: "Unsupported parameter: 'temperature'",
          type: 'invalid_request_error',
          param: 'temperature',
          code: 'unsupported_parameter',
        },
      }),
    )
    try {
      const response = await pool.chat({ messages: ask(), temperature: 0.5 })
      assert.ok(response.warnings.some((warning) => warning.includes('temperature')))
      assert.equal('temperature' in upstream.last.json, false)
      assert.equal(upstream.count, 2)
    } catch (error) {
      assert.ok(error instanceof LLMPoolError, error.stack)
      assert.equal(error.errorClass, 'invalid_request')
      assert.equal(upstream.count, 1)
    }
  })

  it('openai: organization and project are headers', bounded, async (t) => {
    const { pool, sent } = await one(t, 'openai', { organization: 'org-1', project: 'proj-1' })
    await pool.chat(ask())
    assert.equal(sent().headers['openai-organization'], 'org-1')
    assert.equal(sent().headers['openai-project'], 'proj-1')
  })

  it('openai-compatible: needs no key and then sends none', bounded, async (t) => {
    const { pool, sent } = await one(t, 'openai-compatible', { api_key: undefined })
    assert.equal((await pool.chat(ask())).content, 'pong')
    assert.equal(sent().headers.authorization, undefined)
  })

  for (const [path, expected] of Object.entries({
    '': '/v1/chat/completions',
    '/': '/v1/chat/completions',
    '/v1': '/v1/chat/completions',
    '/v1/': '/v1/chat/completions',
    '/v1?api-version=2': '/v1/chat/completions?api-version=2',
    '/v1/?api-version=2&x=y%20z': '/v1/chat/completions?api-version=2&x=y%20z',
    '/gateway/team%20a/v1': '/gateway/team%20a/v1/chat/completions',
  })) {
    it(`openai: base URL "${path}" → ${expected}`, bounded, async (t) => {
      const { pool, sent } = await one(t, 'openai', { path })
      await pool.chat(ask())
      assert.equal(sent().path, expected)
    })
  }
})

describe('Provider wire: headers', () => {
  for (const type of ['openai', 'anthropic']) {
    it(
      `${type}: those of the provider and of the call are sent, the call's over the provider's`,
      bounded,
      async (t) => {
        const { pool, sent } = await one(t, type, { headers: { 'x-team': 'search', 'x-both': 'provider' } })
        await pool.chat(ask(), { headers: { 'x-trace': 'abc' } })
        assert.deepEqual([sent().headers['x-team'], sent().headers['x-trace']], ['search', 'abc'])
        assert.equal(sent().headers['x-both'], 'provider')
        await pool.chat(ask(), { headers: { 'X-Both': 'call' } })
        assert.equal(sent().headers['x-both'], 'call')
      },
    )

    it(`${type}: the key and the type of the body are ours, whatever the call says`, bounded, async (t) => {
      const { pool, sent } = await one(t, type)
      const headers = { 'content-type': 'text/plain', authorization: 'Bearer other', 'x-api-key': 'other' }
      await pool.chat(ask(), { headers })
      const [name, value] = type === 'anthropic' ? ['x-api-key', 'key-of-p'] : ['authorization', 'Bearer key-of-p']
      assert.equal(sent().headers[name], value)
      assert.match(sent().headers['content-type'], /^application\/json/)
    })
  }

  for (const headers of [
    { 'content-length': '3' },
    { 'Content-Length': '100000' },
    { 'transfer-encoding': 'chunked' },
    { connection: 'close' },
    { connection: 'upgrade', upgrade: 'websocket' },
  ]) {
    const what = Object.entries(headers).map((each) => each.join(': '))
    it(`a call cannot break the framing: ${what}`, bounded, async (t) => {
      const { pool, upstream } = await one(t, 'openai', { timeout: 1000 }, { maxRetries: 0 })
      const { error } = await settled(pool.chat(ask(), { headers }))
      if (error) {
        assert.ok(error instanceof InvalidRequestError, error.stack) // refused by name, nothing half-sent
        assert.match(`${error.field}`, /headers/)
        assert.equal(upstream.connections.length, 0)
      } else {
        assert.equal(upstream.last.json.messages[0].content, 'ping')
        for (const name of Object.keys(headers))
          assert.notEqual(upstream.last.headers[name.toLowerCase()], headers[name])
      }
      assert.equal((await pool.chat(ask('next'))).content, 'pong')
      assert.equal(upstream.last.json.messages[0].content, 'next')
    })

    it(`nor can a config: ${what}`, bounded, async (t) => {
      const upstream = await Upstream.start(t)
      const error = await rejection(openPool(t, [provider('p', upstream, { headers })]))
      assert.ok(error instanceof ConfigurationError, error.stack)
    })
  }
})

describe('Provider wire: anthropic', () => {
  it('method, path, key, version and body', bounded, async (t) => {
    const { pool, sent } = await one(t, 'anthropic')
    const response = await pool.chat({
      messages: [
        createTextMessage('system', 'be brief'),
        { role: 'developer', content: 'and kind' },
        ...ask('hello'),
        { role: 'assistant', content: 'hi' },
        ...ask('more'),
      ],
      temperature: 0.5,
      top_p: 0.9,
      max_tokens: 77,
      stop: 'END',
      user: 'u1',
    })
    const { method, headers, json } = sent()
    assert.equal(`${method} ${sent().path}`, 'POST /v1/messages')
    assert.equal(headers['x-api-key'], 'key-of-p')
    assert.equal(headers.authorization, undefined)
    assert.match(headers['anthropic-version'], /^\d{4}-\d{2}-\d{2}$/)
    assert.match(headers['content-type'], /^application\/json/)
    assert.equal(json.model, 'model-x')
    const system = typeof json.system === 'string' ? json.system : json.system.map((block) => block.text).join('\n\n')
    assert.equal(system, 'be brief\n\nand kind')
    assert.deepEqual(
      json.messages.map(({ role, content }) => [
        role,
        typeof content === 'string' ? content : content.map((block) => block.text).join(''),
      ]),
      [
        ['user', 'hello'],
        ['assistant', 'hi'],
        ['user', 'more'],
      ],
    )
    assert.equal(json.max_tokens, 77)
    assert.equal(json.temperature, 0.5)
    assert.deepEqual(json.stop_sequences, ['END'])
    assert.equal(json.metadata.user_id, 'u1')
    assert.ok(json.stream === undefined || json.stream === false)
    for (const name of ['stop', 'user', 'max_completion_tokens', 'n']) assert.equal(name in json, false, name)
    assert.equal(response.content, 'pong')
    assert.equal(response.finish_reason, 'stop')
    assert.equal(response.raw_finish_reason, 'end_turn')
    assert.equal(response.usage.total_tokens, 15)
  })

  it('max_tokens is always sent: of the call, of the provider, or a default', bounded, async (t) => {
    const plain = await one(t, 'anthropic')
    await plain.pool.chat(ask())
    assert.ok(Number.isInteger(plain.sent().json.max_tokens) && plain.sent().json.max_tokens >= 1024)
    const set = await one(t, 'anthropic', { max_tokens: 300 })
    await set.pool.chat(ask())
    assert.equal(set.sent().json.max_tokens, 300)
    await set.pool.chat({ messages: ask(), max_completion_tokens: 20 })
    assert.equal(set.sent().json.max_tokens, 20)
  })

  it('tools, their choice, calls and results', bounded, async (t) => {
    const { pool, upstream, sent } = await one(t, 'anthropic')
    upstream.next((exchange) =>
      exchange.reply(
        200,
        anthropicMessage('', {
          stop_reason: 'tool_use',
          content: [
            { type: 'text', text: 'Let me see.' },
            { type: 'tool_use', id: 'toolu_1', name: 'get_weather', input: { city: 'Oslo' } },
            { type: 'tool_use', id: 'toolu_2', name: 'get_weather', input: {} },
          ],
        }),
      ),
    )
    const response = await pool.chat({
      messages: ask('weather?'),
      tools: [tool],
      tool_choice: 'required',
      parallel_tool_calls: false,
    })
    const first = upstream.exchanges[0].json
    assert.equal(first.tools.length, 1)
    assert.equal(first.tools[0].name, 'get_weather')
    assert.equal(first.tools[0].description, 'Weather of a city')
    assert.deepEqual(first.tools[0].input_schema, tool.function.parameters)
    assert.equal(first.tool_choice.type, 'any')
    assert.equal(first.tool_choice.disable_parallel_tool_use, true)
    assert.equal(response.content, 'Let me see.')
    assert.equal(response.finish_reason, 'tool_calls')
    assert.deepEqual(
      response.tool_calls.map((call) => [call.id, call.type, call.function.name, JSON.parse(call.function.arguments)]),
      [
        ['toolu_1', 'function', 'get_weather', { city: 'Oslo' }],
        ['toolu_2', 'function', 'get_weather', {}],
      ],
    )

    const { role, content, tool_calls } = response
    await pool.chat({
      messages: [
        ...ask('weather?'),
        { role, content, tool_calls },
        { role: 'tool', tool_call_id: 'toolu_1', content: 'cold' },
        { role: 'tool', tool_call_id: 'toolu_2', content: 'wet' },
        ...ask('so?'),
      ],
      tools: [tool],
      tool_choice: { type: 'function', function: { name: 'get_weather' } },
    })
    const { messages, tool_choice } = sent().json
    assert.deepEqual(tool_choice, { type: 'tool', name: 'get_weather' })
    assert.equal(messages[1].role, 'assistant')
    assert.deepEqual(
      messages[1].content.map(({ type, text, id, input }) => ({ type, text, id, input })),
      [
        { type: 'text', text: 'Let me see.', id: undefined, input: undefined },
        { type: 'tool_use', text: undefined, id: 'toolu_1', input: { city: 'Oslo' } },
        { type: 'tool_use', text: undefined, id: 'toolu_2', input: {} },
      ],
    )
    const results = messages[2]
    assert.equal(results.role, 'user') // all results of one turn in one message, results first
    assert.deepEqual(
      results.content.slice(0, 2).map(({ type, tool_use_id }) => [type, tool_use_id]),
      [
        ['tool_result', 'toolu_1'],
        ['tool_result', 'toolu_2'],
      ],
    )
    const asText = ({ content: inner }) =>
      typeof inner === 'string' ? inner : inner.map((block) => block.text).join('')
    assert.deepEqual(results.content.slice(0, 2).map(asText), ['cold', 'wet'])
    assert.ok(JSON.stringify(messages.slice(2)).includes('so?'))
  })

  for (const [choice, expected] of [
    ['auto', { type: 'auto' }],
    ['none', { type: 'none' }],
  ]) {
    it(`tool_choice ${choice}`, bounded, async (t) => {
      const { pool, sent } = await one(t, 'anthropic')
      await pool.chat({ messages: ask(), tools: [tool], tool_choice: choice })
      assert.deepEqual(sent().json.tool_choice, expected)
    })
  }

  it('arguments that are no JSON object crash nobody', bounded, async (t) => {
    const { pool, sent } = await one(t, 'anthropic')
    const call = (id, text) => ({ id, type: 'function', function: { name: 'f', arguments: text } })
    await pool.chat([
      ...ask(),
      { role: 'assistant', content: null, tool_calls: [call('a', '{"broken'), call('b', ''), call('c', '[1]')] },
      ...['a', 'b', 'c'].map((id) => ({ role: 'tool', tool_call_id: id, content: 'x' })),
    ])
    const blocks = sent().json.messages[1].content
    assert.equal(blocks.length, 3)
    for (const block of blocks)
      assert.ok(typeof block.input === 'object' && !Array.isArray(block.input), JSON.stringify(block.input))
  })

  it('images: data URIs as base64, others as URL', bounded, async (t) => {
    const { pool, sent } = await one(t, 'anthropic')
    await pool.chat([
      createImageMessage('user', 'see', 'data:image/png;base64,iVBORw0KGgo='),
      createImageMessage('user', 'and', 'https://example.org/a.jpg'),
    ])
    const images = sent()
      .json.messages.flatMap((message) => message.content)
      .filter((block) => block.type === 'image')
    assert.deepEqual(
      images.map((image) => image.source),
      [
        { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' },
        { type: 'url', url: 'https://example.org/a.jpg' },
      ],
    )
  })

  it('what it cannot take is not sent, and the answer says so', bounded, async (t) => {
    const { pool, sent } = await one(t, 'anthropic')
    const response = await pool.chat({
      messages: ask(),
      seed: 3,
      presence_penalty: 0.5,
      frequency_penalty: 0.5,
      logprobs: true,
      temperature: 1.7,
    })
    const { json } = sent()
    for (const name of ['seed', 'presence_penalty', 'frequency_penalty', 'logprobs']) {
      assert.equal(name in json, false, name)
      assert.ok(
        response.warnings.some((warning) => warning.includes(name)),
        `${name} in ${response.warnings}`,
      )
    }
    assert.equal(json.temperature, 1)
    assert.ok(
      response.warnings.some((warning) => warning.includes('temperature')),
      response.warnings.join(),
    )
  })

  for (const path of ['', '/', '/v1', '/v1/']) {
    it(`base URL "${path}" → /v1/messages`, bounded, async (t) => {
      const { pool, sent } = await one(t, 'anthropic', { path })
      await pool.chat(ask())
      assert.equal(sent().path, '/v1/messages')
    })
  }

  it('its errors are classified in its own words', bounded, async (t) => {
    const { pool, upstream } = await one(t, 'anthropic', { circuit_breaker_threshold: 0 }, { maxRetries: 0 })
    const error = (type) => ({ type: 'error', error: { type, message: 'no' }, request_id: 'req_1' })
    for (const [code, type, expected] of [
      [529, 'overloaded_error', 'overloaded'],
      [400, 'invalid_request_error', 'invalid_request'],
      [500, 'api_error', 'server_error'],
    ]) {
      upstream.next(status(code, error(type)))
      assert.equal((await rejection(pool.chat(ask()))).errorClass, expected)
    }
  })

  it('a request goes to the next provider in the words of that one', bounded, async (t) => {
    const claude = await Upstream.start(
      t,
      status(529, { type: 'error', error: { type: 'overloaded_error', message: 'busy' } }),
    )
    const gpt = await Upstream.start(t, ok('from openai'))
    const pool = await openPool(
      t,
      inOrder(
        provider('claude', claude, { type: 'anthropic', base_url: claude.origin, model: 'claude-x' }),
        provider('gpt', gpt, { model: 'gpt-x' }),
      ),
    )
    const response = await pool.chat({ messages: [createTextMessage('system', 's'), ...ask()], max_tokens: 5, seed: 1 })
    assert.equal(response.content, 'from openai')
    assert.equal(claude.last.json.system === 's' || claude.last.json.system[0].text === 's', true)
    assert.equal(gpt.last.json.messages[0].role, 'system')
    assert.equal(gpt.last.json.model, 'gpt-x')
    assert.equal(gpt.last.json.seed, 1)
    assert.deepEqual(response.warnings, []) // the one that answered took everything
  })
})

describe('Provider wire: reading answers', () => {
  it('content in parts, and a refusal', bounded, async (t) => {
    const { pool, upstream } = await one(t, 'openai')
    upstream.next((exchange) => exchange.reply(200, completion(null, { message: { refusal: 'I will not.' } })))
    const response = await pool.chat(ask())
    assert.equal(response.refusal, 'I will not.')
    assert.equal(response.content, '')
    assert.equal(response.finish_reason, 'stop')
  })

  it('a finish reason nobody knows is "other", with the raw word', bounded, async (t) => {
    const { pool, upstream } = await one(t, 'openai')
    upstream.next(ok('text', { finish: 'sleepy' }))
    const response = await pool.chat(ask())
    assert.deepEqual([response.finish_reason, response.raw_finish_reason], ['other', 'sleepy'])
  })

  it('tool calls under a plain stop are tool calls', bounded, async (t) => {
    const { pool, upstream } = await one(t, 'openai-compatible')
    upstream.next((exchange) =>
      exchange.reply(
        200,
        completion(null, {
          message: { tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }] },
        }),
      ),
    )
    const response = await pool.chat(ask())
    assert.equal(response.finish_reason, 'tool_calls')
    assert.equal(response.raw_finish_reason, 'stop')
  })

  it('blank lines before the JSON are no failure', bounded, async (t) => {
    const { pool, upstream } = await one(t, 'openai-compatible')
    upstream.next((exchange) => exchange.reply(200, `\n\n  \r\n${JSON.stringify(completion('late'))}`))
    assert.equal((await pool.chat(ask())).content, 'late')
  })

  it('the recorded replies are there', bounded, () =>
    assert.ok(existsSync(new URL('fixtures/wire/index.json', import.meta.url))),
  )
})
