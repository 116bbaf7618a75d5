// The document that is shipped says what the gateway answers: everything that it gives an example of, generates or
// forbids is sent, and every answer is held against it.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import fc from 'fast-check'
import { openPool, provider } from './support/pool.mjs'
import { bodySchema, DOCUMENT, fitting, mangled, misfit, OPERATIONS, resolve, TEXT } from './support/openapi.mjs'
import { completion, hang, ok, sseOk, status, Upstream } from './support/upstream.mjs'
import { bounded, roomy } from './support/wait.mjs'

const KEY = 'key-of-the-gateway'
const SEED = 20261126
const CAPABLE = ['chat', 'embeddings', 'tools', 'parallel_tools', 'json_schema', 'vision', 'audio', 'files']
const POSTS = OPERATIONS.filter(({ method }) => method === 'POST')

/**
 * What no schema can say: of blocks that only Anthropic can read nothing is left for others, of thoughts alone no turn,
 * and answers that are compared are no stream.
 */
const UNSAYABLE =
  /must be an array with at least one message|assistant message needs content|stream can only be FASTEST/

/** A gateway over one provider, and how to ask it. */
async function served(t, behaviour = kind, { server = {}, ...config } = {}) {
  const upstream = await Upstream.start(t, behaviour)
  const tasks = { summarize: { strategy: 'FASTEST' } }
  const pool = await openPool(t, [provider('main', upstream, { capabilities: CAPABLE })], {
    maxRetries: 0,
    config: { tasks, server: { http: '127.0.0.1:0', api_keys: [KEY], ...server }, ...config },
  })
  const gateway = await pool.serve()
  t.after(() => gateway.close({ drainTimeout: 0 }))
  const send = async ({ path, method }, body, headers = {}) => {
    const response = await fetch(gateway.url + path.replace('{id}', 'auto'), {
      method,
      body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
      headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json', ...headers },
    })
    return { response, text: await response.text() }
  }
  return { send, upstream, pool, gateway }
}

/** A provider that answers whatever it is asked, in the shape that was asked for. */
async function kind(exchange) {
  const { stream, input, tools, dimensions = 2 } = exchange.json
  if (input !== undefined) {
    const many = typeof input === 'string' || typeof input[0] === 'number' ? [input] : input
    const data = many.map((_, index) => ({ object: 'embedding', index, embedding: Array(dimensions).fill(0.5) }))
    return exchange.reply(200, { object: 'list', model: 'gpt-4o', data, usage: { prompt_tokens: 1, total_tokens: 1 } })
  }
  if (stream) return sseOk('{', '}')(exchange)
  const calls = tools?.map(({ function: { name } }, at) => ({
    id: `c${at}`,
    type: 'function',
    function: { name, arguments: '{}' },
  }))
  if (!calls?.length) return ok('{}')(exchange)
  return exchange.reply(200, completion(null, { finish: 'tool_calls', message: { tool_calls: calls } }))
}

/** Holds an answer against its operation. */
function check(operation, { response, text }) {
  const said = `${operation.method} ${operation.path}: ${response.status} ${text.slice(0, 500)}`
  assert.ok(response.status !== 500, said)
  const documented = resolve(operation.responses[response.status])
  assert.ok(documented, `not documented: ${said}`)
  const type = response.headers.get('content-type').split(';')[0]
  const content = documented.content[type]
  assert.ok(content, `no ${type} is documented: ${said}`)
  const wrong = type === 'application/json' ? misfit(content.schema, JSON.parse(text)) : wrongEvent(content, text)
  assert.equal(wrong, null, said)
  for (const [name] of response.headers) {
    if (!/^x-(?!content-type)|^retry-after|^request-id/.test(name)) continue
    assert.ok(documented.headers[name], `the header ${name} is not documented: ${said}`)
  }
  for (const name of ['x-request-id', 'request-id']) assert.ok(response.headers.has(name), said)
}

/** What is wrong with the first wrong event of a stream. */
function wrongEvent({ schema, 'x-event-schema': events }, text) {
  if (!events) return misfit(schema, text)
  const data = [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => data).filter((data) => data !== '[DONE]')
  assert.ok(data.length > 0)
  return data.map((data) => misfit(events, JSON.parse(data))).find((wrong) => wrong !== null) ?? null
}

test('the document has every route of the router, and no other', () => {
  const router = readFileSync(new URL('../src/gateway/mod.rs', import.meta.url), 'utf8')
  const routes = [...router.matchAll(/\.route\("([^"]+)", (get|post)/g)].map(
    ([, path, method]) => `${method.toUpperCase()} ${path.replace('{*', '{')}`,
  )
  assert.deepEqual(OPERATIONS.map(({ path, method }) => `${method} ${path}`).sort(), routes.sort())
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  assert.equal(DOCUMENT.info.version, version)
  assert.deepEqual(createRequire(import.meta.url)('llmpool/openapi.json'), DOCUMENT, 'a program can read it')
})

