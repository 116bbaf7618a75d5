// Who may call: keys, tokens, signatures and certificates, over a real port and as strangers send them.

import assert from 'node:assert/strict'
import { constants, createHash, createHmac, createPublicKey, randomBytes, sign as signWith } from 'node:crypto'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { ConfigurationError } from '../index.mjs'
import { folder } from './support/child.mjs'
import { ask, openPool, provider } from './support/pool.mjs'
import { sseOk, Upstream } from './support/upstream.mjs'
import { bounded } from './support/wait.mjs'

const FIXTURES = new URL('./fixtures/', import.meta.url).pathname
const pem = (name) => readFileSync(join(FIXTURES, name), 'utf8')
const TLS = (name) => join(FIXTURES, 'mtls', name)
const SECRET = 'a secret that is long enough: 0123456789abcdef0123456789abcdef'
const BODY = JSON.stringify({ model: 'auto', messages: ask() })
const CHAT = '/v1/chat/completions'

/** A pool that is served like this, and what it takes to change how. */
async function served(t, server, options) {
  const upstream = await Upstream.start(t)
  const providers = [provider('main', upstream)]
  const pool = await openPool(t, providers, { config: { server: { http: '127.0.0.1:0', ...server } } })
  const gateway = await pool.serve(options)
  t.after(() => gateway.close({ drainTimeout: 0 }))
  const reload = (server) => pool.reload({ providers, server })
  return { upstream, pool, gateway, reload }
}

/** One request, on a connection of its own. */
async function send(gateway, { path = CHAT, method = 'POST', headers = {}, body = BODY, ...tls } = {}) {
  const { request } = gateway.url.startsWith('https:') ? https : http
  const sent = request(gateway.url + path, { method, headers, agent: false, servername: 'localhost', ...tls })
  sent.end(method === 'GET' ? undefined : body)
  const [response] = await once(sent, 'response')
  return { status: response.statusCode, headers: response.headers, body: JSON.parse(await text(response)) }
}

const bearer = (token) => ({ headers: { authorization: `Bearer ${token}` } })

// === keys ===

test('a key is replaced without anybody being refused in between', bounded, async (t) => {
  const [first, second] = ['first-key', 'second-key']
  const hash = (key) => `sha256:${createHash('sha256').update(key).digest('hex')}`
  const { gateway, reload } = await served(t, { api_keys: [hash(first)] })
  const statuses = async () => [
    (await send(gateway, bearer(first))).status,
    (await send(gateway, bearer(second))).status,
  ]
  assert.deepEqual(await statuses(), [200, 401])
  await reload({ api_keys: [hash(first), hash(second)] })
  assert.deepEqual(await statuses(), [200, 200])
  await reload({ api_keys: [hash(second)] })
  assert.deepEqual(await statuses(), [401, 200])
})

test('who shows nothing or something wrong is told what is asked for', bounded, async (t) => {
  const { gateway, upstream } = await served(t, { api_keys: ['k'] })
  const nothing = await send(gateway)
  assert.deepEqual([nothing.status, nothing.headers['www-authenticate']], [401, 'Bearer realm="llmpool"'])
  assert.equal(nothing.body.error.type, 'authentication_error')
  const wrong = await send(gateway, bearer('wrong'))
  assert.deepEqual(
    [wrong.status, wrong.headers['www-authenticate']],
    [401, 'Bearer realm="llmpool", error="invalid_token"'],
  )
  const signed = await send(gateway, { headers: { 'x-signature': 'x', 'x-api-key': 'k' } })
  assert.equal(signed.status, 200, 'nobody signs here, so nobody asks for it')
  assert.equal(upstream.count, 1)
})

test('an address that others reach wants one of the ways to know callers', bounded, async (t) => {
  const jwt = { alg: 'HS256', key: SECRET }
  const hmac = { clients: [{ id: 'ci', secret: SECRET }] }
  const tls = { cert: TLS('server.pem'), key: TLS('server.key') }
  for (const [server, good] of [
    [{}, false],
    [{ tls }, false],
    [{ insecure: true }, true],
    [{ api_keys: ['k'] }, true],
    [{ jwt }, true],
    [{ hmac }, true],
    [{ tls: { ...tls, client_ca: TLS('authority.pem') } }, true],
  ]) {
    const serving = served(t, { http: '0.0.0.0:0', ...server })
    if (good) await serving
    else await assert.rejects(serving, ConfigurationError, JSON.stringify(server))
  }
})

// === tokens ===

