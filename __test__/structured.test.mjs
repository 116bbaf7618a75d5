// Structured output: answers that fit the caller's schema, or an error that says so.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { Upstream, anthropicMessage, chunk, ok, sse, sseOk, status } from './support/upstream.mjs'
import { InvalidRequestError, ProviderError } from '../index.mjs'
import { ask, drain, inOrder, openPool, provider, record, rejection, trail } from './support/pool.mjs'
import { bounded } from './support/wait.mjs'

const schema = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
}
const format = { type: 'json_schema', json_schema: { name: 'place', schema } }

describe('Structured output', () => {
  it('is parsed, and sent as the caller wrote it', bounded, async (t) => {
    const upstream = await Upstream.start(t, ok('{"city":"Oslo"}'))
    const pool = await openPool(t, [provider('a', upstream)])
    const response = await pool.chat({ messages: ask(), response_format: format })
    assert.deepEqual(response.parsed, { city: 'Oslo' })
    assert.deepEqual(upstream.last.json.response_format, format)
    assert.equal('parsed' in (await pool.chat(ask())), false)
  })

  it('is asked for in words where a model has no schema', bounded, async (t) => {
    const upstream = await Upstream.start(t, ok('Here:\n```json\n{"city":"Oslo"}\n```'))
    const pool = await openPool(t, [provider('a', upstream, { capabilities: [] })])
    const response = await pool.chat({ messages: ask('where?'), response_format: format })
    assert.deepEqual([response.parsed, response.content], [{ city: 'Oslo' }, '{"city":"Oslo"}'])
    assert.deepEqual(upstream.last.json.response_format, { type: 'json_object' })
    assert.match(upstream.last.json.messages[0].content, /^where\?.*JSON Schema.*"city"/s)
    assert.match(response.warnings.join(), /^response_format/)
  })

  it('that does not fit goes to one further provider', bounded, async (t) => {
    const wrong = await Upstream.start(t, ok('{"town":"Oslo"}'))
    const right = await Upstream.start(t, ok('{"city":"Oslo"}'))
    const pool = await openPool(t, inOrder(provider('wrong', wrong), provider('right', right)))
    const response = await pool.chat({ messages: ask(), response_format: format })
    assert.deepEqual(trail(response), ['wrong:failure', 'right:success'])
    right.always(ok('no'))
    const error = await rejection(pool.chat({ messages: ask(), response_format: format }))
    assert.ok(error instanceof ProviderError)
    assert.equal(error.errorClass, 'model_output_invalid')
    assert.equal(error.attempts.length, 2)
  })

  it('of a stream rejects the whole answer only', bounded, async (t) => {
    const upstream = await Upstream.start(t, sseOk('{"town":', '"Oslo"}'))
    const pool = await openPool(t, [provider('a', upstream)])
    const stream = pool.stream({ messages: ask(), response_format: format })
    assert.equal((await drain(stream)).text, '{"town":"Oslo"}')
    assert.equal(await stream.text(), '{"town":"Oslo"}')
    const error = await rejection(stream.response())
    assert.equal(error.errorClass, 'model_output_invalid')
    upstream.always(sseOk('{"city":', '"Oslo"}'))
    const whole = await pool.stream({ messages: ask(), response_format: format }).response()
    assert.deepEqual(whole.parsed, { city: 'Oslo' })
  })

  it('that does not fit is paid for as it was reported, and is no success', bounded, async (t) => {
    const usage = { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 }
    const wrong = await Upstream.start(t, ok('{"town":"Oslo"}', { usage }))
    const pool = await openPool(t, [provider('a', wrong)], { maxRetries: 0 })
    const told = record(pool, 'requestSuccess', 'requestError')
    const request = { messages: ask(), response_format: format }
    await rejection(pool.chat(request))
    const { totalTokensUsed, promptTokens, totalCost, errors } = pool.getProviderStats().a.usage
    assert.deepEqual([totalTokensUsed, promptTokens, errors], [1100, 1000, 1])
    assert.equal(totalCost, (1000 * 2.5 + 100 * 10) / 1e6)

    wrong.always(
      sse(async (stream) => {
        await stream.text('{"town":"Oslo"}')
        await stream.finish('stop', usage)
        await stream.done()
      }),
    )
    const stream = pool.stream(request)
    assert.equal((await drain(stream)).text, '{"town":"Oslo"}')
    assert.equal((await rejection(stream.response())).errorClass, 'model_output_invalid')
    assert.equal(pool.getProviderStats().a.usage.totalTokensUsed, 2200)
    const classes = told.map(([name, event]) => [name, event.errorClass, event.retryable])
    assert.deepEqual(classes.slice(-1), [['requestError', 'model_output_invalid', false]])
    assert.ok(!told.some(([name]) => name === 'requestSuccess'))
    const { successfulRequests, failedRequests } = pool.getStats()
    assert.deepEqual([successfulRequests, failedRequests], [0, 2])
  })

  it('refuses a broken schema by name and before sending', bounded, async (t) => {
    const upstream = await Upstream.start(t, ok('{}'))
    const pool = await openPool(t, [provider('a', upstream)])
    for (const [json_schema, field] of [
      [{ schema }, 'name'],
      [{ name: 'a b', schema }, 'name'],
      [{ name: 'n' }, 'schema'],
      [{ name: 'n', schema: [] }, 'schema'],
      [{ name: 'n', schema: { type: 'objekt' } }, 'schema'],
      [{ name: 'n', schema: { $ref: 'https://example.com/s.json' } }, 'schema'],
      [{ name: 'n', schema: { pattern: '(' } }, 'schema'],
    ]) {
      const error = await rejection(
        pool.chat({ messages: ask(), response_format: { type: 'json_schema', json_schema } }),
      )
      assert.ok(error instanceof InvalidRequestError, error.stack)
      assert.equal(error.field, `response_format.json_schema.${field}`)
    }
    assert.equal(upstream.count, 0)
  })
})

