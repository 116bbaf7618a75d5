// Streams: what arrives is handed over as it arrives, back-pressure reaches the upstream, and a cut never looks whole.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { LLMPoolError, ProviderError, StreamInterruptedError } from '../index.mjs'
import {
  Upstream,
  chunk,
  completion,
  fixtures,
  frame,
  hang,
  ok,
  replay,
  resetBeforeBytes,
  sse,
  sseOk,
  status,
} from './support/upstream.mjs'
import { ask, drain, inOrder, openPool, partialText, provider, record, rejection, trail } from './support/pool.mjs'
import { startNode } from './support/child.mjs'
import { bounded, gate, roomy, settled, until } from './support/wait.mjs'

const index = existsSync(new URL('fixtures/wire/index.json', import.meta.url)) ? fixtures() : new Map()
const family = [...index.values()].filter(
  (entry) =>
    (entry.kind === 'sse' || entry.kind === 'ndjson') &&
    /^(anthropic|openai|gemini|cohere|ollama|azure|groq|together|mistral|deepseek|openrouter|xai|fireworks|perplexity|openai-compatible)\//.test(
      entry.file,
    ) &&
    !/stream-error-first/.test(entry.file),
)
/** Bodies of a service's OpenAI-compatible base speak that wire. */
const typeOf = ({ file }) => (file.includes('/compat-') ? 'openai-compatible' : file.split('/')[0])

/** Usage of an index entry in the words of a response. */
const usageOf = ({ input_tokens, output_tokens, total_tokens, cached_input_tokens, reasoning_tokens }) => ({
  prompt_tokens: input_tokens,
  completion_tokens: output_tokens,
  total_tokens,
  cached_tokens: cached_input_tokens,
  reasoning_tokens,
})
const callsOf = (calls) =>
  (calls ?? []).map((call) => ({ name: call.function.name, arguments: JSON.parse(call.function.arguments || '{}') }))

describe('Provider streams: recorded replies', () => {
  it('there are recorded replies to replay', bounded, () => assert.ok(family.length >= 10))

  for (const entry of family) {
    for (const size of [1, 7, 37]) {
      it(`${entry.file} in pieces of ${size}`, bounded, async (t) => {
        const { expect } = entry
        const a = await Upstream.start(t, replay(entry, size))
        const pool = await openPool(t, [provider('a', a, { type: typeOf(entry) })], { maxRetries: 0 })
        const stream = pool.stream(ask())
        const { chunks, text, error } = await drain(stream)

        if (expect.error_class) {
          assert.ok(error instanceof StreamInterruptedError, String(error?.stack))
          assert.equal(error.errorClass, expect.error_class)
          assert.equal(text, expect.partial_content ?? text) // not every sample states it
          assert.equal(partialText(error), text)
          assert.ok((await rejection(stream.response())) instanceof StreamInterruptedError)
          return
        }
        assert.equal(error, undefined)
        assert.equal(text, expect.content ?? '')
        assert.ok(chunks.every((each) => typeof each.delta === 'string' && each.provider === 'a'))
        const finishes = chunks.map((each) => each.finish_reason).filter(Boolean)
        assert.deepEqual(finishes, [expect.finish_reason])

        const response = await stream.response()
        assert.equal(response.content, expect.content ?? '')
        assert.equal(response.finish_reason, expect.finish_reason)
        if (expect.tool_calls) assert.deepEqual(callsOf(response.tool_calls), expect.tool_calls)
        if (expect.usage) {
          const { estimated, ...usage } = response.usage
          assert.equal(estimated, false)
          assert.deepEqual(
            { ...usage, cache_write_tokens: undefined },
            { ...usageOf(expect.usage), cache_write_tokens: undefined },
          )
        } else if (expect.usage === null) {
          assert.equal(response.usage.estimated, true)
          assert.ok(response.usage.prompt_tokens > 0 && response.usage.completion_tokens > 0)
        }
        assert.deepEqual(trail(response), ['a:success'])
      })
    }
  }
})