const now = () => Math.floor(Date.now() / 1000)
const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const withRsa = (key) => (message) => signWith('sha256', message, key)
const withSecret = (secret) => (message) => createHmac('sha256', secret).update(message).digest()

function token(claims, { header = {}, sign = withRsa(pem('jwt/rsa.key.pem')) } = {}) {
  const message = `${part({ alg: 'RS256', typ: 'JWT', ...header })}.${part(claims)}`
  return `${message}.${sign(Buffer.from(message)).toString('base64url')}`
}

const RSA = { alg: 'RS256', key: pem('jwt/rsa.pub.pem'), iss: 'https://id.test/', aud: 'llm', scope: 'llm:use' }
const good = () => ({ exp: now() + 60, iss: 'https://id.test/', aud: ['llm'], scope: 'openid llm:use' })

test('a good token lets its holder in, and every other one says what is wrong with it', bounded, async (t) => {
  const { gateway, upstream } = await served(t, { jwt: RSA })
  const { scope: _, ...scopeless } = good()
  const { exp: __, ...endless } = good()
  const pub = pem('jwt/rsa.pub.pem')
  const whole = token(good())
  for (const [name, shown, status, why] of [
    ['good', whole, 200],
    ['scp', token({ ...scopeless, scp: ['llm:use'] }), 200],
    ['expired', token({ ...good(), exp: now() - 31 }), 401, /expired/],
    ['without an end', token(endless), 401, /never expires/],
    ['not yet valid', token({ ...good(), nbf: now() + 60 }), 401, /not good yet/],
    ['wrong audience', token({ ...good(), aud: 'other' }), 401, /audience/],
    ['no audience', token({ ...good(), aud: undefined }), 401, /audience/],
    ['wrong issuer', token({ ...good(), iss: 'https://evil.test/' }), 401, /issuer/],
    ['missing scope', token(scopeless), 403, /scope llm:use/],
    ['alg none', token(good(), { header: { alg: 'none' }, sign: () => Buffer.alloc(0) }), 401, /algorithm/],
    ['HS with the public key', token(good(), { header: { alg: 'HS256' }, sign: withSecret(pub) }), 401, /algorithm/],
    ['RS in name', token(good(), { sign: withSecret(pub) }), 401, /signature/],
    ['another key', token(good(), { sign: withRsa(pem('jwt/rsa-other.key.pem')) }), 401, /signature/],
    [
      'its own key',
      token(good(), {
        header: { jwk: createPublicKey(pem('jwt/rsa-other.pub.pem')).export({ format: 'jwk' }) },
        sign: withRsa(pem('jwt/rsa-other.key.pem')),
      }),
      401,
      /signature/,
    ],
    ['changed', whole.replace(/\.[^.]+\./, `.${part({ ...good(), admin: true })}.`), 401, /signature/],
    ['cut', whole.slice(0, -10), 401, /signature/],
    ['nonsense', 'a.b.c', 401, /not a JSON Web Token/],
  ]) {
    const told = await send(gateway, bearer(shown))
    assert.equal(told.status, status, `${name}: ${JSON.stringify(told.body)}`)
    if (status === 200) continue
    assert.match(told.body.error.message, why, name)
    const code = status === 403 ? 'insufficient_scope' : 'invalid_token'
    assert.match(told.headers['www-authenticate'], new RegExp(`^Bearer realm="llmpool", error="${code}"`), name)
  }
  assert.equal((await send(gateway)).status, 401)
  assert.equal(upstream.count, 2)
})

test('an issuer signs as it likes: with a secret, with PSS, with curves', bounded, async (t) => {
  const curve = (name) => ({ key: pem(`jwt/${name}.key.pem`), dsaEncoding: 'ieee-p1363' })
  const padding = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
  for (const [alg, key, sign] of [
    ['HS256', SECRET, withSecret(SECRET)],
    ['PS256', pem('jwt/rsa.pub.pem'), withRsa({ key: pem('jwt/rsa.key.pem'), ...padding })],
    ['ES256', pem('jwt/p256.pub.pem'), withRsa(curve('p256'))],
    ['ES384', pem('jwt/p384.pub.pem'), (message) => signWith('sha384', message, curve('p384'))],
    ['EdDSA', pem('jwt/ed25519.pub.pem'), (message) => signWith(null, message, pem('jwt/ed25519.key.pem'))],
  ]) {
    const { gateway } = await served(t, { jwt: { alg, key } })
    const told = await send(gateway, bearer(token({ exp: now() + 60 }, { header: { alg }, sign })))
    assert.equal(told.status, 200, `${alg}: ${JSON.stringify(told.body)}`)
  }
})

