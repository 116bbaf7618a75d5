// Tenants over a port: whose key it is, what its clients are told, and that nothing of one reaches another.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import { ask, openPool, provider } from './support/pool.mjs'
import { Upstream, ok } from './support/upstream.mjs'
import { bounded, until } from './support/wait.mjs'

const OPERATOR = 'key-of-the-operator'

async function served(t, tenants, { config = {}, server = {} } = {}) {
  const upstream = await Upstream.start(t)
  const whole = { ...config, server: { http: '127.0.0.1:0', api_keys: [OPERATOR], ...server }, tenants }
  const pool = await openPool(t, [provider('main', upstream, { models: { fast: 'gpt-4o-mini' } })], { config: whole })
  const lines = []
  const gateway = await pool.serve({ onRequest: (line) => lines.push(line) })
  t.after(() => gateway.close({ drainTimeout: 0 }))
  const get = (path, key = OPERATOR) => fetch(gateway.url + path, { headers: { authorization: `Bearer ${key}` } })
  const post = async (path, body, key, headers = {}) => {
    const response = await fetch(gateway.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}`, ...headers },
      body: JSON.stringify(body),
    })
    return { response, status: response.status, headers: response.headers, body: await response.json() }
  }
  const chat = (key, more = {}, headers = {}) =>
    post('/v1/chat/completions', { model: 'auto', messages: ask(), ...more }, key, headers)
  return { upstream, pool, gateway, lines, get, post, chat }
}

const limits = (headers) =>
  Object.fromEntries(
    [...headers].filter(([name]) => name.startsWith('x-ratelimit-')).map(([name, value]) => [name.slice(12), value]),
  )

test('a key says whose call it is, and nobody else does', bounded, async (t) => {
  const tenants = [
    { id: 'a', api_keys: ['key-of-a'] },
    { id: 'b', api_keys: ['key-of-b', 'second-key-of-b'] },
  ]
  const { pool, chat, post, lines } = await served(t, tenants)
  assert.equal((await chat('key-of-a')).status, 200)
  for (const key of ['key-of-b', 'second-key-of-b']) assert.equal((await chat(key)).status, 200)
  // What a client says of itself changes nothing.
  const headers = { 'x-llmpool-tenant': 'a', tenant: 'a' }
  assert.equal((await chat('key-of-b', { tenant: 'a', user: 'a', metadata: { tenant: 'a' } }, headers)).status, 200)
  const body = { model: 'auto', max_tokens: 5, messages: ask() }
  assert.equal((await post('/v1/messages', body, 'none', { authorization: '', 'x-api-key': 'key-of-b' })).status, 200)
  assert.equal((await chat(OPERATOR)).status, 200)
  assert.equal((await chat('no-key')).status, 401)
  const { a, b } = pool.getStats().tenants
  await until(() => lines.length === 7) // one is written when its answer is out
  assert.deepEqual([a.totalRequests, b.totalRequests], [1, 4])
  assert.deepEqual(
    lines.map(({ tenant }) => tenant),
    ['a', 'b', 'b', 'b', 'b', undefined, undefined],
  )
})

test('a token says on whose behalf it is used, and is bound like a key of that tenant', bounded, async (t) => {
  const secret = 'a-secret-of-more-than-32-bytes-for-hs256'
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const token = (claims) => {
    const said = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ exp: Math.floor(Date.now() / 1000) + 600, ...claims })}`
    return `${said}.${createHmac('sha256', secret).update(said).digest('base64url')}`
  }
  const tenants = [{ id: 'a', rps: 0.001, burst: 1 }]
  const { chat, pool } = await served(t, tenants, { server: { jwt: { alg: 'HS256', key: secret } } })
  const statuses = []
  for (const claims of [{ tenant: 'a' }, { tenant: 'a' }, { tenant: 'nobody' }, {}]) {
    const { status, body } = await chat(token(claims))
    statuses.push([status, body.error?.code])
  }
  const limited = [429, 'rate_limit_exceeded']
  assert.deepEqual(statuses, [[200, undefined], limited, [403, 'permission_denied'], [200, undefined]])
  assert.deepEqual(Object.keys(pool.getStats().tenants), ['a'])
})