/** Pieces of a call of the tool `place`. */
const call = (args, more = {}) => ({
  tool_calls: [{ index: 0, ...more, function: { name: more.name, arguments: args } }],
})

describe('Structured output: where a model has tools and no schema', () => {
  const old = { model: 'gpt-4-turbo' }

  it('a tool that must be called gives the answer', bounded, async (t) => {
    const tool_calls = [{ id: 'c', type: 'function', function: { name: 'place', arguments: '{"city":"Oslo"}' } }]
    const upstream = await Upstream.start(t, ok(null, { finish: 'tool_calls', message: { tool_calls } }))
    const pool = await openPool(t, [provider('a', upstream, old)])
    const response = await pool.chat({ messages: ask('where?'), response_format: format })
    const { tools, tool_choice, response_format, messages } = upstream.last.json
    assert.deepEqual([tools.length, tools[0].function.parameters], [1, schema])
    assert.deepEqual(tool_choice, { type: 'function', function: { name: 'place' } })
    assert.deepEqual([response_format, messages], [undefined, ask('where?')])
    assert.deepEqual([response.content, response.parsed], ['{"city":"Oslo"}', { city: 'Oslo' }])
    assert.deepEqual([response.finish_reason, response.raw_finish_reason], ['stop', 'tool_calls'])
    assert.equal(response.tool_calls, undefined)
    assert.match(response.warnings.join(), /^response_format: .* a tool that must be called/)
  })

  it('and in a stream its arguments are the text', bounded, async (t) => {
    const upstream = await Upstream.start(
      t,
      sse(async (stream) => {
        await stream.push(chunk({ role: 'assistant', content: null, ...call('', { id: 'c', name: 'place' }) }))
        for (const piece of ['{"ci', 'ty":', '"Oslo"}']) await stream.push(chunk(call(piece)))
        await stream.finish('tool_calls')
        await stream.done()
      }),
    )
    const pool = await openPool(t, [provider('a', upstream, old)])
    const stream = pool.stream({ messages: ask(), response_format: format })
    const { chunks, text } = await drain(stream)
    assert.equal(text, '{"city":"Oslo"}')
    assert.ok(chunks.every((each) => each.tool_calls === undefined))
    assert.deepEqual(chunks.map((each) => each.finish_reason).filter(Boolean), ['stop'])
    const { parsed, finish_reason, tool_calls } = await stream.response()
    assert.deepEqual([parsed, finish_reason, tool_calls], [{ city: 'Oslo' }, 'stop', undefined])
  })

  it('anthropic: whole and streamed, and not in the way of tools of the caller', bounded, async (t) => {
    const content = [{ type: 'tool_use', id: 'toolu_1', name: 'place', input: { city: 'Oslo' } }]
    const upstream = await Upstream.start(t, (exchange) =>
      exchange.reply(200, anthropicMessage('', { content, stop_reason: 'tool_use' })),
    )
    const claude = { type: 'anthropic', model: 'claude-3-5-sonnet-20241022', base_url: upstream.origin }
    const pool = await openPool(t, [provider('a', upstream, claude)])
    const request = { messages: ask(), response_format: format }
    const whole = await pool.chat(request)
    assert.deepEqual([whole.parsed, whole.content, whole.finish_reason], [{ city: 'Oslo' }, '{"city":"Oslo"}', 'stop'])
    assert.deepEqual(upstream.last.json.tool_choice, { type: 'tool', name: 'place', disable_parallel_tool_use: true })

    const events = [
      { type: 'message_start', message: { id: 'm', role: 'assistant', content: [], usage: { input_tokens: 1 } } },
      { type: 'content_block_start', index: 0, content_block: { ...content[0], input: {} } },
      { type: 'content_block_delta', index: 0, delta: { type: 'input_json_delta', partial_json: '{"city":' } },
      { type: 'content_block_delta', index: 0, delta: { type: 'input_json_delta', partial_json: '"Oslo"}' } },
      { type: 'content_block_stop', index: 0 },
      { type: 'message_delta', delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 5 } },
      { type: 'message_stop' },
    ]
    upstream.always(
      sse(async (stream) => {
        for (const event of events) await stream.raw(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
        await stream.exchange.end()
      }),
    )
    const stream = pool.stream(request)
    assert.equal((await drain(stream)).text, '{"city":"Oslo"}')
    assert.deepEqual((await stream.response()).parsed, { city: 'Oslo' })

    // Beside the caller's own tools it is told in words, and a call is a call.
    upstream.always((exchange) => exchange.reply(200, anthropicMessage('', { content, stop_reason: 'tool_use' })))
    const tools = [{ type: 'function', function: { name: 'place' } }]
    const called = await pool.chat({ ...request, tools })
    assert.deepEqual([called.tool_calls.length, called.finish_reason, called.parsed], [1, 'tool_calls', undefined])
    assert.match(upstream.last.json.messages[0].content, /JSON Schema/)
    assert.equal(upstream.last.json.tool_choice, undefined)
  })

  it('is told in words when the tool is refused', bounded, async (t) => {
    const refusal = {
      error: {
        message: 'Thinking mode does not support this tool_choice',
        param: 'tool_choice',
        code: 'unsupported_value',
      },
    }
    const upstream = await Upstream.start(t, ok('{"city":"Oslo"}'))
    upstream.next(status(400, refusal))
    const pool = await openPool(t, [provider('a', upstream, old)])
    const response = await pool.chat({ messages: ask(), response_format: format })
    assert.deepEqual([response.parsed, upstream.last.json.tools], [{ city: 'Oslo' }, undefined])
    assert.match(upstream.last.json.messages[0].content, /JSON Schema/)
  })
})