test("the issuer's keys are fetched, kept, and asked for again for one that is not there", bounded, async (t) => {
  const jwk = (name, kid) => ({ ...createPublicKey(pem(`jwt/${name}.pub.pem`)).export({ format: 'jwk' }), kid })
  const issuer = await Upstream.start(t, (exchange) => exchange.reply(200, { keys: [jwk('rsa', 'one')] }))
  const jwt = { alg: 'RS256', jwks_url: `${issuer.origin}/jwks` }
  const { gateway } = await served(t, { jwt })
  const claims = { exp: now() + 60 }
  const one = token(claims, { header: { kid: 'one' } })
  assert.deepEqual([(await send(gateway, bearer(one))).status, (await send(gateway, bearer(one))).status], [200, 200])
  assert.equal(issuer.count, 1)
  const unknown = token(claims, { header: { kid: 'two' }, sign: withRsa(pem('jwt/rsa-other.key.pem')) })
  for (let asked = 0; asked < 5; asked++) {
    const told = await send(gateway, bearer(unknown))
    assert.equal(told.status, 401)
    assert.match(told.body.error.message, /does not list/)
  }
  assert.equal(issuer.count, 1, 'at most every 30 seconds')

  const down = await served(t, { jwt: { alg: 'RS256', jwks_url: 'http://127.0.0.1:1/jwks' } })
  const told = await send(down.gateway, bearer(one))
  assert.deepEqual([told.status, told.headers['retry-after']], [503, '30'])
})

test('keys and tokens are taken side by side', bounded, async (t) => {
  const { gateway } = await served(t, { api_keys: ['a.key.with-dots'], jwt: { alg: 'HS256', key: SECRET } })
  const shown = token({ exp: now() + 60 }, { header: { alg: 'HS256' }, sign: withSecret(SECRET) })
  for (const [headers, status] of [
    [{ authorization: 'Bearer a.key.with-dots' }, 200],
    [{ authorization: `Bearer ${shown}` }, 200],
    [{ 'x-api-key': shown }, 200],
    [{ authorization: 'Bearer nothing' }, 401],
  ]) {
    assert.equal((await send(gateway, { headers })).status, status)
  }
})

test('where there are tenants, a token is for one of them', bounded, async (t) => {
  const upstream = await Upstream.start(t)
  const server = { http: '127.0.0.1:0', jwt: { alg: 'HS256', key: SECRET, tenant_claim: 'org' } }
  const pool = await openPool(t, [provider('main', upstream)], { config: { server, tenants: [{ id: 'them' }] } })
  const gateway = await pool.serve()
  const status = async (claims) => {
    const shown = token({ exp: now() + 60, ...claims }, { header: { alg: 'HS256' }, sign: withSecret(SECRET) })
    return (await send(gateway, bearer(shown))).status
  }
  assert.deepEqual([await status({ org: 'them' }), await status({}), await status({ org: 'others' })], [200, 403, 403])
  assert.equal(pool.getStats().tenants.them.totalRequests, 1)
  assert.equal(upstream.count, 1)
})

// === signed requests ===

const HMAC = { hmac: { clients: [{ id: 'ci', secret: SECRET }] } }

/** The headers of a request, as a client would sign it. */
function signed({ path = CHAT, method = 'POST', body = BODY, at = now(), secret = SECRET, id = 'ci' } = {}) {
  const nonce = randomBytes(16).toString('hex')
  const hash = createHash('sha256').update(body).digest('hex')
  const signature = createHmac('sha256', secret).update([method, path, id, at, nonce, hash].join('\n')).digest('hex')
  return { 'x-api-key': id, 'x-timestamp': String(at), 'x-nonce': nonce, 'x-signature': signature }
}