describe('LLMPool streams: as it arrives', () => {
  it('chunk 1 is with the consumer before chunk 2 is sent', bounded, async (t) => {
    const consumed = [gate(), gate(), gate()]
    const a = await Upstream.start(
      t,
      sse(async (stream) => {
        for (const [at, word] of ['one ', 'two ', 'three'].entries()) {
          await stream.text(word)
          await consumed[at].opened // not before the consumer has it
        }
        await stream.finish()
        await stream.done()
      }),
    )
    const pool = await openPool(t, [provider('a', a)])
    const got = []
    for await (const each of pool.stream(ask())) {
      if (!each.delta) continue
      got.push(each.delta)
      consumed[got.length - 1].open()
    }
    assert.deepEqual(got, ['one ', 'two ', 'three'])
  })

  it('asks the upstream for a stream with usage', bounded, async (t) => {
    const a = await Upstream.start(t, sseOk('a'))
    const pool = await openPool(t, [provider('a', a)])
    await pool.stream(ask()).text()
    assert.equal(a.last.json.stream, true)
    assert.deepEqual(a.last.json.stream_options, { include_usage: true })
  })

  it('chunks tell provider, model and usage', bounded, async (t) => {
    const a = await Upstream.start(t, sseOk('x', 'y'))
    const pool = await openPool(t, [provider('a', a)])
    const { chunks } = await drain(pool.stream(ask()))
    assert.ok(chunks.every((each) => each.provider === 'a' && each.model === 'gpt-4o'))
    const usages = chunks.map((each) => each.usage).filter(Boolean)
    assert.equal(usages.at(-1).total_tokens, 12)
  })

  it('a character split between pieces arrives whole', bounded, async (t) => {
    const words = 'grüße 😀 日本語 e\u0301'
    const bytes = Buffer.from(
      [frame(chunk({ content: words })), frame(chunk({}, { finish: 'stop' })), frame('[DONE]')].join(''),
    )
    const a = await Upstream.start(
      t,
      sse(async ({ raw, exchange }) => {
        for (let at = 0; at < bytes.length; at++) await raw(bytes.subarray(at, at + 1))
        await exchange.end()
      }),
    )
    const pool = await openPool(t, [provider('a', a)])
    const { text } = await drain(pool.stream(ask()))
    assert.equal(text, words)
  })

  it('comments, CRLF, a byte order mark and unknown events are no content', bounded, async (t) => {
    const a = await Upstream.start(
      t,
      sse(async ({ raw, exchange }) => {
        await raw('\uFEFF: hello\r\n\r\nevent: surprise\r\ndata: {"unknown":true}\r\n\r\n')
        await raw(`: keep-alive\n\nid: 7\nretry: 10\ndata: ${JSON.stringify(chunk({ content: 'kept' }))}\r\n\r\n`)
        await raw(`data:${JSON.stringify(chunk({}, { finish: 'stop' }))}\r\rdata: [DONE]\n\n`)
        await exchange.end()
      }),
    )
    const pool = await openPool(t, [provider('a', a)])
    const { text, error } = await drain(pool.stream(ask()))
    assert.equal(error, undefined)
    assert.equal(text, 'kept')
  })

  it('a finish reason without [DONE] is a whole answer', bounded, async (t) => {
    const a = await Upstream.start(
      t,
      sse(async (stream) => {
        await stream.text('whole')
        await stream.finish()
        await stream.exchange.end()
      }),
    )
    const pool = await openPool(t, [provider('a', a)])
    const stream = pool.stream(ask())
    assert.equal((await drain(stream)).text, 'whole')
    assert.equal((await stream.response()).finish_reason, 'stop')
  })

  it('[DONE] ends it, whatever the socket does', bounded, async (t) => {
    const a = await Upstream.start(
      t,
      sse(async (stream) => {
        await stream.text('whole')
        await stream.finish()
        await stream.raw('data: [DONE]\n\n') // and the body stays open
      }),
    )
    const pool = await openPool(t, [provider('a', a)])
    const { text, error } = await drain(pool.stream(ask()))
    assert.equal(error, undefined)
    assert.equal(text, 'whole')
  })

  it('tool calls come in pieces and spell one call each', bounded, async (t) => {
    const piece = (index, more) => chunk({ tool_calls: [{ index, ...more }] })
    const a = await Upstream.start(
      t,
      sse(async (stream) => {
        await stream.push(piece(0, { id: 'c1', type: 'function', function: { name: 'f', arguments: '' } }))
        await stream.push(piece(0, { function: { arguments: '{"x":' } }))
        await stream.push(piece(1, { id: 'c2', type: 'function', function: { name: 'g', arguments: '{}' } }))
        await stream.push(piece(0, { function: { arguments: '1}' } }))
        await stream.finish('tool_calls')
        await stream.done()
      }),
    )
    const pool = await openPool(t, [provider('a', a)])
    const stream = pool.stream(ask())
    const { chunks } = await drain(stream)
    assert.ok(chunks.some((each) => each.tool_calls?.length))
    const response = await stream.response()
    assert.deepEqual(
      response.tool_calls.map(({ id, type, function: { name, arguments: text } }) => ({ id, type, name, text })),
      [
        { id: 'c1', type: 'function', name: 'f', text: '{"x":1}' },
        { id: 'c2', type: 'function', name: 'g', text: '{}' },
      ],
    )
    assert.equal(response.finish_reason, 'tool_calls')
  })
})

