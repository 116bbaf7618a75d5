// The gateway as the official clients of OpenAI see it: over a port, and without a socket through `pool.fetch`. One
// suite for both ways and for each major version of the client.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import OpenAI6 from 'openai'
import OpenAI7 from 'openai-7'
import { ask, openPool, provider, record } from './support/pool.mjs'
import { chunk, completion, hang, ok, sse, sseOk, status, Upstream } from './support/upstream.mjs'
import { bounded, deferred, until } from './support/wait.mjs'

const KEY = 'key-of-the-gateway'

/** The ways in: what a client is made with. */
const DOORS = {
  port: async (t, pool) => {
    const gateway = await pool.serve({ http: '127.0.0.1:0', apiKeys: [KEY] })
    t.after(() => gateway.close({ drainTimeout: 0 }))
    return { baseURL: `${gateway.url}/v1`, apiKey: KEY }
  },
  fetch: async (_, pool) => ({ baseURL: 'http://llmpool.local/v1', apiKey: 'unused', fetch: pool.fetch }),
}

const CLIENTS = { 'openai 6': OpenAI6, 'openai 7': OpenAI7 }

for (const [version, OpenAI] of Object.entries(CLIENTS)) {
  for (const [door, enter] of Object.entries(DOORS)) {
    suite(`${version} through the ${door}`, OpenAI, enter)
  }
}