test('what everybody may look at is as documented, and the document is what is served', bounded, async (t) => {
  const { send, pool } = await served(t)
  for (const operation of OPERATIONS.filter(({ method }) => method === 'GET')) {
    const answer = await send(operation)
    check(operation, answer)
    assert.equal(answer.response.status, 200)
    if (operation.path === '/openapi.json') assert.equal(answer.text, TEXT)
    const foreign = await send(operation, undefined, { origin: 'https://elsewhere.test' })
    check(operation, foreign)
    assert.equal(foreign.response.status, 403)
    const keyless = await send(operation, undefined, { authorization: '' })
    check(operation, keyless)
    assert.equal(keyless.response.status, operation.security === undefined ? 401 : 200)
  }
  const one = OPERATIONS.find(({ path }) => path === '/v1/models/{id}')
  check(one, await send({ ...one, path: '/v1/models/no%20body/%F0%9F%98%80' }))
  check(one, await send({ ...one, path: '/v1/models/%FF' }))
  pool.markError('main', 60_000)
  for (const path of ['/health', '/ready']) {
    const operation = OPERATIONS.find((each) => each.path === path)
    const answer = await send(operation)
    check(operation, answer)
    assert.equal(answer.response.status, 503)
  }
})

for (const operation of POSTS) {
  const name = `${operation.method} ${operation.path}`
  const schema = bodySchema(operation)

  test(`${name}: what fits the document is taken`, roomy, async (t) => {
    const { send } = await served(t)
    const example = await send(operation, operation.requestBody.content['application/json'].example)
    check(operation, example)
    assert.equal(example.response.status, 200, example.text)
    await fc.assert(
      fc.asyncProperty(fitting(schema), async (request) => {
        assert.equal(misfit(schema, request), null)
        const answer = await send(operation, request)
        check(operation, answer)
        if (!UNSAYABLE.test(answer.text)) assert.equal(answer.response.status, 200, answer.text)
      }),
      { seed: SEED, numRuns: 200 },
    )
  })

  test(`${name}: what does not fit is refused, whatever it is`, roomy, async (t) => {
    const { send } = await served(t)
    let refused = 0
    const sent = async (body, fits) => {
      const answer = await send(operation, body)
      check(operation, answer)
      if (fits) return
      refused++
      assert.equal(answer.response.status, 400, answer.text)
    }
    const runs = { seed: SEED, numRuns: 200 }
    await fc.assert(
      fc.asyncProperty(mangled(schema), (request) => sent(JSON.stringify(request), misfit(schema, request) === null)),
      runs,
    )
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), (text) => sent(`{${text}`, false)),
      { ...runs, numRuns: 30 },
    )
    assert.ok(refused > 80, `${refused} requests were really wrong`)
  })

  test(`${name}: what goes wrong around it is as documented`, bounded, async (t) => {
    const good = operation.requestBody.content['application/json'].example
    const { send, pool } = await served(t, kind, { server: { max_body_bytes: 5000 } })
    const expect = async (status, body = good, headers = {}) => {
      const answer = await send(operation, body, headers)
      check(operation, answer)
      assert.equal(answer.response.status, status, answer.text)
    }
    await expect(401, good, { authorization: '' })
    await expect(401, good, { authorization: 'Bearer wrong' })
    await expect(403, good, { origin: 'https://elsewhere.test' })
    await expect(413, JSON.stringify({ ...good, user: 'x'.repeat(6000) }))
    await expect(415, good, { 'content-encoding': 'gzip' })
    await expect(404, 'model' in good ? { ...good, model: 'nobody' } : { ...good, task: 'nothing' })
    if (operation.operationId === 'countTokens') return
    await expect(400, good, { 'x-llmpool-timeout-ms': 'soon' })
    pool.markError('main', 60_000)
    await expect(503)
  })
}

for (const operation of POSTS.filter(({ operationId }) => operationId !== 'countTokens')) {
  for (const [what, behaviour, expected] of [
    ['does not know the key', status(401), 503],
    ['refuses the request', status(400), 400],
    ['takes no such length', status(413), 413],
    ['is limited', status(429, undefined, { 'retry-after': '30' }), 429],
    ['is broken', status(500), 503],
    ['says nothing', hang(), 504],
  ]) {
    for (const stream of operation.path === '/v1/embeddings' ? [false] : [false, true]) {
      test(`${operation.path}: the provider ${what}${stream ? ', streaming' : ''}`, bounded, async (t) => {
        const { send } = await served(t, behaviour)
        const body = { ...operation.requestBody.content['application/json'].example, stream }
        if (!stream) delete body.stream
        const answer = await send(operation, body, { 'x-llmpool-deadline-ms': '300', 'x-request-id': 'mine' })
        check(operation, answer)
        assert.equal(answer.response.status, expected, answer.text)
        assert.equal(answer.response.headers.get('x-request-id'), 'mine')
      })
    }
  }
}
