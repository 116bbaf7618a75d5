// gRPC as its own client for JavaScript speaks it, and as the examples in both languages do: over ports of the gateway.

import assert from 'node:assert/strict'
import net from 'node:net'
import { join } from 'node:path'
import { describe, it, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { credentials, loadPackageDefinition, Metadata, status as codes } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { ROOT, runNode, startProgram } from './support/child.mjs'
import { openPool, provider, record } from './support/pool.mjs'
import { pythonWith } from './support/python.mjs'
import { hang, ok, sse, sseOk, status, Upstream } from './support/upstream.mjs'
import { bounded, gate, roomy, until } from './support/wait.mjs'

const KEY = 'key-of-the-gateway'
const FILE = fileURLToPath(import.meta.resolve('llmpool/llmpool.proto'))
const { llmpool } = loadPackageDefinition(
  loadSync(FILE, { keepCase: true, longs: Number, defaults: true, oneofs: true }),
)

const tasks = { capital: {}, vote: { strategy: 'VOTING' } }
const work = { task: 'capital', prompt: 'Where?' }

/** A pool on ports, and a client of its gRPC. */
async function served(t, { serve = {}, config = {} } = {}) {
  const upstream = await Upstream.start(t)
  const pool = await openPool(t, [provider('main', upstream)], { maxRetries: 0, config: { tasks, ...config } })
  const gateway = await pool.serve({ http: '127.0.0.1:0', grpc: '127.0.0.1:0', apiKeys: [KEY], ...serve })
  t.after(() => gateway.close({ drainTimeout: 0 }))
  return { upstream, pool, gateway, client: connect(t, gateway) }
}

function connect(t, { grpcAddress }) {
  const client = new llmpool.v1.LlmPool(grpcAddress, credentials.createInsecure())
  t.after(() => client.close())
  return client
}

function allowed(more = {}) {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries({ authorization: `Bearer ${KEY}`, ...more })) metadata.set(name, value)
  return metadata
}

/** One answer, with the call it came by. */
function infer(client, message = work, { metadata = allowed(), ...options } = {}) {
  let call
  const answer = new Promise((resolve, reject) => {
    call = client.Infer(message, metadata, options, (error, answer) => (error ? reject(error) : resolve(answer)))
  })
  answer.catch(() => {})
  return Object.assign(answer, { cancel: () => call.cancel() })
}

async function refusal(promise) {
  const error = await promise.then(
    () => assert.fail('it was answered'),
    (error) => error,
  )
  return { code: codes[error.code], message: error.details, metadata: (name) => error.metadata.get(name)[0] }
}

async function freePort() {
  const server = net.createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

test('answers as HTTP does, on a port of its own and on one port for both', bounded, async (t) => {
  const one = `127.0.0.1:${await freePort()}`
  for (const serve of [{}, { http: one, grpc: one }]) {
    const { gateway, client } = await served(t, { serve })
    assert.equal(gateway.grpcUrl, `http://${gateway.grpcAddress}`)
    assert.equal(gateway.address === gateway.grpcAddress, serve.http !== undefined)
    const { request_id: _, duration_ms: __, attempts, ...over } = await infer(client)
    const response = await fetch(`${gateway.url}/v1/infer`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
      body: JSON.stringify(work),
    })
    const { request_id: ___, duration_ms: ____, attempts: tried, ...http } = await response.json()
    for (const [name, value] of Object.entries(http)) assert.deepEqual(over[name], value, name)
    assert.deepEqual(
      [attempts.length, attempts[0].provider, attempts[0].outcome],
      [tried.length, tried[0].provider, tried[0].outcome],
    )
  }
})

test('a stream tells pieces and the whole, and 64 go on beside one that nobody reads', roomy, async (t) => {
  const { upstream, client } = await served(t)
  const piece = 'x'.repeat(16 * 1024)
  let written = 0
  upstream.next(
    sse(async ({ text, finish, done }) => {
      for (; written < 2000; written += 1) await text(piece)
      await finish()
      await done()
    }),
  )
  const slow = client.InferStream(work, allowed())
  slow.on('error', () => {})
  slow.pause()
  await upstream.request(1)

  upstream.always(sseOk('hel', 'lo'))
  const told = await Promise.all(
    Array.from({ length: 64 }, async () => {
      const events = []
      for await (const event of client.InferStream(work, allowed())) events.push(event)
      return events
    }),
  )
  for (const events of told) {
    const said = events.filter(({ event }) => event === 'delta').map(({ delta }) => delta)
    assert.equal(said.join(''), 'hello')
    assert.deepEqual([events.at(-1).event, events.at(-1).done.content], ['done', 'hello'])
  }
  assert.ok(written < 2000, 'the provider waits for a client that does not read')
  slow.cancel()
  await upstream.exchanges[0].closed
})

test('a call that is cancelled, or out of time, is closed upstream', bounded, async (t) => {
  const { upstream, client } = await served(t)
  upstream.always(hang())
  const left = infer(client)
  const asked = await upstream.request(1)
  left.cancel()
  assert.equal((await refusal(left)).code, 'CANCELLED')
  await asked.closed

  const late = infer(client, work, { deadline: Date.now() + 200 })
  const asking = await upstream.request(2)
  assert.equal((await refusal(late)).code, 'DEADLINE_EXCEEDED')
  await asking.closed

  upstream.always(sse(async ({ text }) => text('hel')))
  const stream = client.InferStream(work, allowed())
  stream.on('error', () => {})
  await new Promise((resolve) => stream.once('data', resolve))
  stream.cancel()
  await upstream.last.closed
})