function suite(name, OpenAI, enter) {
  const story = (title, tell) =>
    test(`${name}: ${title}`, bounded, async (t) => {
      const upstream = await Upstream.start(t)
      const models = { embed: 'text-embedding-3-small' }
      const pool = await openPool(t, [provider('main', upstream, { models })], { maxRetries: 0 })
      const client = new OpenAI(await enter(t, pool))
      await tell({ t, upstream, pool, client, OpenAI })
    })

  const request = { model: 'gpt-4o', messages: ask('hi') }

  story('answers', async ({ client, upstream }) => {
    upstream.next(ok('hello'))
    const { data, response } = await client.chat.completions.create({ ...request, top_k: 3 }).withResponse()
    assert.equal(data.choices[0].message.content, 'hello')
    assert.equal(data.usage.total_tokens, 15)
    assert.equal(data._request_id, response.headers.get('x-request-id'))
    assert.equal(response.headers.get('x-llmpool-provider'), 'main')
    assert.equal(upstream.last.json.top_k, 3, 'what only the provider knows is passed on')
    assert.equal(upstream.last.headers.authorization, 'Bearer key-of-main')
  })

  story('streams, with the usage for those who ask', async ({ client, upstream }) => {
    upstream.next(sseOk('hel', 'lo'), sseOk('hel', 'lo'))
    const plain = []
    for await (const each of await client.chat.completions.create({ ...request, stream: true })) plain.push(each)
    assert.equal(plain.map((each) => each.choices[0]?.delta.content ?? '').join(''), 'hello')
    assert.ok(plain.every((each) => each.choices.length === 1))
    const told = []
    const asking = { ...request, stream: true, stream_options: { include_usage: true } }
    for await (const each of await client.chat.completions.create(asking)) told.push(each)
    assert.deepEqual(told.at(-1).choices, [])
    assert.equal(told.at(-1).usage.prompt_tokens, 10)
    const whole = await client.chat.completions
      .stream(request)
      .finalChatCompletion()
      .catch((error) => error)
    assert.ok(whole, 'the helper of the client folds it')
  })

  story('calls tools, whole and streamed, and takes their results', async ({ client, upstream }) => {
    const call = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } }
    const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: {} } } }]
    upstream.next((exchange) =>
      exchange.reply(200, completion(null, { finish: 'tool_calls', message: { tool_calls: [call] } })),
    )
    const { choices } = await client.chat.completions.create({ ...request, tools })
    assert.deepEqual(choices[0].message.tool_calls, [call])
    assert.equal(choices[0].finish_reason, 'tool_calls')

    upstream.next(
      sse(async (stream) => {
        await stream.push(chunk({ role: 'assistant', tool_calls: [{ index: 0, ...call }] }))
        await stream.finish('tool_calls')
        await stream.done()
      }),
    )
    const final = await client.chat.completions.stream({ ...request, tools }).finalChatCompletion()
    assert.equal(final.choices[0].message.tool_calls[0].function.arguments, call.function.arguments)

    // The message goes back as the client has it, with all its own fields.
    const result = { role: 'tool', tool_call_id: 'call_1', content: '3 °C' }
    upstream.next(ok('cold'))
    const messages = [...ask('hi'), { ...final.choices[0].message, annotations: [], audio: null }, result]
    await client.chat.completions.create({ ...request, messages, tools })
    assert.equal(upstream.last.json.messages[1].tool_calls[0].id, 'call_1')
  })

  story('fails once, in the class of the client', async ({ client, upstream, OpenAI: { APIError } }) => {
    for (const [upstreamStatus, clientStatus, name] of [
      [500, 503, 'InternalServerError'],
      [400, 400, 'BadRequestError'],
      [401, 503, 'InternalServerError'], // the key of the pool is not the client's
    ]) {
      const before = upstream.count
      upstream.always(status(upstreamStatus))
      const error = await client.chat.completions.create(request).catch((error) => error)
      assert.equal(error.constructor.name, name, `${error}`)
      assert.ok(error instanceof APIError)
      assert.equal(error.status, clientStatus)
      assert.match(error.requestID, /^req_/)
      assert.equal(upstream.count - before, 1, 'neither the pool nor the client asked again')
    }
    // The key rests now; what is wrong with the request is found before anybody is asked.
    const unknown = await client.chat.completions.create({ ...request, model: 'nobody' }).catch((error) => error)
    assert.equal(unknown.constructor.name, 'NotFoundError')
    assert.equal(unknown.code, 'model_not_found')
    const empty = await client.chat.completions.create({ ...request, messages: [] }).catch((error) => error)
    assert.equal(empty.constructor.name, 'BadRequestError')
    assert.equal(empty.param, 'messages')
  })

  story('a stream that breaks throws, it never just ends', async ({ client, upstream }) => {
    upstream.next(
      sse(async (stream) => {
        await stream.text('half')
        stream.reset()
      }),
    )
    let text = ''
    const stream = await client.chat.completions.create({ ...request, stream: true })
    const reading = (async () => {
      for await (const each of stream) text += each.choices[0].delta.content ?? ''
    })()
    const error = await reading.then(
      () => null,
      (error) => error,
    )
    assert.ok(error, 'the client was told')
    assert.equal(text, 'half')
  })

  story('a client that leaves ends the call upstream', async ({ client, upstream }) => {
    upstream.next(hang())
    const controller = new AbortController()
    const whole = client.chat.completions.create(request, { signal: controller.signal }).catch((error) => error)
    const first = await upstream.request(1)
    controller.abort()
    assert.equal((await whole).constructor.name, 'APIUserAbortError')
    await first.closed

    const more = deferred()
    upstream.next(
      sse(async (stream) => {
        await stream.text('one')
        await more.promise
      }),
    )
    const stream = await client.chat.completions.create({ ...request, stream: true })
    for await (const each of stream) {
      if (each.choices[0].delta.content === 'one') break
    }
    await (await upstream.request(2)).closed
    more.resolve()
  })

  story('makes vectors, in base64 as the client asks by itself, and as numbers', async ({ client, upstream }) => {
    const vectors = [
      [0.25, -1.5, 3],
      [1, 2, 3],
    ]
    upstream.always((exchange) =>
      exchange.reply(200, {
        object: 'list',
        model: 'text-embedding-3-small',
        data: vectors.map((embedding, index) => ({ object: 'embedding', index, embedding })),
        usage: { prompt_tokens: 4, total_tokens: 4 },
      }),
    )
    for (const encoding_format of [undefined, 'float']) {
      const { data, usage } = await client.embeddings.create({ model: 'embed', input: ['a', 'b'], encoding_format })
      assert.deepEqual(
        data.map(({ embedding }) => [...embedding]),
        vectors,
      )
      assert.equal(usage.prompt_tokens, 4)
    }
  })

  story('answers in the responses API', async ({ client, upstream }) => {
    upstream.next(ok('hello'))
    const response = await client.responses.create({ model: 'gpt-4o', instructions: 'be kind', input: 'hi' })
    assert.deepEqual([response.output_text, response.status, response.instructions], ['hello', 'completed', 'be kind'])
    assert.deepEqual([response.usage.input_tokens, response.usage.output_tokens], [10, 5])
    assert.equal(upstream.last.json.messages[0].content, 'be kind')
    const refused = await client.responses
      .create({ model: 'gpt-4o', input: 'hi', previous_response_id: 'resp_1' })
      .catch((error) => error)
    assert.deepEqual([refused.status, refused.param], [400, 'previous_response_id'])
  })

  story('streams in the responses API, text and calls', async ({ client, upstream }) => {
    const call = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } }
    upstream.next(
      sse(async (stream) => {
        await stream.push(chunk({ role: 'assistant', reasoning_content: 'hm' }))
        await stream.text('wa')
        await stream.text('it')
        await stream.push(chunk({ tool_calls: [{ index: 0, ...call }] }))
        await stream.finish('tool_calls', { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 })
        await stream.done()
      }),
    )
    const tools = [{ type: 'function', name: 'weather', parameters: { type: 'object', properties: {} }, strict: false }]
    const stream = client.responses.stream({ model: 'gpt-4o', input: 'hi', tools })
    const numbers = []
    for await (const event of stream) numbers.push(event.sequence_number)
    assert.deepEqual(
      numbers,
      numbers.map((_, index) => index),
    )
    const response = await stream.finalResponse()
    assert.equal(response.output_text, 'wait')
    const { name, call_id, arguments: given } = response.output.find(({ type }) => type === 'function_call')
    assert.deepEqual([name, call_id, given], ['weather', 'call_1', '{"city":"Oslo"}'])
    assert.equal(response.usage.total_tokens, 15)

    upstream.next(ok('cold'))
    const input = [
      { role: 'user', content: 'hi' },
      ...response.output.map(({ parsed_arguments, ...item }) => item),
      { type: 'function_call_output', call_id, output: '3 °C' },
    ]
    await client.responses.create({ model: 'gpt-4o', input, tools })
    const [, assistant, tool] = upstream.last.json.messages
    assert.deepEqual([assistant.content, assistant.tool_calls], ['wait', [call]])
    assert.deepEqual([tool.role, tool.tool_call_id], ['tool', 'call_1'])

    upstream.next(
      sse(async (stream) => {
        await stream.text('half')
        stream.reset()
      }),
    )
    const events = []
    const broken = await client.responses.create({ model: 'gpt-4o', input: 'hi', stream: true })
    const error = await (async () => {
      for await (const event of broken) events.push(event.type)
    })().catch((error) => error)
    assert.ok(error instanceof Error, `told: ${events}`)
  })

  story('lists what may be asked for', async ({ client }) => {
    const ids = []
    for await (const model of client.models.list()) ids.push(model.id)
    assert.deepEqual(ids, ['auto', 'gpt-4o', 'embed'])
    assert.equal((await client.models.retrieve('gpt-4o')).owned_by, 'main')
  })
}