describe('Structured output: in the words of a dialect', () => {
  const loose = {
    type: 'object',
    properties: {
      city: { type: 'string' },
      since: { type: 'string', format: 'uri' },
      tags: { type: ['null', 'string'] },
    },
    required: ['city'],
  }
  const json_schema = { name: 'place', strict: true, schema: loose }

  it('strict: what may be absent is asked for as null, and null is absent again', bounded, async (t) => {
    const upstream = await Upstream.start(t, ok('{"city":"Oslo","since":null,"tags":null}'))
    const pool = await openPool(t, [provider('a', upstream)])
    const request = { messages: ask(), response_format: { type: 'json_schema', json_schema } }
    const response = await pool.chat(request)
    const sent = upstream.last.json.response_format.json_schema
    assert.deepEqual([sent.strict, sent.schema.additionalProperties], [true, false])
    assert.deepEqual(sent.schema.required.toSorted(), ['city', 'since', 'tags'])
    assert.deepEqual(sent.schema.properties.since.type, ['string', 'null'])
    // `tags` may be null, so it stays.
    assert.deepEqual([response.parsed, JSON.parse(response.content)], Array(2).fill({ city: 'Oslo', tags: null }))
    const [warning] = response.warnings
    for (const part of [
      'schema: ',
      'null where it is absent (/since, /tags)',
      'format is said',
      'no further properties',
    ])
      assert.ok(warning.includes(part), `${part}: ${warning}`)

    upstream.always(sseOk('{"city":"Oslo",', '"since":null,"tags":null}'))
    const stream = pool.stream(request)
    assert.equal((await drain(stream)).text, '{"city":"Oslo","since":null,"tags":null}')
    assert.deepEqual((await stream.response()).parsed, { city: 'Oslo', tags: null })
    // Without `strict` it goes as it was written.
    upstream.always(ok('{"city":"Oslo"}'))
    await pool.chat({
      messages: ask(),
      response_format: { type: 'json_schema', json_schema: { name: 'p', schema: loose } },
    })
    assert.deepEqual(upstream.last.json.response_format.json_schema.schema, loose)
  })

  it('an answer that is a list stands in an object where it has to', bounded, async (t) => {
    const schema = { type: 'array', items: { type: 'string' } }
    const upstream = await Upstream.start(t, ok('{"value":["Oslo"]}'))
    const pool = await openPool(t, [provider('a', upstream)])
    const response_format = { type: 'json_schema', json_schema: { name: 'cities', schema } }
    const response = await pool.chat({ messages: ask(), response_format })
    assert.deepEqual([response.parsed, response.content], [['Oslo'], '["Oslo"]'])
    assert.deepEqual(upstream.last.json.response_format.json_schema.schema.properties, { value: schema })
    assert.match(response.warnings.join(), /stands in the property "value"/)
  })

  it('a schema that the provider refuses all the same is told in words', bounded, async (t) => {
    const message = "Invalid schema for response_format 'place': In context=(), 'x' is not permitted."
    const upstream = await Upstream.start(t, ok('{"city":"Oslo"}'))
    upstream.next(
      status(400, { error: { message, type: 'invalid_request_error', param: 'response_format', code: null } }),
    )
    const pool = await openPool(t, [provider('a', upstream)])
    const response = await pool.chat({ messages: ask(), response_format: format })
    assert.deepEqual([trail(response), response.parsed], [['a:failure', 'a:success'], { city: 'Oslo' }])
    assert.match(response.warnings.join(), /response_format: openai does not take response_format, told in words/)
  })

  it('properties keep the order in which they were written: models answer in it', bounded, async (t) => {
    const properties = { why: { type: 'string' }, city: { type: 'string' }, age: { type: 'number' } }
    const schema = { type: 'object', properties, required: Object.keys(properties), additionalProperties: false }
    const upstream = await Upstream.start(t, ok('{"why":"w","city":"Oslo","age":1}'))
    const pool = await openPool(t, [provider('a', upstream)])
    const response_format = { type: 'json_schema', json_schema: { name: 'place', strict: true, schema } }
    const response = await pool.chat({ messages: ask(), response_format })
    const sent = upstream.last.json.response_format.json_schema.schema
    assert.deepEqual(Object.keys(sent.properties), ['why', 'city', 'age'])
    assert.deepEqual(Object.keys(response.parsed), ['why', 'city', 'age'])
  })
})
