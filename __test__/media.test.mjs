// Images and files that a message names by their address, for providers that fetch nothing: what the pool fetches for
// them, and above all what it does not.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createImageMessage, InvalidRequestError } from '../index.mjs'
import { inOrder, openPool, provider, rejection } from './support/pool.mjs'
import { CA_FILE, ok, Upstream } from './support/upstream.mjs'
import { bounded } from './support/wait.mjs'

process.env.NODE_EXTRA_CA_CERTS = CA_FILE

const PIXEL = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)
const image = (exchange) => exchange.reply(200, PIXEL, { 'content-type': 'image/png' })
const geminiOk = (exchange) =>
  exchange.reply(200, { candidates: [{ content: { parts: [{ text: 'a pixel' }] }, finishReason: 'STOP' }] })

/** A pool with a Gemini in front, and the host of an image. */
async function setUp(t, media, { behaviour = image, more = [] } = {}) {
  const images = await Upstream.start(t, behaviour, { tls: true })
  const gemini = await Upstream.start(t, geminiOk)
  const first = provider('gemini', gemini, { type: 'gemini', model: 'gemini-2.5-flash', base_url: gemini.origin })
  const pool = await openPool(t, inOrder(first, ...more), { config: { media }, maxRetries: 0 })
  const see = (url = `${images.origin}/a.png?token=hunter2`, options) =>
    pool.chat([createImageMessage('user', 'What is this?', url)], options)
  return { images, gemini, pool, see }
}

const allowed = { fetch: true, allow_hosts: ['localhost'] }

describe('Provider media: fetched for a provider that fetches nothing', () => {
  it('an image is put into the request', bounded, async (t) => {
    const { images, gemini, see } = await setUp(t, allowed)
    const response = await see()
    assert.equal(response.content, 'a pixel')
    assert.deepEqual(gemini.last.json.contents[0].parts[1], {
      inlineData: { mimeType: 'image/png', data: PIXEL.toString('base64') },
    })
    assert.deepEqual(response.warnings, [])
    const { method, path, headers } = images.last
    assert.deepEqual(
      [method, path, headers.cookie, headers.authorization],
      ['GET', '/a.png?token=hunter2', undefined, undefined],
    )
  })

  it('a file too, and what does not say what it is is told by its first bytes', bounded, async (t) => {
    const pdf = Buffer.from('%PDF-1.7 …')
    const { images, gemini, pool } = await setUp(t, allowed, {
      behaviour: (exchange) => exchange.reply(200, pdf, { 'content-type': 'application/octet-stream' }),
    })
    const file = { type: 'file', file: { filename: 'a.pdf', file_data: `${images.origin}/a.pdf` } }
    await pool.chat([{ role: 'user', content: [{ type: 'text', text: 'Sum it up' }, file] }])
    assert.deepEqual(gemini.last.json.contents[0].parts[1], {
      inlineData: { mimeType: 'application/pdf', data: pdf.toString('base64') },
    })
  })

  it('once for a call, however many providers need it', bounded, async (t) => {
    const other = await Upstream.start(t, geminiOk)
    const second = provider('second', other, { type: 'gemini', model: 'gemini-2.5-flash', base_url: other.origin })
    const { images, gemini, see } = await setUp(t, allowed, { more: [second] })
    gemini.always((exchange) => exchange.reply(503, 'down'))
    const response = await see()
    assert.equal(response.provider, 'second')
    assert.deepEqual(other.last.json, gemini.last.json)
    assert.equal(images.count, 1)
  })

  it('a redirect is followed and checked like the first address', bounded, async (t) => {
    const { images, see } = await setUp(t, allowed)
    images.next((exchange) => exchange.reply(302, '', { location: '/b.png' }))
    assert.equal((await see()).content, 'a pixel')
    assert.equal(images.last.path, '/b.png')
    for (const to of [
      `https://127.0.0.1:${images.port}/c.png`,
      'https://169.254.169.254/latest',
      'https://[::1]/',
      'http://localhost/',
    ]) {
      const before = images.count
      images.next((exchange) => exchange.reply(302, '', { location: to }))
      assert.match((await rejection(see())).message, /public internet|only https/)
      assert.equal(images.count, before + 1, to)
    }
  })
})

