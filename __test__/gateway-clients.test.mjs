// One suite for every client: what people do with a model works through the port and through `pool.fetch`, whatever they
// do it with. What only one API has is in `gateway.test.mjs` and `gateway-anthropic.test.mjs`.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { FRAMEWORKS } from './clients/frameworks.mjs'
import { ROOT, startProgram } from './support/child.mjs'
import { SDKS } from './support/clients.mjs'
import { openPool, provider, rejection } from './support/pool.mjs'
import { pythonWith } from './support/python.mjs'
import { ok, Upstream } from './support/upstream.mjs'
import { bounded, roomy } from './support/wait.mjs'
import { VECTORS, wishes } from './support/wishes.mjs'

const KEY = 'key-of-the-gateway'
/** The same suite in Python. */
const PYTHON = join(ROOT, '__test__', 'python')

/** The ways in: what a client is made with. */
const DOORS = {
  port: async (t, pool) => {
    const gateway = await pool.serve({ http: '127.0.0.1:0', apiKeys: [KEY] })
    t.after(() => gateway.close({ drainTimeout: 0 }))
    return { url: gateway.url, apiKey: KEY }
  },
  fetch: async (_, pool) => ({ url: 'http://llmpool.local', apiKey: 'unused', fetch: pool.fetch }),
}

/** What is done with each of them. */
const STORIES = {
  'chats, with the key of the pool and not its own': async ({ client, upstream }) => {
    assert.equal(await client.chat('hello'), 'hello')
    assert.equal(upstream.last.headers.authorization, 'Bearer key-of-main')
    assert.doesNotMatch(JSON.stringify(upstream.last.headers), new RegExp(KEY))
  },

  streams: async ({ client }) => {
    const pieces = []
    for await (const piece of client.stream('hello')) if (piece !== '') pieces.push(piece)
    assert.deepEqual(pieces, ['hel', 'lo'])
  },

  'calls a tool and hands back what it said': async ({ client, upstream }) => {
    assert.deepEqual(await client.tools('weather', '3 °C'), { name: 'weather', input: { city: 'Oslo' }, text: 'cold' })
    const { messages, tools } = upstream.last.json
    assert.deepEqual(
      messages.map(({ role }) => role),
      ['user', 'assistant', 'tool'],
    )
    assert.equal(tools[0].function.name, 'weather')
  },

  'is told once what failed, and which request it was': async ({ client, upstream }) => {
    for (const [wish, status] of [
      ['fail', 503],
      ['refuse', 400],
    ]) {
      const before = upstream.count
      const failure = client.failure(await rejection(client.chat(wish)))
      assert.equal(failure.status, status)
      assert.match(failure.requestId, /^req_/)
      assert.equal(upstream.count - before, 1, 'nobody asked again')
    }
  },

  'is told when a stream breaks': async ({ client }) => {
    let text = ''
    const reading = async () => {
      for await (const piece of client.stream('break')) text += piece
    }
    assert.ok((await rejection(reading())) instanceof Error)
    assert.equal(text, 'half')
  },

  'leaves, and the call upstream ends': async ({ client, upstream }) => {
    const whole = new AbortController()
    const asked = rejection(client.chat('hang', { signal: whole.signal }))
    const first = await upstream.request(1)
    whole.abort()
    await asked
    await first.closed

    const streamed = new AbortController()
    const reading = async () => {
      for await (const piece of client.stream('hang', { signal: streamed.signal }))
        if (piece === 'one') streamed.abort()
    }
    await reading().catch(() => {}) // some clients throw, others just end: it is they who left
    await (await upstream.request(2)).closed
  },

  'lists the models': async ({ client }) => {
    assert.deepEqual(await client.models(), ['auto', 'gpt-4o', 'embed'])
  },

  'makes vectors': async ({ client }) => {
    assert.deepEqual(await client.embed(['a', 'b']), VECTORS)
  },
}

/** What a story needs of a client, where not all have it. */
const NEEDS = { 'lists the models': 'models', 'makes vectors': 'embed' }

/** A pool over a provider that does what it is told. */
async function wishing(t) {
  const upstream = await Upstream.start(t, wishes)
  const models = { embed: 'text-embedding-3-small' }
  const pool = await openPool(t, [provider('main', upstream, { models })], { maxRetries: 0 })
  return { upstream, pool }
}

for (const [name, make] of Object.entries({ ...SDKS, ...FRAMEWORKS })) {
  for (const [door, enter] of Object.entries(DOORS)) {
    for (const [title, tell] of Object.entries(STORIES)) {
      if (NEEDS[title] && !(NEEDS[title] in make({ url: 'http://nowhere.invalid', apiKey: 'none' }))) continue
      test(`${name} through the ${door}: ${title}`, bounded, async (t) => {
        const { upstream, pool } = await wishing(t)
        await tell({ upstream, client: make(await enter(t, pool)) })
      })
    }
  }
}

test('the Python clients of OpenAI and Anthropic through the port', roomy, async (t) => {
  const { command, why } = pythonWith(join(PYTHON, 'requirements.txt'))
  if (why) return t.skip(why)
  const { upstream, pool } = await wishing(t)
  const { url, apiKey } = await DOORS.port(t, pool)
  const env = { GATEWAY_URL: url, GATEWAY_KEY: apiKey, PYTHONDONTWRITEBYTECODE: '1' }
  const { code, stderr } = await startProgram(t, command, [join(PYTHON, 'clients.py')], { env }).ended
  assert.equal(code, 0, stderr)
  assert.match(stderr, /Ran \d\d tests/)

  const asked = (wish) => upstream.exchanges.filter(({ text }) => text.includes(`"${wish}"`))
  assert.equal(asked('fail').length, 2, 'neither of them asked again for what the pool had given up')
  assert.equal(asked('refuse').length, 2)
  const left = asked('hang')
  assert.equal(left.length, 4)
  await Promise.all(left.map(({ closed }) => closed))
})

test('the Python of docs/gateway.md runs as shown', roomy, async (t) => {
  const { command, why } = pythonWith(join(PYTHON, 'requirements.txt'))
  if (why) return t.skip(why)
  const [, code] = /```python\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, 'docs', 'gateway.md'), 'utf8'))
  const { upstream, pool } = await wishing(t)
  upstream.next(ok('Oslo.'), ok('Oslo.'))
  const { url, apiKey } = await DOORS.port(t, pool)
  const here = code.replaceAll('http://127.0.0.1:7071', url).replaceAll('my-key', apiKey)
  const program = `${here}\nprint(answer.choices[0].message.content, message.content[0].text)`
  const { stdout, stderr } = await startProgram(t, command, ['-c', program]).ended
  assert.equal(stdout.trim(), 'Oslo. Oslo.', stderr)
})
