// Embeddings: one vector for each input, whatever dialect and batch it came in.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { Upstream, hang, status } from './support/upstream.mjs'
import { InvalidRequestError, NoProviderError, PoolClosedError, ProviderError } from '../index.mjs'
import { inOrder, openPool, provider, record, rejection, trail } from './support/pool.mjs'
import { bounded } from './support/wait.mjs'

/** Answers like OpenAI: each vector holds the number of its text and the number of texts in the batch. */
const openai = () => (exchange) => {
  const { input, model, encoding_format } = exchange.json
  const vector = (text) => [Number(text), input.length, 0.5]
  const encode = (numbers) =>
    encoding_format === 'base64' ? Buffer.from(new Float32Array(numbers).buffer).toString('base64') : numbers
  exchange.reply(200, {
    object: 'list',
    model,
    // Out of order: the index counts.
    data: input.map((text, index) => ({ object: 'embedding', index, embedding: encode(vector(text)) })).reverse(),
    usage: { prompt_tokens: input.length, total_tokens: input.length },
  })
}

const texts = (count) => Array.from({ length: count }, (_, index) => String(index))
const embedder = (name, upstream, more) =>
  provider(name, upstream, { model: 'text-embedding-3-small', input_token_price: 0.01, ...more })

describe('Embeddings', () => {
  it('answer as OpenAI does, with what the pool knows', bounded, async (t) => {
    const upstream = await Upstream.start(t, openai())
    const pool = await openPool(t, [embedder('a', upstream)])
    const successes = record(pool, 'requestSuccess')
    const { latencyMs, requestId, attempts, ...rest } = await pool.embed({ input: ['7', '8'] })
    assert.deepEqual(rest, {
      object: 'list',
      data: [
        { object: 'embedding', index: 0, embedding: [7, 2, 0.5] },
        { object: 'embedding', index: 1, embedding: [8, 2, 0.5] },
      ],
      model: 'text-embedding-3-small',
      provider: 'a',
      usage: {
        prompt_tokens: 2,
        completion_tokens: 0,
        total_tokens: 2,
        cached_tokens: 0,
        cache_write_tokens: 0,
        reasoning_tokens: 0,
        estimated: false,
      },
      cost: 0.00002,
      warnings: [],
    })
    assert.ok(latencyMs > 0 && requestId.length > 0)
    assert.deepEqual(trail({ attempts }), ['a:success'])
    assert.equal(successes.length, 1)
    assert.equal(upstream.last.path, '/v1/embeddings')
    assert.equal(upstream.last.headers.authorization, 'Bearer key-of-a')
    assert.equal(pool.getProviderStats().a.usage.promptTokens, 2)
  })

  it('come as text where that is asked for', bounded, async (t) => {
    const upstream = await Upstream.start(t, openai())
    const plain = await Upstream.start(t, (exchange) =>
      exchange.reply(200, { embeddings: { float: [[0.5, -2]] }, meta: {} }),
    )
    const pool = await openPool(t, [
      embedder('a', upstream),
      embedder('b', plain, { type: 'cohere', model: 'embed-v4.0', base_url: plain.origin }),
    ])
    const ask = (providers) => pool.embed({ input: '1', encoding_format: 'base64', providers })
    const numbers = ({ data: [{ embedding }] }) => {
      assert.equal(typeof embedding, 'string')
      return [...new Float32Array(new Uint8Array(Buffer.from(embedding, 'base64')).buffer)]
    }
    assert.deepEqual(numbers(await ask(['a'])), [1, 1, 0.5])
    assert.deepEqual(numbers(await ask(['b'])), [0.5, -2])
  })

  it('are asked for in batches and joined in order', bounded, async (t) => {
    const upstream = await Upstream.start(t, openai())
    const pool = await openPool(t, [embedder('a', upstream, { type: 'mistral', model: 'mistral-embed' })])
    const { data, usage, attempts } = await pool.embed({ input: texts(70) })
    assert.deepEqual(
      data.map(({ index, embedding }) => [index, embedding[0]]),
      texts(70).map((text) => [Number(text), Number(text)]),
    )
    assert.deepEqual(
      upstream.exchanges.map(({ json }) => json.input.length),
      [32, 32, 6],
    )
    assert.equal(usage.prompt_tokens, 70)
    assert.equal(attempts.length, 3)
  })

  it('of 10,000 inputs are all there', bounded, async (t) => {
    const upstream = await Upstream.start(t, openai())
    const pool = await openPool(t, [embedder('a', upstream)])
    const { data } = await pool.embed({ input: texts(10_000) })
    assert.equal(data.length, 10_000)
    assert.ok(data.every(({ index, embedding }) => index === embedding[0]))
    assert.ok(upstream.exchanges.every(({ json }) => json.input.length <= 2048))
  })

  it('fail over whole: no two models make one answer', bounded, async (t) => {
    const breaks = await Upstream.start(t, openai())
    breaks.next(openai()).always(status(401))
    const works = await Upstream.start(t, openai())
    const mistral = { type: 'mistral', model: 'mistral-embed' }
    const pool = await openPool(t, inOrder(embedder('breaks', breaks, mistral), embedder('works', works, mistral)))
    const response = await pool.embed({ input: texts(40) })
    assert.equal(response.provider, 'works')
    assert.deepEqual(trail(response), ['breaks:success', 'breaks:failure', 'works:success', 'works:success'])
    assert.deepEqual(
      works.exchanges.map(({ json }) => json.input.length),
      [32, 8],
    )
  })

  it('keep dimensions and tokens, or go where they are kept', bounded, async (t) => {
    const upstream = await Upstream.start(t, openai())
    const pool = await openPool(t, [
      embedder('groq', upstream, { type: 'groq', model: 'e' }),
      embedder('openai', upstream, { priority: 2 }),
    ])
    const cut = await pool.embed({ input: '1', dimensions: 3 })
    assert.equal(cut.provider, 'openai')
    assert.equal(upstream.last.json.dimensions, 3)
    const tokens = await pool.embed({ input: [[1], [2]] })
    assert.equal(tokens.provider, 'openai')
    assert.deepEqual(upstream.last.json.input, [[1], [2]])
    const refused = await rejection(pool.embed({ input: '1', dimensions: 3, providers: ['groq'] }))
    assert.ok(refused instanceof InvalidRequestError)
    assert.equal(refused.field, 'dimensions')
  })

  it('that are not as asked are no answer', bounded, async (t) => {
    const upstream = await Upstream.start(t)
    const pool = await openPool(t, [embedder('a', upstream)], { maxRetries: 0 })
    for (const [data, expected] of [
      [[], 'bad_reply'],
      [[{ index: 0, embedding: [] }], 'bad_reply'],
      [[{ index: 0, embedding: [1, null] }], 'bad_reply'],
      [[{ index: 0, embedding: 'AAA=' }], 'bad_reply'],
      [[{ index: 0, embedding: [1, 2, 3] }], 'model_output_invalid'],
    ]) {
      upstream.always(status(200, { data }))
      const error = await rejection(pool.embed({ input: 'x', dimensions: 2 }))
      assert.ok(error instanceof ProviderError, error.stack)
      assert.equal(error.errorClass, expected, JSON.stringify(data))
    }
  })

  it('refuse what cannot be embedded, by name and before sending', bounded, async (t) => {
    const upstream = await Upstream.start(t, openai())
    const pool = await openPool(t, [embedder('a', upstream)])
    const cyclic = { input: 'x' }
    cyclic.self = cyclic
    for (const [request, field] of [
      [{}, 'input'],
      [{ input: [] }, 'input'],
      [{ input: '' }, 'input[0]'],
      [{ input: ['a', ''] }, 'input[1]'],
      [{ input: ['a', 5] }, 'input[1]'],
      [{ input: [Number.NaN] }, 'input[0]'],
      [{ input: 'a', dimensions: -1 }, 'dimensions'],
      [{ input: 'a', encoding_format: 'hex' }, 'encoding_format'],
      [{ input: 'a', stream: true }, 'stream'],
      [cyclic, 'self'],
      ['a text', ''],
      [null, ''],
    ]) {
      const error = await rejection(pool.embed(request))
      assert.ok(error instanceof InvalidRequestError, `${JSON.stringify(request?.input)}: ${error.stack}`)
      assert.equal(error.field, field)
    }
    assert.equal(upstream.count, 0)
  })

  it('are asked of nobody who only chats', bounded, async (t) => {
    const upstream = await Upstream.start(t, openai())
    const pool = await openPool(t, [provider('chats', upstream), provider('claude', upstream, { type: 'anthropic' })])
    const error = await rejection(pool.embed({ input: 'x' }))
    assert.ok(error instanceof NoProviderError)
    assert.ok(error.reasons.every(({ reason }) => reason.includes('embeddings')))
  })

  it('are cancelled by their signal, and end with the pool', bounded, async (t) => {
    const upstream = await Upstream.start(t, hang())
    const pool = await openPool(t, [embedder('a', upstream)])
    const controller = new AbortController()
    const call = pool.embed({ input: 'x' }, { signal: controller.signal })
    await upstream.request()
    controller.abort(new Error('enough'))
    assert.equal((await rejection(call)).message, 'enough')
    await pool.shutdown()
    assert.ok((await rejection(pool.embed({ input: 'x' }))) instanceof PoolClosedError)
  })
})
