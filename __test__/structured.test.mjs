// Structured output: answers that fit the caller's schema, or an error that says so.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { Upstream, ok, sseOk } from './support/upstream.mjs'
import { InvalidRequestError, ProviderError } from '../index.mjs'
import { ask, drain, inOrder, openPool, provider, rejection, trail } from './support/pool.mjs'
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
    const pool = await openPool(t, [provider('a', upstream, { capabilities: ['tools'] })])
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