test('what is left of its limits is with every answer, in headers of OpenAI', bounded, async (t) => {
  const tenants = [
    { id: 'a', api_keys: ['key-of-a'], rps: 0.001, burst: 2, tokens_per_day: 1000 },
    { id: 'free', api_keys: ['key-of-free'] },
  ]
  const { chat, get } = await served(t, tenants)
  const first = await chat('key-of-a')
  const { 'limit-requests': limit, 'remaining-requests': left, 'reset-requests': reset } = limits(first.headers)
  assert.deepEqual([limit, left, reset], ['2', '1', '16m40s'])
  const tokens = limits(first.headers)
  assert.deepEqual(
    [tokens['limit-tokens'], tokens['remaining-tokens']],
    ['1000', `${1000 - first.body.usage.total_tokens}`],
  )
  assert.match(tokens['reset-tokens'], /^((\d+h)?\d+m)?\d+s$/)
  assert.equal((await chat('key-of-a')).status, 200)
  const refused = await chat('key-of-a')
  assert.deepEqual([refused.status, refused.body.error.type], [429, 'rate_limit_error'])
  assert.match(refused.body.error.message, /^the tenant "a" has reached its rps of 0\.001; free in/)
  assert.equal(limits(refused.headers)['remaining-requests'], '0')
  assert.equal(refused.headers.get('x-should-retry'), null, 'it is to come again, when it was told')
  const wait = Number(refused.headers.get('retry-after'))
  assert.ok(wait > 990 && wait <= 1000, `${wait} s`)
  const listed = await get('/v1/models', 'key-of-a')
  await listed.text()
  assert.equal(limits(listed.headers)['limit-requests'], '2', 'also where nothing is counted')
  for (const key of ['key-of-free', OPERATOR]) assert.deepEqual(limits((await chat(key)).headers), {})
})