test('events of a served call reach the listeners of the pool, and its line the log', bounded, async (t) => {
  const upstream = await Upstream.start(t)
  const pool = await openPool(t, [provider('main', upstream)])
  const seen = record(pool, 'requestSuccess')
  const lines = []
  const gateway = await pool.serve({ http: '127.0.0.1:0', onRequest: (line) => lines.push(line) })
  const headers = { 'x-request-id': 'mine', 'content-type': 'application/json' }
  const body = JSON.stringify({ messages: ask('private') })
  const response = await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers, body })
  assert.equal(response.headers.get('x-request-id'), 'mine')
  await response.text()
  await until(() => lines.length === 1 && seen.length === 1)
  assert.equal(seen[0][1].requestId, 'mine')
  assert.equal(lines[0].requestId, 'mine')
  assert.deepEqual([lines[0].status, lines[0].provider, lines[0].promptTokens], [200, 'main', 10])
  assert.doesNotMatch(JSON.stringify(lines), /private/)
  await gateway.close()
  await gateway.close()
  await assert.rejects(fetch(`${gateway.url}/live`))
})

test('closing waits for requests under way, and cuts those that take too long', bounded, async (t) => {
  const upstream = await Upstream.start(t)
  const pool = await openPool(t, [provider('main', upstream)])
  const send = ({ url }) =>
    fetch(`${url}/v1/chat/completions`, { method: 'POST', body: JSON.stringify({ messages: ask() }) })
  const go = deferred()
  upstream.next(async (exchange) => {
    await go.promise
    await ok('late')(exchange)
  })
  const patient = await pool.serve({ http: '127.0.0.1:0' })
  const answered = send(patient)
  await upstream.request(1)
  const closed = patient.close({ drainTimeout: 20_000 })
  await until(
    () =>
      fetch(`${patient.url}/live`).then(
        () => false,
        () => true,
      ),
    'no connection is taken',
  )
  go.resolve()
  assert.equal((await (await answered).json()).choices[0].message.content, 'late')
  await closed

  upstream.next(hang())
  const short = await pool.serve({ http: '127.0.0.1:0' })
  const cut = send(short)
  const exchange = await upstream.request(2)
  await short.close({ drainTimeout: 0 })
  const refused = await cut
  assert.deepEqual([refused.status, refused.headers.get('x-should-retry')], [503, null], 'another process may answer')
  assert.equal((await refused.json()).error.code, 'closed')
  await exchange.closed
})

