// Replies that are no answers, over a socket, for every type of provider: a classified failure, and another answers.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { gzipSync } from 'node:zlib'
import { PROVIDERS } from '../index.mjs'
import { runNode } from './support/child.mjs'
import { ask, drain, inOrder, openPool, provider } from './support/pool.mjs'
import { ok, sseOk, Upstream } from './support/upstream.mjs'
import { roomy } from './support/wait.mjs'

const types = Object.values(PROVIDERS)
const nested = (open, close) => `{"choices":${open.repeat(100_000)}${close.repeat(100_000)}}`
/** Either it cannot be read, or it never came to its end: Ollama's replies say that they are done. */
const unread = ['bad_reply', 'stream_truncated']
/** What comes, and the classes it may have. */
const bad = {
  empty: [''],
  'white space': ['\r\n \n'],
  HTML: ['<!DOCTYPE html><html><body>502 Bad Gateway</body></html>', { type: 'text/html' }],
  'plain text': ['upstream connect error', { type: 'text/plain' }],
  truncated: ['{"id":"i","choices":[{"message":{"role":"assistant","content":"Os'],
  'truncated in another dialect': ['{"type":"message","content":[{"type":"text","text":"Os'],
  'invalid JSON': ['{"choices":[{]}'],
  'invalid UTF-8': [Buffer.from('{"choices":[{"message":{"content":"\xff\xfe"},"finish_reason":"stop"}]}', 'latin1')],
  'nested deeply': [nested('[', ']')],
  'nested deeply in objects': [nested('{"a":', '}')],
  'choices: []': ['{"choices":[],"candidates":[],"content":[],"message":{}}'],
  'an empty object': ['{}'],
  null: ['null'],
  'an error inside a 200': [
    '{"error":{"message":"The server had an error","type":"server_error"}}',
    { classes: ['server_error'] },
  ],
  'an overload inside a 200': ['{"error":{"message":"overloaded","code":503}}', { classes: ['overloaded'] }],
  'a rate limit inside a 200': ['{"error":{"message":"slow down","code":429}}', { classes: ['rate_limit'] }],
  'an error in a list': ['[{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}]', { classes: ['overloaded'] }],
  'gzip nobody asked for': [gzipSync('{"choices":[]}')],
  'a gzip bomb': [
    gzipSync(Buffer.alloc(100 * 1024 * 1024, 0x20)),
    { headers: { 'content-encoding': 'gzip' }, classes: ['network', 'bad_reply'] },
  ],
}

describe('Provider replies that are no answers: another provider answers', () => {
  for (const type of types) {
    it(`${type}`, roomy, async (t) => {
      const a = await Upstream.start(t)
      const b = await Upstream.start(t)
      const providers = () => inOrder(provider('a', a, { type, base_url: a.origin }), provider('b', b))
      for (const [what, [body, { classes, type: content = 'application/json', headers } = {}]] of Object.entries(bad)) {
        // A pool of its own for each, so that no breaker keeps the next one away.
        const pool = await openPool(t, providers(), { maxRetries: 0 })
        const before = a.count
        a.always((exchange) => exchange.reply(200, body, { 'content-type': content, ...headers }))
        const response = await pool.chat(ask())
        const [first, second] = response.attempts
        assert.deepEqual([response.content, second.outcome], ['pong', 'success'], what)
        assert.ok((classes ?? unread).includes(first.errorClass), `${what}: ${first.errorClass}`)

        b.next(sseOk('pong'))
        const streamed = pool.stream(ask())
        const { text, error } = await drain(streamed)
        assert.deepEqual([text, error], ['pong', undefined], what)
        const [cut] = (await streamed.response()).attempts
        if (cut.outcome === 'failure') {
          assert.ok((classes ?? unread).includes(cut.errorClass), `${what}, streamed: ${cut.errorClass}`)
          assert.equal(a.count, before + 2, what)
        } else assert.equal(first.errorClass, 'rate_limit', `${what}: only a limit keeps the second call away`)
        await pool.shutdown({ drainTimeout: 0 })
      }
    })
  }
})

describe('Provider replies of 100 MB', () => {
  it('are cut off, in bounded memory, for every type', roomy, async (t) => {
    const megabyte = Buffer.alloc(1024 * 1024, 0x20)
    const taken = []
    const a = await Upstream.start(t, async (exchange) => {
      exchange.head(200, { 'content-type': 'application/json' })
      const at = taken.push(0) - 1
      while (taken[at] < 100 && (await exchange.write(megabyte))) taken[at]++
      await exchange.end()
    })
    const b = await Upstream.start(t, ok())
    const configs = types.map((type) => ({
      providers: inOrder(provider('a', a, { type, base_url: a.origin }), provider('b', b)),
    }))
    // The other end lives in this process, so the pool's memory is seen in one of its own.
    const ended = await runNode(
      t,
      `const { LLMPool } = await import(ENTRY)
       const peak = () => process.resourceUsage().maxRSS / 1024
       let before
       for (const config of ${JSON.stringify(configs)}) {
         const pool = await LLMPool.create({ config, maxRetries: 0 })
         if (!before) {
           await pool.chat([{ role: 'user', content: 'warm' }], { providers: ['b'] })
           before = peak()
         }
         const { content, attempts } = await pool.chat([{ role: 'user', content: 'x' }])
         if (content !== 'pong' || attempts[0].errorClass !== 'bad_reply') throw new Error(JSON.stringify(attempts))
         await pool.shutdown({ drainTimeout: 0 })
       }
       console.log(peak() - before)`,
    )
    assert.equal(ended.stderr, '')
    assert.equal(taken.length, types.length)
    // The bound is 32 MiB; what lies in the buffers of the sockets between was taken by nobody.
    for (const megabytes of taken) assert.ok(megabytes < 64, `${megabytes} MB of 100 were read`)
    // A buffer that grows is held twice for a moment, and the allocator gives back late.
    assert.ok(Number(ended.stdout) < 200, `${ended.stdout} MB more at the peak of ${types.length} such replies`)
  })
})