describe('LLMPool streams: the helpers', () => {
  const words = ['Oslo ', 'is ', 'cold.']
  const good = async (t, more) => {
    const a = await Upstream.start(t, sseOk(...words))
    return { a, pool: await openPool(t, [provider('a', a, { input_token_price: 1, output_token_price: 2, ...more })]) }
  }

  it('response() is the accumulated answer, without a loop', bounded, async (t) => {
    const { pool } = await good(t)
    const told = record(pool, 'requestSuccess')
    const response = await pool.stream(ask(), { requestId: 's1' }).response()
    assert.equal(response.content, 'Oslo is cold.')
    assert.equal(response.role, 'assistant')
    assert.equal(response.provider, 'a')
    assert.equal(response.model, 'gpt-4o')
    assert.equal(response.finish_reason, 'stop')
    assert.equal(response.usage.total_tokens, 13)
    assert.equal(response.cost, 10 / 1000 + (3 / 1000) * 2)
    assert.equal(response.requestId, 's1')
    assert.deepEqual(trail(response), ['a:success'])
    assert.equal(told.length, 1)
    assert.equal(told[0][1].requestId, 's1')
  })

  it('response() after the loop is the same answer', bounded, async (t) => {
    const { a, pool } = await good(t)
    const stream = pool.stream(ask())
    const { text } = await drain(stream)
    const [one, two] = await Promise.all([stream.response(), stream.response()])
    assert.equal(one.content, text)
    assert.equal(two.content, text)
    assert.equal(a.count, 1)
  })

  it('text() is the text', bounded, async (t) => {
    const { pool } = await good(t)
    assert.equal(await pool.stream(ask()).text(), 'Oslo is cold.')
  })

  it('chat({ stream: true }) is a promise of the stream', bounded, async (t) => {
    const { pool } = await good(t)
    for (const promise of [pool.chat({ messages: ask(), stream: true }), pool.chat(ask(), { stream: true })]) {
      assert.ok(promise instanceof Promise)
      const stream = await promise
      assert.equal(typeof stream[Symbol.asyncIterator], 'function')
      assert.equal((await drain(stream)).text, 'Oslo is cold.')
    }
  })

  it('toReadableStream() is a web stream of it', bounded, async (t) => {
    const { pool } = await good(t)
    const web = pool.stream(ask()).toReadableStream()
    assert.ok(web instanceof ReadableStream)
    let seen = ''
    for await (const each of web)
      seen += each instanceof Uint8Array ? new TextDecoder().decode(each) : JSON.stringify(each)
    const at = words.map((word) => seen.indexOf(JSON.stringify(word).slice(1, -1)))
    assert.ok(
      at.every((position, n) => position >= 0 && (n === 0 || position > at[n - 1])),
      seen,
    )
  })

  it('cancelling the web stream closes the socket', bounded, async (t) => {
    const a = await Upstream.start(
      t,
      sse((stream) => stream.text('first')),
    )
    const pool = await openPool(t, [provider('a', a)])
    const reader = pool.stream(ask()).toReadableStream().getReader()
    assert.equal((await reader.read()).done, false)
    await reader.cancel()
    assert.equal(await a.last.done, 'closed')
  })

  it('abort() closes the socket, and the loop ends', bounded, async (t) => {
    const a = await Upstream.start(
      t,
      sse((stream) => stream.text('first')),
    )
    const pool = await openPool(t, [provider('a', a)])
    const stream = pool.stream(ask())
    await settled(
      (async () => {
        for await (const _ of stream) stream.abort()
      })(),
    )
    assert.equal(await a.last.done, 'closed')
    await until(() => pool.getProviderStats().a.usage.inFlight === 0)
    await settled(stream.response()) // does not hang
  })

  it('a price nobody knows is null, not zero', bounded, async (t) => {
    const { pool } = await good(t, {
      input_token_price: undefined,
      output_token_price: undefined,
      model: 'no-such-model',
    })
    assert.equal((await pool.stream(ask()).response()).cost, null)
  })
})