test('a stream that closing cuts says so in the shape of its API, and in its line', bounded, async (t) => {
  const upstream = await Upstream.start(t)
  const pool = await openPool(t, [provider('main', upstream)], { config: { tasks: { t: {} } } })
  for (const [path, body, said] of [
    ['/v1/chat/completions', { messages: ask() }, /data: {"error":{[^\n]*"code":"closed"/],
    ['/v1/messages', { max_tokens: 5, messages: ask() }, /event: error\ndata: {"type":"error"/],
    ['/v1/responses', { input: 'hi' }, /event: response.failed\ndata: [^\n]*"closed"/],
    ['/v1/infer', { task: 't', prompt: 'hi' }, /event: error\ndata: {"error":{"code":"closed"/],
  ]) {
    upstream.next(sse(({ text }) => text('hello')))
    const lines = []
    const gateway = await pool.serve({ http: '127.0.0.1:0', onRequest: (line) => lines.push(line) })
    const response = await fetch(gateway.url + path, {
      method: 'POST',
      body: JSON.stringify({ ...body, stream: true }),
    })
    const closed = gateway.close({ drainTimeout: 0 })
    let told = ''
    const read = async () => {
      for await (const piece of response.body) told += Buffer.from(piece)
    }
    await assert.rejects(read(), `${path} never ends in order`)
    await closed
    assert.match(told, said)
    await until(() => lines.length === 1, 'its line')
    assert.deepEqual([lines[0].status, lines[0].error], [200, 'closed'], path)
  }
})

test('a server keeps the process alive until it is closed or its pool is shut down', bounded, async (t) => {
  const { startNode } = await import('./support/child.mjs')
  const child = startNode(
    t,
    `import { LLMPool } from ${JSON.stringify(new URL('../index.mjs', import.meta.url).href)}
     const pool = await LLMPool.create({ config: { providers: [{ name: 'a', model: 'm' }] } })
     const gateway = await pool.serve({ http: '127.0.0.1:0' })
     console.log(gateway.url)
     process.stdin.on('data', () => { process.stdin.destroy(); pool.shutdown() })`,
    { stdin: true },
  )
  const url = await new Promise((resolve) => child.stdout.once('data', (data) => resolve(String(data).trim())))
  assert.equal((await fetch(`${url}/live`)).status, 200)
  child.stdin.write('end\n')
  assert.equal((await child.ended).code, 0)
})

test('options that cannot be are refused by name, and an address that is taken is said to be', bounded, async (t) => {
  const upstream = await Upstream.start(t)
  const pool = await openPool(t, [provider('main', upstream)])
  for (const [options, message] of [
    [{ http: 'nowhere' }, /http: must be an address and a port/],
    [{ apiKeys: ['sha256:1'] }, /apiKeys\[0\]: expected 64 hexadecimal digits/],
    [{ apiKeys: [''] }, /apiKeys\[0\]: expected a key/],
    [{ apiKey: ['x'] }, /unknown field `apiKey`/],
    [{ http: '0.0.0.0:0' }, /everybody could call/],
    [{ http: `127.0.0.1:${upstream.port}` }, /cannot listen/],
    [{ onRequest: 1 }, /onRequest: must be a function/],
    [null, /options: must be an object/],
  ]) {
    await assert.rejects(pool.serve(options), { name: 'ConfigurationError', message })
  }
  const gateway = await pool.serve({ http: '0.0.0.0:0', insecure: true })
  await gateway.close()
})

test('a body through the fetch is read as far as it may be, and for as long as somebody waits', bounded, async (t) => {
  const upstream = await Upstream.start(t)
  const pool = await openPool(t, [provider('main', upstream)], { config: { server: { max_body_bytes: 1000 } } })
  const url = 'http://llmpool.local/v1/chat/completions'
  const post = (body, init) => pool.fetch(url, { method: 'POST', body, duplex: 'half', ...init })
  const source = (pull) => {
    const left = deferred()
    const stream = new ReadableStream({ pull, cancel: left.resolve }, { highWaterMark: 0 })
    return { stream, left: left.promise }
  }

  const reason = new Error('changed my mind')
  const leaving = new AbortController()
  const asked = deferred()
  const silent = source(() => {
    asked.resolve()
    return new Promise(() => {})
  })
  const gone = post(silent.stream, { signal: leaving.signal }).catch((error) => error)
  await asked.promise
  leaving.abort(reason)
  assert.deepEqual([await gone, await silent.left], [reason, reason])

  let pulled = 0
  const endless = source((controller) => {
    pulled += 1
    controller.enqueue(new Uint8Array(300))
  })
  assert.equal((await post(endless.stream)).status, 413)
  await endless.left
  assert.equal(pulled, 4)

  const bad = await post(new Uint8Array([0x22, 0xff, 0x22]))
  assert.deepEqual([bad.status, (await bad.json()).error.message], [400, 'the body is not UTF-8'])
  assert.equal((await post(JSON.stringify({ messages: ask('é') }))).status, 200)
  assert.equal(upstream.count, 1)
})

test('a pool that was shut down answers so through its fetch', bounded, async (t) => {
  const upstream = await Upstream.start(t)
  const pool = await openPool(t, [provider('main', upstream)])
  await pool.shutdown()
  const client = new OpenAI6({ apiKey: 'unused', baseURL: 'http://llmpool.local/v1', fetch: pool.fetch, maxRetries: 0 })
  const error = await client.chat.completions.create({ model: 'auto', messages: ask() }).catch((error) => error)
  assert.ok(error instanceof OpenAI6.InternalServerError)
  assert.deepEqual([error.status, error.code], [503, 'closed'])
})

test('work goes by the name of its task, and its answer says whether it was kept', bounded, async (t) => {
  const upstream = await Upstream.start(t)
  const pool = await openPool(t, [provider('main', upstream)], { config: { tasks: { t: { cache_ttl_seconds: 60 } } } })
  const gateway = await pool.serve({ http: '127.0.0.1:0' })
  t.after(() => gateway.close({ drainTimeout: 0 }))
  const body = JSON.stringify({ task: 't', prompt: 'Where?' })
  for (const [send, kept] of [
    [fetch, 'miss'],
    [pool.fetch, 'hit'],
  ]) {
    const response = await send(`${gateway.url}/v1/infer`, { method: 'POST', body })
    assert.deepEqual([response.status, response.headers.get('x-llmpool-cache')], [200, kept])
    const answer = await response.json()
    assert.deepEqual(
      [answer.task, answer.provider, answer.from_cache, answer.request_id],
      ['t', 'main', kept === 'hit', response.headers.get('x-request-id')],
    )
  }
  assert.equal(upstream.count, 1)
  const unknown = await fetch(`${gateway.url}/v1/infer`, { method: 'POST', body: '{"task":"tt","prompt":"x"}' })
  assert.equal(unknown.status, 404)
  assert.match((await unknown.json()).error.message, /there is no task "tt"/)
})

test('keys of the configuration hold from the next request after a reload', bounded, async (t) => {
  const upstream = await Upstream.start(t)
  const providers = [provider('main', upstream)]
  const pool = await openPool(t, providers, { config: { server: { http: '127.0.0.1:0', api_keys: ['old'] } } })
  const gateway = await pool.serve()
  t.after(() => gateway.close({ drainTimeout: 0 }))
  const asks = async (key) => {
    const response = await fetch(`${gateway.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })
    await response.text()
    return response.status
  }
  assert.deepEqual([await asks('old'), await asks('new')], [200, 401])
  await pool.reload({ providers, server: { http: '127.0.0.1:0', api_keys: ['new'] } })
  assert.deepEqual([await asks('old'), await asks('new')], [401, 200])
})