describe('Provider media: not fetched', () => {
  it('unless the configuration allows it: refused before anything is sent', bounded, async (t) => {
    const { images, gemini, see } = await setUp(t, undefined)
    const error = await rejection(see())
    assert.ok(error instanceof InvalidRequestError)
    assert.equal(error.field, 'messages[0].content[1]')
    assert.match(error.message, /media\.fetch/)
    assert.deepEqual([images.count, gemini.count], [0, 0])
  })

  it('from this machine or its network, unless the host is exempt', bounded, async (t) => {
    const { images, gemini, see } = await setUp(t, { fetch: true })
    for (const host of ['localhost', '127.0.0.1', '[::1]', '2130706433', '0x7f.1', '169.254.169.254', '10.0.0.1']) {
      const error = await rejection(see(`https://${host}:${images.port}/a.png?token=hunter2`))
      assert.match(error.message, /not on the public internet/, host)
      assert.doesNotMatch(JSON.stringify([error, error.stack]), /hunter2/)
    }
    assert.deepEqual([images.count, images.connections.length, gemini.count], [0, 0, 0])
  })

  it('for a provider that fetches by itself: it gets the address', bounded, async (t) => {
    const openai = await Upstream.start(t, ok('seen'))
    const { images, see } = await setUp(t, { fetch: true }, { more: [provider('openai', openai)] })
    const url = `${images.origin}/a.png?token=hunter2`
    assert.equal((await see(url)).content, 'seen')
    assert.equal(openai.last.json.messages[0].content[1].image_url.url, url)
    assert.equal(images.count, 0)
  })

  for (const [what, behaviour, said] of [
    ['an error', (exchange) => exchange.reply(404, 'no such image'), /HTTP 404/],
    [
      'a page',
      (exchange) => exchange.reply(200, '<html>', { 'content-type': 'text/html; charset=utf-8' }),
      /is text\/html/,
    ],
    [
      'bytes of no known kind',
      (exchange) => exchange.reply(200, 'x', { 'content-type': 'application/octet-stream' }),
      /does not say what it is/,
    ],
    [
      'more than media.max_bytes',
      (exchange) => exchange.reply(200, Buffer.alloc(2000), { 'content-type': 'image/png' }),
      /media\.max_bytes of 1000/,
    ],
    [
      'more than media.max_bytes without saying so',
      async (exchange) => {
        exchange.head(200, { 'content-type': 'image/png' })
        while (await exchange.write(Buffer.alloc(500)));
      },
      /media\.max_bytes of 1000/,
    ],
    ['what never comes', () => {}, /within 200 ms/],
    ['a broken reply', (exchange) => exchange.cut(), /could not be fetched/],
    ['redirects without end', (exchange) => exchange.reply(302, '', { location: '/' }), /redirects more than 3 times/],
    ['a redirect to nowhere', (exchange) => exchange.reply(302, ''), /redirects to nowhere/],
    [
      'a packed reply',
      (exchange) => exchange.reply(200, PIXEL, { 'content-type': 'image/png', 'content-encoding': 'gzip' }),
      /not asked for/,
    ],
  ]) {
    it(`${what}: refused by name, and nothing is sent`, bounded, async (t) => {
      const media = { ...allowed, max_bytes: 1000, timeout_ms: 200 }
      const { gemini, pool, see } = await setUp(t, media, { behaviour })
      const error = await rejection(see())
      assert.ok(error instanceof InvalidRequestError, String(error))
      assert.equal(error.field, 'messages[0].content[1]')
      assert.match(error.message, said)
      assert.doesNotMatch(error.message, /hunter2/)
      assert.equal(gemini.count, 0)
      assert.equal(pool.getStats().activeConnections, 0)
    })
  }

  it('what is over qos.max_prompt_bytes', bounded, async (t) => {
    const images = await Upstream.start(
      t,
      (exchange) => exchange.reply(200, Buffer.alloc(3000), { 'content-type': 'image/png' }),
      { tls: true },
    )
    const gemini = await Upstream.start(t, geminiOk)
    const first = provider('gemini', gemini, { type: 'gemini', model: 'gemini-2.5-flash', base_url: gemini.origin })
    const pool = await openPool(t, [first], { config: { media: allowed, qos: { max_prompt_bytes: 2000 } } })
    const error = await rejection(pool.chat([createImageMessage('user', 'x', `${images.origin}/a`)]))
    assert.match(error.message, /qos\.max_prompt_bytes of 2000/)
    assert.equal(gemini.count, 0)
  })
})