describe('LLMPool streams: leaving', () => {
  for (const [how, leave] of Object.entries({
    break: async (stream) => {
      for await (const _ of stream) break
    },
    return: async (stream) => {
      await (async () => {
        for await (const _ of stream) return 1
      })()
    },
    throw: async (stream) => {
      await rejection(
        (async () => {
          for await (const _ of stream) throw new Error('mine')
        })(),
      )
    },
  })) {
    it(`${how} out of for-await closes the upstream socket`, bounded, async (t) => {
      const a = await Upstream.start(
        t,
        sse((stream) => stream.text('first')),
      )
      const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 1 })])
      await leave(pool.stream(ask()))
      assert.equal(await a.last.done, 'closed')
      await until(() => pool.getProviderStats().a.usage.inFlight === 0)
      assert.equal(pool.getProviderStats().a.health.circuitState, 'closed')
      a.always(sseOk('next'))
      assert.equal(await pool.stream(ask()).text(), 'next')
    })
  }

  it('leaving before the first chunk was asked for', bounded, async (t) => {
    const a = await Upstream.start(t, hang())
    const pool = await openPool(t, [provider('a', a)])
    const iterator = pool.stream(ask())[Symbol.asyncIterator]()
    assert.deepEqual(await iterator.return('v'), { done: true, value: 'v' })
    assert.deepEqual(await iterator.next(), { done: true, value: undefined })
    await until(() => pool.getProviderStats().a.usage.inFlight === 0)
    if (a.count > 0) await a.last.closed
  })

  it('chunks asked for at once come in order, each once', bounded, async (t) => {
    const words = Array.from({ length: 20 }, (_, n) => `${n} `)
    const a = await Upstream.start(t, sseOk(...words))
    const pool = await openPool(t, [provider('a', a)])
    const iterator = pool.stream(ask())[Symbol.asyncIterator]()
    const results = await Promise.all(Array.from({ length: 40 }, () => iterator.next()))
    assert.equal(results.map((result) => result.value?.delta ?? '').join(''), words.join(''))
    assert.equal(results.at(-1).done, true)
  })

  for (const [when, read] of [
    ['in the middle', 'await stream[Symbol.asyncIterator]().next()'],
    ['before anything was read', ''],
  ]) {
    it(`a stream that was dropped ${when} lets go of its socket`, bounded, async (t) => {
      const a = await Upstream.start(
        t,
        sse((stream) => stream.text('first')),
      )
      const child = startNode(
        t,
        `
        const { LLMPool } = await import(ENTRY)
        const pool = new LLMPool({ config: { providers: [{ name: 'a', type: 'openai', api_key: 'k', model: 'm', base_url: process.env.BASE }] } })
        await pool.initialize()
        await (async () => { const stream = pool.stream([{ role: 'user', content: 'x' }]); ${read} })()
        setInterval(() => gc(), 5)
      `,
        { env: { BASE: a.base }, flags: ['--expose-gc'] },
      )
      await a.request(1)
      await a.last.closed
      child.kill()
    })
  }

  it('leaving while the upstream is in the middle of writing', bounded, async (t) => {
    const a = await Upstream.start(
      t,
      sse(async (stream) => {
        while (await stream.text('x'.repeat(10_000)));
      }),
    )
    const pool = await openPool(t, [provider('a', a)])
    let seen = 0
    for await (const _ of pool.stream(ask())) if (++seen === 20) break
    await a.last.closed
  })
})