test('tokens and money that are used up are a 429 in the shape of each API', bounded, async (t) => {
  const tenants = [
    { id: 'tokens', api_keys: ['key-t'], tokens_per_day: 1 },
    { id: 'money', api_keys: ['key-m'], budget: { daily_usd: 0.00000001 } },
  ]
  const { chat, post, upstream } = await served(t, tenants)
  const tokens = await chat('key-t')
  assert.deepEqual([tokens.status, tokens.body.error.type], [429, 'rate_limit_error'])
  assert.match(tokens.body.error.message, /tokens_per_day of 1/)
  const money = await post('/v1/messages', { model: 'auto', max_tokens: 5, messages: ask() }, 'key-m')
  assert.deepEqual([money.status, money.body.error.type], [429, 'rate_limit_error'])
  assert.match(money.body.error.message, /the tenant "money"'s daily budget/)
  assert.equal(upstream.count, 0)
})

test('what is none of its own is a 403', bounded, async (t) => {
  const tenants = [
    { id: 'off', api_keys: ['key-off'], enabled: false },
    { id: 'models', api_keys: ['key-models'], models: ['fast'] },
    { id: 'tasks', api_keys: ['key-tasks'], tasks: ['sum'] },
  ]
  const { chat, get, upstream } = await served(t, tenants, { config: { tasks: { sum: {} } } })
  for (const [key, more] of [
    ['key-off', {}],
    ['key-models', { model: 'gpt-4o' }],
    ['key-tasks', {}],
  ]) {
    const { status, body, headers } = await chat(key, more)
    assert.deepEqual([status, body.error.type, body.error.code], [403, 'permission_error', 'permission_denied'])
    assert.equal(headers.get('x-llmpool-error'), 'permission_denied')
  }
  assert.equal((await get('/v1/models', 'key-off')).status, 403, 'who is switched off sees nothing')
  assert.equal((await get('/metrics', 'key-models')).status, 403, 'metrics tell of everybody')
  const metrics = await get('/metrics')
  assert.match(await metrics.text(), /llmpool_tenant_refused_requests_total\{tenant="models"\} 1/)
  assert.equal(upstream.count, 0)
  assert.equal((await chat('key-models', { model: 'fast' })).status, 200)
  const listed = async (key) => (await (await get('/v1/models', key)).json()).data.map(({ id }) => id)
  assert.deepEqual(await listed('key-models'), ['auto', 'fast'], 'it sees what it may use')
  assert.deepEqual(await listed(OPERATOR), ['auto', 'gpt-4o', 'fast'])
  assert.equal((await get('/v1/models/gpt-4o', 'key-models')).status, 404)
})

test('work by the name of its task is bound like every call', bounded, async (t) => {
  const tenants = [
    { id: 'a', api_keys: ['key-of-a'], tasks: ['sum'], max_deadline_ms: 5000 },
    { id: 'b', api_keys: ['key-of-b'], rps: 0.001, burst: 1 },
  ]
  const { post, pool } = await served(t, tenants, { config: { tasks: { sum: {}, rate: {} } } })
  const infer = (key, more = {}) => post('/v1/infer', { task: 'sum', prompt: 'x', ...more }, key)
  const first = await infer('key-of-a', { request_id: 'id' })
  assert.equal(first.status, 200)
  const other = await infer('key-of-a', { task: 'rate' })
  assert.deepEqual([other.status, other.body.error.code], [403, 'permission_denied'])
  const long = await infer('key-of-a', { deadline_ms: 60_000 })
  assert.deepEqual([long.status, long.body.error.field], [400, 'deadline_ms'])
  assert.equal((await infer('key-of-b', { tenant: 'a' })).status, 403, 'a caller works for nobody else')
  const same = await infer('key-of-b', { request_id: 'id', prompt: 'y' })
  assert.deepEqual([same.status, same.body.from_cache], [200, false], 'the same id of another tenant is another')
  const again = await infer('key-of-b')
  assert.deepEqual([again.status, again.body.error.code], [429, 'rate_limit_exceeded'])
  assert.ok(Number(again.headers.get('retry-after')) > 0)
  assert.deepEqual([pool.getStats().tenants.a.refusedRequests, pool.getStats().tenants.b.refusedRequests], [1, 1])
})

test('nothing that was answered for one tenant reaches another', bounded, async (t) => {
  const tenants = ['a', 'b'].map((id) => ({ id, api_keys: [`key-of-${id}`] }))
  const { chat, upstream } = await served(t, tenants, { config: { cache: { enabled: true } } })
  let number = 0
  upstream.always((exchange) => ok(`answer ${++number}`)(exchange))
  const headers = { 'x-llmpool-session': 's', 'x-request-id': 'the-same-id' }
  const said = async (key) => (await chat(key, {}, headers)).body.choices[0].message.content
  const [a, b] = await Promise.all([said('key-of-a'), said('key-of-b')])
  assert.notEqual(a, b)
  assert.deepEqual([await said('key-of-a'), await said('key-of-b')], [a, b], 'each has its own again')
  assert.notEqual(await said(OPERATOR), a)
  assert.equal(upstream.count, 3)
})

test('a key and a limit that a reload brings hold from the next request on', bounded, async (t) => {
  const tenant = { id: 'a', api_keys: ['old-key'] }
  const { pool, chat, upstream } = await served(t, [tenant])
  const reload = (changes) =>
    pool.reload({
      providers: [provider('main', upstream)],
      server: { http: '127.0.0.1:0', api_keys: [OPERATOR] },
      tenants: [{ ...tenant, ...changes }],
    })
  await reload({ api_keys: ['old-key', 'new-key'] })
  for (const key of ['old-key', 'new-key']) assert.equal((await chat(key)).status, 200)
  await reload({ api_keys: ['new-key'] })
  assert.deepEqual([(await chat('old-key')).status, (await chat('new-key')).status], [401, 200])
  await reload({ api_keys: ['new-key'], enabled: false })
  assert.equal((await chat('new-key')).status, 403)
  await reload({ api_keys: ['new-key'], rps: 0 })
  assert.equal((await chat('new-key')).status, 429)
})