test('a signed request is let in once, and only as it was signed', bounded, async (t) => {
  const { gateway, upstream } = await served(t, HMAC)
  const once = signed()
  assert.equal((await send(gateway, { headers: once })).status, 200)
  const refused = async (request, why) => {
    const told = await send(gateway, request)
    assert.equal(told.status, 401, JSON.stringify(told.body))
    assert.match(told.body.error.message, why)
    assert.equal(told.headers['www-authenticate'], 'HMAC-SHA256 realm="llmpool"')
  }
  await refused({ headers: once }, /sent before/)
  await refused({ headers: signed({ at: now() - 330 }) }, /X-Timestamp/)
  await refused({ headers: signed({ at: now() + 330 }) }, /X-Timestamp/)
  await refused({ headers: signed({ at: Date.now() }) }, /Unix seconds/)
  await refused({ headers: signed(), body: BODY.replace('ping', 'pong') }, /not that of this request/)
  await refused({ headers: signed({ path: '/v1/embeddings' }) }, /not that of this request/)
  await refused({ headers: signed(), path: `${CHAT}?a=1` }, /not that of this request/)
  await refused({ headers: signed({ secret: `${SECRET}!` }) }, /not that of this request/)
  await refused({ headers: signed({ id: 'nobody' }) }, /names no client/)
  for (const name of ['x-api-key', 'x-timestamp', 'x-nonce', 'x-signature']) {
    const { [name]: _, ...rest } = signed()
    await refused({ headers: rest }, new RegExp(`${name} is missing`, 'i'))
  }
  await refused({}, /X-Signature is missing/)
  await refused({ headers: { 'x-api-key': SECRET } }, /X-Signature is missing/)
  assert.equal(upstream.count, 1)
  const list = await send(gateway, {
    path: '/v1/models?limit=1',
    method: 'GET',
    headers: signed({ path: '/v1/models?limit=1', method: 'GET', body: '' }),
  })
  assert.equal(list.status, 200)
})

test('what was sent to one port is known to the others', bounded, async (t) => {
  const { gateway, pool } = await served(t, HMAC)
  const other = await pool.serve()
  const headers = signed()
  assert.deepEqual([(await send(gateway, { headers })).status, (await send(other, { headers })).status], [200, 401])
})

test('the body of a signed request has the bounds of every other', bounded, async (t) => {
  const { gateway } = await served(t, { ...HMAC, max_body_bytes: 500 })
  const body = JSON.stringify({ messages: ask('x'.repeat(1000)) })
  assert.equal((await send(gateway, { headers: signed({ body }), body })).status, 413)
})

test('a secret is replaced by a client of another name', bounded, async (t) => {
  const { gateway, reload } = await served(t, HMAC)
  const next = { id: 'ci-2', secret: `${SECRET}-next` }
  const statuses = async () => [
    (await send(gateway, { headers: signed() })).status,
    (await send(gateway, { headers: signed(next) })).status,
  ]
  assert.deepEqual(await statuses(), [200, 401])
  await reload({ hmac: { clients: [...HMAC.hmac.clients, next] } })
  assert.deepEqual(await statuses(), [200, 200])
  await reload({ hmac: { clients: [next] } })
  assert.deepEqual(await statuses(), [401, 200])
})

// === certificates ===

const CA = pem('mtls/authority.pem')

/** Certificates in a folder, to be replaced. */
function certificates(t) {
  const at = folder(t)
  const [cert, key] = [join(at, 'tls.crt'), join(at, 'tls.key')]
  const put = (name) => {
    copyFileSync(TLS(`${name}.pem`), cert)
    copyFileSync(TLS(`${name}.key`), key)
  }
  put('server')
  return { cert, key, put }
}

/** Who the service says it is, on a new connection. */
async function name(gateway) {
  const { request } = https
  const sent = request(`${gateway.url}/live`, { ca: CA, agent: false, servername: 'localhost' })
  sent.end()
  const [response] = await once(sent, 'response')
  const { subject } = response.socket.getPeerCertificate()
  await text(response)
  return subject.CN
}

test('a connection is made safe with the certificate of the files, and with nothing else', bounded, async (t) => {
  const { cert, key } = certificates(t)
  const { gateway } = await served(t, { api_keys: ['k'], tls: { cert, key } })
  assert.match(gateway.url, /^https:/)
  assert.equal((await send(gateway, { ...bearer('k'), ca: CA })).status, 200)
  await assert.rejects(send(gateway, bearer('k')), /certificate/, 'who does not know the authority')
  await assert.rejects(send({ url: gateway.url.replace('https', 'http') }, bearer('k')), 'who speaks no TLS')
})

test('HTTP/2 is spoken over TLS to those who name it in the handshake', bounded, async (t) => {
  const tls = { cert: TLS('server.pem'), key: TLS('server.key') }
  const { gateway, upstream } = await served(t, { tls })
  const session = http2.connect(gateway.url, { ca: CA, servername: 'localhost' })
  t.after(() => session.destroy())
  await once(session, 'connect')
  assert.equal(session.alpnProtocol, 'h2')
  const asked = async (headers, body) => {
    const stream = session.request(headers)
    stream.end(body)
    const [response] = await once(stream, 'response')
    return [response[':status'], response['content-type'], await text(stream)]
  }
  const [status, , health] = await asked({ ':path': '/health' })
  assert.deepEqual([status, JSON.parse(health).status], [200, 'ok'])
  upstream.next(sseOk('Os', 'lo.'))
  const headers = { ':method': 'POST', ':path': CHAT, 'content-type': 'application/json' }
  const [code, type, events] = await asked(headers, JSON.stringify({ ...JSON.parse(BODY), stream: true }))
  assert.deepEqual([code, type.split(';')[0]], [200, 'text/event-stream'])
  assert.match(events, /"Os"[\s\S]*"lo\."[\s\S]*data: \[DONE\]\n\n$/)
})