describe('LLMPool streams: back-pressure', () => {
  const PIECE = 16 * 1024
  const TOTAL = 100 * 1024 * 1024
  const pieceOf = Buffer.from(frame(chunk({ content: 'x'.repeat(PIECE) })))

  /**
   * Writes the whole stream as fast as it is taken. `stalled` resolves when the system has taken nothing for a while:
   * that "drain" never comes cannot be seen otherwise, and with a consumer that buffers `finished` comes instead.
   */
  const torrent = (state) =>
    sse(async ({ exchange }) => {
      const { res, socket } = exchange
      state.accepted = () => socket.bytesWritten - socket.writableLength
      let offered = 0
      while (offered < TOTAL && !socket.destroyed) {
        const took = res.write(pieceOf)
        offered += pieceOf.length
        if (took) continue
        let quiet
        const drained = new Promise((resolve) => {
          res.once('drain', resolve)
          socket.once('close', resolve)
        })
        const silence = new Promise((resolve) => {
          const look = (before) => {
            quiet = setTimeout(() => (state.accepted() === before ? resolve() : look(state.accepted())), 700)
          }
          look(state.accepted())
        })
        await Promise.race([drained, silence.then(state.stalled)])
        clearTimeout(quiet)
        await drained
      }
      if (!socket.destroyed) state.finished()
    })

  it('a paused consumer of 100 MB blocks the upstream socket', roomy, async (t) => {
    const state = {}
    const stalled = new Promise((resolve) => (state.stalled = () => resolve('stalled')))
    const finished = new Promise((resolve) => (state.finished = () => resolve('sent it all')))
    const a = await Upstream.start(t, torrent(state))
    // In a process of its own, whose memory is the consumer's and nobody else's.
    const consumer = startNode(
      t,
      `import { existsSync, readFileSync } from 'node:fs'
       const { LLMPool } = await import(ENTRY)
       const pool = await LLMPool.create({ config: ${JSON.stringify({ providers: [provider('a', a)] })} })
       const messages = ${JSON.stringify(ask())}
       // Without the pages of program files, which come in as code is run for the first time.
       const status = '/proc/self/status'
       const own = () => Number(/RssAnon:\\s+(\\d+)/.exec(readFileSync(status, 'latin1'))[1]) * 1024
       const memory = () => (gc(), existsSync(status) ? own() : process.memoryUsage().rss)
       // What grows once, the heaps and their arenas, has grown before it is measured.
       for (let warm = 0; warm < 3; warm++) {
         let chunks = 0
         for await (const _ of pool.stream(messages)) if (++chunks === 500) break
       }
       const before = memory()
       const iterator = pool.stream(messages)[Symbol.asyncIterator]()
       const { value } = await iterator.next() // and then nothing more is asked for
       process.stdout.write(value.delta.length + '\\n')
       await new Promise((resolve) => process.stdin.once('data', resolve))
       const grown = memory() - before
       await iterator.return()
       process.stdout.write(grown + '\\n')
       process.stdin.destroy()`,
      { flags: ['--expose-gc'], stdin: true },
    )
    assert.equal(await Promise.race([stalled, finished, consumer.ended]), 'stalled')
    const accepted = state.accepted()
    consumer.stdin.write('measure\n')
    const { code, stdout, stderr } = await consumer.ended
    assert.equal(code, 0, stderr)
    const [first, grown] = stdout.trim().split('\n').map(Number)
    assert.equal(first, PIECE)
    assert.ok(grown <= 8 * 1024 * 1024, `the consumer's memory grew by ${grown} for one chunk`)
    // What the system's own buffers take is the system's business, up to some 40 MB on both sides.
    assert.ok(accepted < TOTAL / 2, `${accepted} bytes were taken from the upstream for one chunk`)
    await a.last.closed
  })

  it('a consumer that pauses and goes on misses nothing', roomy, async (t) => {
    const count = 1500
    const a = await Upstream.start(
      t,
      sse(async (stream) => {
        for (let n = 0; n < count; n++) if (!(await stream.text(`${n}:${'y'.repeat(8 * 1024)};`))) return
        await stream.finish()
        await stream.done()
      }),
    )
    const pool = await openPool(t, [provider('a', a)])
    const stream = pool.stream(ask())
    let text = ''
    let chunks = 0
    for await (const each of stream) {
      text += each.delta
      if (++chunks % 500 === 0) await pool.initialize() // something else for a while
    }
    assert.deepEqual(
      text
        .split(';')
        .slice(0, -1)
        .map((part) => Number(part.split(':')[0])),
      Array.from({ length: count }, (_, n) => n),
    )
  })

  it('a paused stream does not hold up other calls', bounded, async (t) => {
    const a = await Upstream.start(
      t,
      sse(async (stream) => {
        while (await stream.text('x'.repeat(64 * 1024)));
      }),
    )
    const pool = await openPool(t, [provider('a', a)])
    const iterator = pool.stream(ask())[Symbol.asyncIterator]()
    await iterator.next()
    a.always(ok('beside it'))
    for (let call = 0; call < 10; call++) assert.equal((await pool.chat(ask())).content, 'beside it')
    await iterator.return()
  })
})

