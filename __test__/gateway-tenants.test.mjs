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

const SECRET = 'a-secret-of-more-than-32-bytes-for-hs256'
const signed = { jwt: { alg: 'HS256', key: SECRET } }
const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const tokenOf = (tenant) => {
  const claims = { exp: Math.floor(Date.now() / 1000) + 600, tenant }
  const said = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`
  return `${said}.${createHmac('sha256', SECRET).update(said).digest('base64url')}`
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
  const tenants = [{ id: 'a', rps: 0.001, burst: 1 }]
  const { chat, pool } = await served(t, tenants, { server: signed })
  const statuses = []
  for (const tenant of ['a', 'a', 'nobody', undefined]) {
    const { status, body } = await chat(tokenOf(tenant))
    statuses.push([status, body.error?.code])
  }
  const limited = [429, 'rate_limit_exceeded']
  // A token that names no tenant is nobody's where there are tenants.
  assert.deepEqual(statuses, [[200, undefined], limited, [403, 'permission_denied'], [403, 'forbidden']])
  assert.deepEqual(Object.keys(pool.getStats().tenants), ['a'])
})

test('what is left of its limits is with every answer, in headers of OpenAI', bounded, async (t) => {
  const tenants = [
    { id: 'a', api_keys: ['key-of-a'], rps: 0.001, burst: 2, tokens_per_day: 9000 },
    { id: 'free', api_keys: ['key-of-free'] },
  ]
  const { chat, get } = await served(t, tenants)
  const first = await chat('key-of-a')
  const { 'limit-requests': limit, 'remaining-requests': left, 'reset-requests': reset } = limits(first.headers)
  assert.deepEqual([limit, left, reset], ['2', '1', '16m40s'])
  const tokens = limits(first.headers)
  assert.deepEqual(
    [tokens['limit-tokens'], tokens['remaining-tokens']],
    ['9000', `${9000 - first.body.usage.total_tokens}`],
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

test('what is none of its own is a 403, and a model that is not its own is not there', bounded, async (t) => {
  const tenants = [
    { id: 'off', api_keys: ['key-off'], enabled: false },
    { id: 'models', api_keys: ['key-models'], models: ['fast'] },
    { id: 'tasks', api_keys: ['key-tasks'], tasks: ['sum'] },
  ]
  const { chat, get, upstream, pool } = await served(t, tenants, { config: { tasks: { sum: {} } } })
  const told = []
  pool.on('tenantRefused', ({ tenant, limit }) => told.push([tenant, limit]))
  for (const [key, more] of [
    ['key-off', {}],
    ['key-models', { model: 'fast', models: ['dear'] }],
    ['key-tasks', {}],
  ]) {
    const { status, body, headers } = await chat(key, more)
    assert.deepEqual([status, body.error.type, body.error.code], [403, 'permission_error', 'permission_denied'])
    assert.equal(headers.get('x-llmpool-error'), 'permission_denied')
  }
  const hidden = []
  for (const model of ['gpt-4o', 'auto', 'no-such']) {
    const { status, body } = await chat('key-models', { model })
    hidden.push([status, body.error.code, body.error.message.replace(model, '')])
  }
  assert.deepEqual(
    [hidden[0], hidden[1], hidden[0][0]],
    [hidden[2], hidden[2], 404],
    'nothing says which models there are',
  )
  assert.equal((await get('/v1/models', 'key-off')).status, 403, 'who is switched off sees nothing')
  for (const path of ['/', '/live', '/ready', '/health']) assert.equal((await get(path, 'key-off')).status, 200, path)
  const asRefused = [
    ['off', 'enabled'],
    ['models', 'models'],
    ['tasks', 'tasks'],
    ['models', 'models'],
    ['models', 'models'],
    ['off', 'enabled'],
  ]
  await until(() => told.length === asRefused.length)
  assert.deepEqual(told, asRefused, 'the operator hears of each')
  assert.equal((await get('/metrics', 'key-models')).status, 403, 'metrics tell of everybody')
  const metrics = await get('/metrics')
  assert.match(await metrics.text(), /llmpool_tenant_refused_requests_total\{tenant="models"\} 3/)
  assert.equal(upstream.count, 0)
  assert.equal((await chat('key-models', { model: 'fast' })).status, 200)
  const listed = async (key) => (await (await get('/v1/models', key)).json()).data.map(({ id }) => id)
  assert.deepEqual(await listed('key-models'), ['fast'], 'it sees what it may use')
  assert.deepEqual(await listed(OPERATOR), ['auto', 'gpt-4o', 'fast'])
  assert.equal((await get('/v1/models/gpt-4o', 'key-models')).status, 404)
})

test('no field that is passed on is a way around a strict budget', bounded, async (t) => {
  const tenants = [{ id: 'a', api_keys: ['key-of-a'], budget: { daily_usd: 1, mode: 'strict' } }]
  const { chat, upstream } = await served(t, tenants)
  for (const [field, value] of Object.entries({ models: ['dear'], service_tier: 'priority', best_of: 50 })) {
    const { status, body } = await chat('key-of-a', { max_tokens: 5, [field]: value })
    assert.deepEqual([status, body.error.param], [400, field])
  }
  assert.equal(upstream.count, 0)
  assert.equal((await chat('key-of-a', { max_tokens: 5, service_tier: 'default' })).status, 200)
})

test('counting is a call like another', bounded, async (t) => {
  const tenants = [
    { id: 'a', api_keys: ['key-of-a'], rps: 0.001, burst: 2, models: ['fast'] },
    { id: 'none', api_keys: ['key-of-none'], rps: 0 },
  ]
  const { post, pool, upstream } = await served(t, tenants)
  const count = (key, model, content = 'x') =>
    post('/v1/messages/count_tokens', { model, messages: [{ role: 'user', content }] }, key)
  assert.equal((await count('key-of-a', 'gpt-4o')).status, 404)
  assert.ok((await count('key-of-a', 'fast')).body.input_tokens > 0)
  assert.ok((await count('key-of-a', 'fast', 'word '.repeat(20_000))).body.input_tokens > 10_000, 'a long one too')
  const { status, headers } = await count('key-of-a', 'fast')
  assert.deepEqual([status, headers.get('x-should-retry')], [429, null])
  const never = await count('key-of-none', 'fast')
  assert.deepEqual(
    [never.status, never.headers.get('x-should-retry'), never.headers.get('retry-after')],
    [429, 'false', null],
  )
  assert.deepEqual(
    [limits(never.headers)['limit-requests'], limits(never.headers)['remaining-requests']],
    ['0', '0'],
    'a burst that nothing is let into is none',
  )
  assert.deepEqual([pool.getStats().tenants.a.totalRequests, pool.getStats().tenants.a.refusedRequests], [2, 2])
  assert.equal(upstream.count, 0)
})

test('how the providers are doing is the operator’s to know', bounded, async (t) => {
  const { get } = await served(t, [{ id: 'a', api_keys: ['key-of-a'] }])
  const health = async (key) => (await get('/health', key)).json()
  assert.deepEqual(await health('key-of-a'), await health('a stranger'))
  assert.equal((await health('key-of-a')).pool, undefined)
  assert.ok((await health(OPERATOR)).pool.providers)
})

test('a token that names a tenant is nothing once there are none', bounded, async (t) => {
  const { pool, upstream, chat, post } = await served(t, [{ id: 'a', api_keys: ['key-of-a'] }], { server: signed })
  assert.equal((await chat(tokenOf('a'))).status, 200)
  const config = { server: { http: '127.0.0.1:0', api_keys: [OPERATOR], ...signed } }
  await pool.reload({ ...config, providers: [provider('main', upstream)], tenants: [] })
  for (const path of ['/v1/chat/completions', '/v1/messages/count_tokens']) {
    assert.equal((await post(path, { model: 'auto', messages: ask() }, tokenOf('a'))).status, 403)
  }
  assert.equal((await chat(tokenOf())).status, 200, 'one that names nobody is the operator’s')
  await pool.chat(ask(), { tenant: 'a' }) // in the program it is a label now
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