test('a renewed certificate is taken by a reload, and one that cannot be used changes nothing', bounded, async (t) => {
  for (const how of ['config', 'option']) {
    const { cert, key, put } = certificates(t)
    const { gateway, pool } = await served(t, how === 'config' ? { tls: { cert, key } } : {}, {
      ...(how === 'option' ? { tls: { cert, key } } : {}),
    })
    assert.equal(await name(gateway), 'server')
    put('renewed')
    await pool.reload()
    assert.equal(await name(gateway), 'renewed', how)
    writeFileSync(key, 'nonsense')
    await assert.rejects(
      pool.reload(),
      (error) => error instanceof ConfigurationError && /tls\.key/.test(error.message),
    )
    assert.equal(await name(gateway), 'renewed', how)
  }
})

test('files that cannot be used are refused by name', bounded, async (t) => {
  const { pool } = await served(t, {})
  const [cert, key] = [TLS('server.pem'), TLS('server.key')]
  for (const [tls, field] of [
    [{ cert, key: TLS('client.key') }, 'tls.key'],
    [{ cert: '/no/such/file', key }, 'tls.cert'],
    [{ cert, key, clientCa: key }, 'tls.client_ca'],
    [{ cert }, 'tls'],
    [{ cert, key, ca: key }, 'tls'],
  ]) {
    await assert.rejects(pool.serve({ http: '127.0.0.1:0', tls }), (error) => {
      assert.ok(error instanceof ConfigurationError && error.message.includes(field), error.message)
      return true
    })
  }
})

test('with client_ca a certificate is needed, and enough where nothing else is asked for', bounded, async (t) => {
  const tls = { cert: TLS('server.pem'), key: TLS('server.key'), client_ca: TLS('authority.pem') }
  const mine = { ca: CA, cert: pem('mtls/client.pem'), key: pem('mtls/client.key') }
  const stranger = { ca: CA, cert: pem('mtls/stranger.pem'), key: pem('mtls/stranger.key') }
  const { gateway, upstream, reload } = await served(t, { tls })
  const statusOf = (request) =>
    send(gateway, request).then(
      ({ status }) => status,
      () => 'no connection',
    )
  assert.equal(await statusOf(mine), 200)
  assert.equal(await statusOf({ ca: CA }), 'no connection')
  assert.equal(await statusOf(stranger), 'no connection')
  assert.equal(await statusOf({ ca: CA, path: '/live', method: 'GET' }), 'no connection')
  await reload({ tls, api_keys: ['k'] })
  assert.equal(await statusOf(mine), 401)
  assert.equal(await statusOf({ ...mine, ...bearer('k') }), 200)
  assert.equal(await statusOf({ ca: CA, ...bearer('k') }), 'no connection')
  assert.equal(upstream.count, 2)
})

test('a connection that stands is let in while its authority is the one in force', bounded, async (t) => {
  const tls = { cert: TLS('server.pem'), key: TLS('server.key'), client_ca: TLS('authority.pem') }
  const { gateway, reload } = await served(t, { tls })
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 })
  t.after(() => agent.destroy())
  const mine = { ca: CA, cert: pem('mtls/client.pem'), key: pem('mtls/client.key'), agent }
  assert.equal((await send(gateway, mine)).status, 200)
  await reload({ tls, drain_timeout_ms: 1 })
  assert.equal((await send(gateway, mine)).status, 200)
  await reload({ tls: { ...tls, client_ca: TLS('stranger-authority.pem') } })
  const told = await send(gateway, mine)
  assert.deepEqual([told.status, told.body.error.code], [401, 'certificate_required'])
  await reload({ tls: { ...tls, client_ca: TLS('stranger-authority.pem') }, api_keys: ['k'] })
  const withKey = await send(gateway, { ...mine, ...bearer('k') })
  assert.deepEqual([withKey.status, withKey.body.error.code], [401, 'certificate_required'])
})