describe('LLMPool streams: failing', () => {
  const cuts = {
    'the connection is reset': (stream) => stream.reset(),
    'the connection closes in the middle of the body': (stream) => stream.cut(),
    'the body ends in good order, without a finish reason': (stream) => stream.exchange.end(),
    'the upstream sends an error event': async (stream) => {
      await stream.push({ error: { message: 'fell over', type: 'server_error' } })
      await stream.exchange.end()
    },
    'the upstream sends what is not JSON': async (stream) => {
      await stream.push('{"choices":[{"delta":')
      await stream.exchange.end()
    },
    'a frame is cut in two': async (stream) => {
      await stream.raw('data: {"id":"chatcmpl-loop","choices":[{"index":0,"delta":{"content":" lost')
      await stream.exchange.end()
    },
  }
  for (const [what, cut] of Object.entries(cuts)) {
    it(`after content: ${what} → StreamInterruptedError with what was delivered`, bounded, async (t) => {
      const consumed = gate()
      const a = await Upstream.start(
        t,
        sse(async (stream) => {
          await stream.push(chunk({ role: 'assistant', content: '' }))
          await stream.text('Once upon')
          await stream.text(' a time')
          await consumed.opened
          await cut(stream)
        }),
      )
      const b = await Upstream.start(t, sseOk('never asked'))
      const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
      const told = record(pool, 'requestError', 'requestSuccess')
      const stream = pool.stream(ask())
      let text = ''
      const error = await rejection(
        (async () => {
          for await (const each of stream) {
            text += each.delta
            if (text === 'Once upon a time') consumed.open()
          }
        })(),
      )
      assert.ok(error instanceof StreamInterruptedError && error instanceof ProviderError, error.stack)
      assert.equal(error.code, 'ERR_LLMPOOL_STREAM_INTERRUPTED')
      assert.equal(partialText(error), 'Once upon a time')
      assert.equal(error.provider, 'a')
      assert.deepEqual(trail(error), ['a:failure'])
      assert.equal(b.count, 0)
      assert.ok((await rejection(stream.response())) instanceof StreamInterruptedError)
      assert.ok((await rejection(stream.text())) instanceof StreamInterruptedError)
      assert.deepEqual(
        told.map(([name, event]) => `${name} ${event.provider}`),
        ['requestError a'],
      )
    })
  }

  const early = {
    'a status': status(500),
    'a reset': resetBeforeBytes(),
    'an error event first': sse(async (stream) => {
      await stream.push({ error: { message: 'overloaded', type: 'server_error' } })
      await stream.exchange.end()
    }),
    'an error event after the role': sse(async (stream) => {
      await stream.push(chunk({ role: 'assistant', content: '' }))
      await stream.push({ error: { message: 'x', type: 'server_error' } })
      await stream.exchange.end()
    }),
    'a cut before the first content': sse(async (stream) => {
      await stream.push(chunk({ role: 'assistant', content: '' }))
      stream.cut()
    }),
    'an end without anything': sse((stream) => stream.exchange.end()),
    '[DONE] without anything': sse((stream) => stream.done()),
    'a JSON error in a 200': (exchange) => exchange.reply(200, { error: { message: 'no', type: 'server_error' } }),
    'HTML in a 200': (exchange) => exchange.reply(200, '<html></html>', { 'content-type': 'text/html' }),
  }
  for (const [what, behaviour] of Object.entries(early)) {
    it(`before the first content: ${what} → another provider answers`, bounded, async (t) => {
      const a = await Upstream.start(t, behaviour)
      const b = await Upstream.start(t, sseOk('from ', 'b'))
      const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
      const stream = pool.stream(ask())
      const { chunks, text, error } = await drain(stream)
      assert.equal(error, undefined)
      assert.equal(text, 'from b')
      assert.ok(chunks.every((each) => each.provider === 'b'))
      assert.deepEqual(trail(await stream.response()), ['a:failure', 'b:success'])
      assert.deepEqual([a.count, b.count], [1, 1])
    })
  }

  it(
    'before the first content: silence past the timeout, pings or not → another provider answers',
    bounded,
    async (t) => {
      const a = await Upstream.start(
        t,
        sse(async (stream) => {
          await stream.push(chunk({ role: 'assistant', content: '' }))
          while (await stream.raw(': ping\n\n')) await new Promise((resolve) => setTimeout(resolve, 5)) // the upstream's own pace
        }),
      )
      const b = await Upstream.start(t, sseOk('from b'))
      const pool = await openPool(t, inOrder(provider('a', a, { timeout: 100 }), provider('b', b)))
      assert.equal(await pool.stream(ask()).text(), 'from b')
      await a.last.closed
    },
  )

  it('the timeout of an attempt ends with the first content: a slow stream is no timeout', bounded, async (t) => {
    const late = gate()
    const a = await Upstream.start(
      t,
      sse(async (stream) => {
        await stream.text('begun')
        await late.opened
        await stream.text(' and done')
        await stream.finish()
        await stream.done()
      }),
    )
    const stuck = await Upstream.start(t, hang())
    const pool = await openPool(t, inOrder(provider('a', a), provider('stuck', stuck)), { maxRetries: 0, timeout: 100 })
    let text = ''
    for await (const each of pool.stream(ask(), { providers: ['a'] })) {
      text += each.delta
      // a whole attempt's timeout passes here, measured by the pool itself
      if (text === 'begun') await rejection(pool.chat(ask(), { providers: ['stuck'] })).then(late.open)
    }
    assert.equal(text, 'begun and done')
  })

  it('when nobody streams the error is the last one, from every face of the stream', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 0 })], { maxRetries: 0 })
    const stream = pool.stream(ask())
    const { error, chunks } = await drain(stream)
    assert.ok(error instanceof ProviderError && !(error instanceof StreamInterruptedError), error?.stack)
    assert.deepEqual(chunks, [])
    assert.ok((await rejection(stream.response())) instanceof ProviderError)
    assert.ok((await rejection(stream.text())) instanceof ProviderError)
    assert.ok(
      (await rejection((async () => drainOrThrow(await pool.chat({ messages: ask(), stream: true })))())) instanceof
        ProviderError,
    )
  })

  it('a stream nobody reads rejects nobody', bounded, async (t) => {
    const a = await Upstream.start(t, status(400))
    const pool = await openPool(t, [provider('a', a)])
    pool.stream(ask())
    const stream = pool.stream({ messages: 'bad' })
    await pool.chat(ask()).catch(() => {})
    assert.ok((await drain(stream)).error instanceof LLMPoolError)
  })

  it('a truncated stream counts on the breaker', bounded, async (t) => {
    const a = await Upstream.start(
      t,
      sse(async (stream) => {
        await stream.text('x')
        stream.cut()
      }),
    )
    const pool = await openPool(t, [provider('a', a, { circuit_breaker_threshold: 2 })], { maxRetries: 0 })
    for (let call = 0; call < 2; call++) assert.ok((await drain(pool.stream(ask()))).error)
    assert.equal(pool.getProviderStats().a.health.circuitState, 'open')
  })

  it(
    'an upstream that answers a stream with one whole completion is either read or failed over, never half',
    bounded,
    async (t) => {
      const a = await Upstream.start(t, (exchange) => exchange.reply(200, completion('whole')))
      const b = await Upstream.start(t, sseOk('from b'))
      const pool = await openPool(t, inOrder(provider('a', a), provider('b', b)))
      const { text, error } = await drain(pool.stream(ask()))
      assert.equal(error, undefined)
      assert.ok(['whole', 'from b'].includes(text), text)
    },
  )
})

async function drainOrThrow(stream) {
  for await (const _ of stream);
}

describe('Provider streams: anthropic', () => {
  it('an overload inside a 200, before anything was said, fails over', bounded, async (t) => {
    const anthropic = await Upstream.start(t, replay(index.get('anthropic/stream-error-first.sse'), 7))
    const b = await Upstream.start(t, sseOk('from b'))
    const claude = provider('claude', anthropic, {
      type: 'anthropic',
      base_url: anthropic.origin,
      model: 'claude-sonnet-4-5',
    })
    const pool = await openPool(t, inOrder(claude, provider('b', b)))
    const stream = pool.stream(ask())
    assert.equal(await stream.text(), 'from b')
    const { attempts } = await stream.response()
    assert.deepEqual(
      attempts.map((line) => [line.provider, line.errorClass]),
      [
        ['claude', 'overloaded'],
        ['b', undefined],
      ],
    )
  })
})
