// The examples are run as a reader would run them, against upstreams that say what a provider would.

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { folder, ROOT, runNode } from './support/child.mjs'
import { inOrder, provider } from './support/pool.mjs'
import { anthropicMessage, completion, ok, sseOk, status, Upstream } from './support/upstream.mjs'
import { bounded } from './support/wait.mjs'

/** Runs an example with these providers in its config; resolves with what it printed. */
async function example(t, name, providers, ...args) {
  const cwd = folder(t)
  const config = join(cwd, 'config.json')
  writeFileSync(config, JSON.stringify({ providers }))
  const ended = await runNode(t, '', { file: join(ROOT, 'examples', name), args: [config, ...args], cwd })
  assert.equal(ended.code, 0, ended.stderr)
  return ended
}

const claude = (upstream) =>
  provider('claude', upstream, { type: 'anthropic', model: 'claude-sonnet-4-6', base_url: upstream.origin })

describe('Examples', () => {
  it(
    'tools.mjs calls what the model asks for, and goes on when the provider of the first round is down',
    bounded,
    async (t) => {
      const call = (id, city) => ({ type: 'tool_use', id, name: 'get_weather', input: { city } })
      const a = await Upstream.start(t, status(503))
      a.next((exchange) =>
        exchange.reply(
          200,
          anthropicMessage('', { content: [call('t1', 'Oslo'), call('t2', 'Rome')], stop_reason: 'tool_use' }),
        ),
      )
      const b = await Upstream.start(t, ok('Rome, by 17 °C.'))
      const { stdout, stderr } = await example(t, 'tools.mjs', inOrder(claude(a), provider('openai', b)))
      assert.equal(stderr, '')
      assert.deepEqual(stdout.split('\n'), [
        'claude calls get_weather({"city":"Oslo"}) → {"city":"Oslo","celsius":-3}',
        'claude calls get_weather({"city":"Rome"}) → {"city":"Rome","celsius":14}',
        'openai: Rome, by 17 °C.',
        '',
      ])
      const { messages } = b.last.json
      assert.deepEqual(
        messages.map(({ role, tool_call_id }) => tool_call_id ?? role),
        ['user', 'assistant', 't1', 't2'],
      )
    },
  )

  it('tools.mjs tells the model what it did wrong', bounded, async (t) => {
    const calls = [{ id: 'x', type: 'function', function: { name: 'get_weather', arguments: '{"city"' } }]
    const a = await Upstream.start(t, ok('I cannot say.'))
    a.next((exchange) =>
      exchange.reply(200, completion(null, { finish: 'tool_calls', message: { tool_calls: calls } })),
    )
    const { stdout } = await example(t, 'tools.mjs', [provider('a', a)])
    assert.match(stdout, /SyntaxError/)
    assert.match(a.last.json.messages[2].content, /SyntaxError/)
  })

  it('vision.mjs shows a file, and an address', bounded, async (t) => {
    const pixel = Buffer.from(
      'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
      'base64',
    )
    const picture = join(folder(t), 'a.PNG')
    writeFileSync(picture, pixel)
    const a = await Upstream.start(t, (exchange) => exchange.reply(200, anthropicMessage('A pixel.')))
    const { stdout, stderr } = await example(t, 'vision.mjs', [claude(a)], picture)
    assert.equal(stdout, 'claude: A pixel.\n')
    assert.match(stderr, /image_url\.detail/, 'what the provider has no word for is named')
    const source = { type: 'base64', media_type: 'image/png', data: pixel.toString('base64') }
    assert.deepEqual(a.last.json.messages[0].content[1], { type: 'image', source })
    await example(t, 'vision.mjs', [claude(a)], 'https://example.com/a.jpg')
    assert.deepEqual(a.last.json.messages[0].content[1].source, { type: 'url', url: 'https://example.com/a.jpg' })
  })

  it('gateway.mjs, openai-sdk.mjs and anthropic-sdk.mjs answer over the pool', bounded, async (t) => {
    const a = await Upstream.start(t, ok('Oslo.'))
    const served = await example(t, 'gateway.mjs', [provider('a', a)])
    assert.equal(served.stdout, 'Oslo.\nanswered by a\n')
    a.next(sseOk('Os', 'lo.'))
    assert.equal((await example(t, 'openai-sdk.mjs', [provider('a', a)])).stdout, 'Oslo.\n')
    assert.equal((await example(t, 'anthropic-sdk.mjs', [provider('a', a)])).stdout, 'Oslo.\n')
  })

  it('infer.mjs has one question answered in five ways, without a network', bounded, async (t) => {
    const { code, stdout, stderr } = await runNode(t, '', { file: join(ROOT, 'examples', 'infer.mjs'), cwd: folder(t) })
    assert.equal(code, 0, stderr)
    assert.deepEqual(stdout.split('\n'), [
      'FASTEST   Paris      by middle (nobody was compared)',
      'VOTING    **Paris.** by large  (small → 1, middle → 2, large → 2)',
      'WEIGHTED  **Paris.** by large  (small → 1, middle → 2, large → 2)',
      'CONSENSUS **Paris.** by large  (small → 1, middle → 2, large → 2)',
      'JUDGE     **Paris.** by large  (small → 1, middle → 2, large → 2)',
      '5 answers, 1 hedged; {"large":4,"middle":1}',
      '',
    ])
  })
})