test('an error has the code of its status, its message, and what it is about', bounded, async (t) => {
  const lines = []
  const { upstream, client } = await served(t, { serve: { onRequest: (line) => lines.push(line) } })
  upstream.always(status(500))
  for (const [message, options, code, http, field] of [
    [work, {}, 'UNAVAILABLE', '503'],
    [{ ...work, task: 'nope' }, {}, 'NOT_FOUND', '404', 'task'],
    [{ ...work, prompt: '' }, {}, 'INVALID_ARGUMENT', '400', 'prompt'],
    [{ ...work, tenant: 'them' }, {}, 'PERMISSION_DENIED', '403', 'tenant'],
    [work, { metadata: new Metadata() }, 'UNAUTHENTICATED', '401'],
    [work, { metadata: allowed({ authorization: 'Bearer x' }) }, 'UNAUTHENTICATED', '401'],
  ]) {
    const error = await refusal(infer(client, message, options))
    assert.deepEqual(
      [error.code, error.metadata('x-llmpool-status'), error.metadata('x-llmpool-field')],
      [code, http, field],
    )
    assert.ok(error.message !== '' && error.metadata('x-request-id') !== '')
  }
  await until(() => lines.length === 6)
  assert.deepEqual(
    lines.map((line) => line.status),
    [503, 404, 400, 403, 401, 401],
  )
})

test('labels stand in the decision and in the line of the request', bounded, async (t) => {
  const lines = []
  const { pool, client } = await served(t, { serve: { onRequest: (line) => lines.push(line) } })
  const told = record(pool, 'decision')
  await infer(client, { ...work, project: 'search', meta: { page: '7' } })
  await until(() => lines.length === 1 && told.length === 1)
  for (const { project, meta } of [lines[0], told[0][1]]) assert.deepEqual([project, meta], ['search', { page: '7' }])
  assert.equal(lines[0].path, '/llmpool.v1.LlmPool/Infer')
})

test('where gRPC is spoken is said by options, by the configuration, or beside HTTP', bounded, async (t) => {
  const upstream = await Upstream.start(t)
  const at = async (server, options) => {
    const pool = await openPool(t, [provider('main', upstream)], { config: { server } })
    const gateway = await pool.serve(options)
    await gateway.close()
    return [gateway.grpcAddress, gateway.grpcUrl]
  }
  assert.deepEqual(await at({}, { http: '127.0.0.1:0' }), [null, null], 'HTTP is elsewhere, and nobody said more')
  assert.deepEqual(await at({ grpc: '127.0.0.1:0' }, { http: '127.0.0.1:0', grpc: null }), [null, null])
  const [address, url] = await at({ http: '127.0.0.1:0', grpc: '127.0.0.1:0' })
  assert.match(address, /^127\.0\.0\.1:\d+$/)
  assert.equal(url, `http://${address}`)

  const pool = await openPool(t, [provider('main', upstream)])
  for (const [options, message] of [
    [{ grpc: 'nowhere' }, /grpc: must be an address and a port/],
    [{ http: '127.0.0.1:0', grpc: '0.0.0.0:0' }, /server\.grpc: others can reach .*everybody could call/],
    [{ http: '127.0.0.1:0', grpc: `127.0.0.1:${upstream.port}` }, /server\.grpc: cannot listen/],
  ]) {
    await assert.rejects(pool.serve(options), { name: 'ConfigurationError', message })
  }
})

test('a close waits for calls under way, and takes no other', bounded, async (t) => {
  const { upstream, gateway, client } = await served(t)
  const door = gate()
  upstream.always(async (exchange) => {
    await door.opened
    await ok('late')(exchange)
  })
  const answer = infer(client)
  await upstream.request(1)
  const closing = gateway.close({ drainTimeout: 20_000 })
  await until(() => new Promise((resolve) => connectable(gateway).then((can) => resolve(!can))), 'the port is shut')
  door.open()
  assert.equal((await answer).content, 'late')
  await closing
})

/** Does anybody listen there? */
function connectable({ grpcAddress }) {
  const [host, port] = grpcAddress.split(':')
  return new Promise((resolve) => {
    const socket = net.connect({ host, port: Number(port) })
    socket.once('connect', () => resolve(true) ?? socket.destroy())
    socket.once('error', () => resolve(false))
  })
}

describe('Examples', () => {
  const expected = [
    'Paris (gpt-4o of main, 15 tokens)',
    'Paris (main)',
    `NOT_FOUND, about task: invalid request: task: there is no task "no-such-task"; there are "capital", "vote"`,
    '',
  ]
  const answers = (upstream) => upstream.next(ok('Paris'), sseOk('Par', 'is'))

  it('grpc.mjs asks whole, as a stream, and for what is not there', bounded, async (t) => {
    const { upstream, gateway } = await served(t)
    answers(upstream)
    const file = join(ROOT, 'examples', 'grpc.mjs')
    const args = [gateway.grpcAddress]
    const { code, stdout, stderr } = await runNode(t, '', { file, args, env: { LLMPOOL_KEY: KEY } })
    assert.equal(code, 0, stderr)
    assert.deepEqual(stdout.split('\n'), expected)
  })

  it('grpc_client.py does the same', roomy, async (t) => {
    const { command, why } = pythonWith(join(ROOT, '__test__', 'python', 'requirements.txt'))
    if (why) return t.skip(why)
    const { upstream, gateway } = await served(t)
    answers(upstream)
    const args = [join(ROOT, 'examples', 'grpc_client.py'), gateway.grpcAddress]
    const env = { LLMPOOL_KEY: KEY, PYTHONDONTWRITEBYTECODE: '1' }
    const { code, stdout, stderr } = await startProgram(t, command, args, { env }).ended
    assert.equal(code, 0, stderr)
    assert.deepEqual(stdout.split('\n'), expected)
  })
})
