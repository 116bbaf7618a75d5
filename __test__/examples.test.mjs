// The examples are run as a reader would run them, against upstreams that say what a provider would.

import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { folder, ROOT, runNode, startNode, startProgram } from './support/child.mjs'
import { inOrder, provider } from './support/pool.mjs'
import { anthropicMessage, completion, ok, sseOk, status, Upstream } from './support/upstream.mjs'
import { bounded, until } from './support/wait.mjs'

/** Runs an example with these providers in its config; resolves with what it printed. */
async function example(t, name, providers, ...args) {
  const cwd = folder(t)
  const config = join(cwd, 'config.json')
  writeFileSync(config, JSON.stringify({ providers }))
  const ended = await runNode(t, '', { file: join(ROOT, 'examples', name), args: [config, ...args], cwd })
  assert.equal(ended.code, 0, ended.stderr)
  return ended
}

/** The same for one that needs packages which only the tests of clients have: in a project that has them. */
async function exampleWithPackages(t, name, providers) {
  const cwd = folder(t)
  const packages = join(ROOT, '__test__', 'clients', 'node_modules')
  mkdirSync(join(cwd, 'node_modules'))
  symlinkSync(ROOT, join(cwd, 'node_modules', 'llmpool'))
  for (const each of readdirSync(packages)) symlinkSync(join(packages, each), join(cwd, 'node_modules', each))
  copyFileSync(join(ROOT, 'examples', name), join(cwd, name))
  writeFileSync(join(cwd, 'config.json'), JSON.stringify({ providers }))
  const ended = await runNode(t, '', { file: join(cwd, name), cwd })
  assert.equal(ended.code, 0, ended.stderr)
  return ended
}

/** The demo of the gateway, served on a free port. */
async function servedDemo(t) {
  const child = startNode(t, '', { file: join(ROOT, 'examples', 'gateway-demo.mjs'), args: ['--http', '127.0.0.1:0'] })
  let said = ''
  child.stderr.on('data', (data) => {
    said += data
  })
  await until(() => said.includes('Try it'), 'it says where it is')
  const [, url] = /Anthropic's API: (\S+)/.exec(said)
  return { child, url }
}

const shown = (file) => readFileSync(join(ROOT, 'examples', file), 'utf8')

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

  it('ai-sdk.mjs and langchain.mjs answer over the pool', bounded, async (t) => {
    const a = await Upstream.start(t, sseOk('Os', 'lo.'))
    assert.equal((await exampleWithPackages(t, 'ai-sdk.mjs', [provider('a', a)])).stdout, 'Oslo.\n12 tokens\n')
    assert.equal((await exampleWithPackages(t, 'langchain.mjs', [provider('a', a)])).stdout, 'Oslo.\n')
  })

  it('gateway-demo.mjs serves without a key, curl.sh asks it everything, and SIGTERM ends it', bounded, async (t) => {
    const { child, url } = await servedDemo(t)
    const { code, stdout, stderr } = await startProgram(t, 'sh', [join(ROOT, 'examples', 'curl.sh'), url]).ended
    if (/curl: (command )?not found/.test(stderr)) return t.skip('there is no curl here')
    assert.equal(code, 0, stderr)
    const parts = stdout.split('\n== ').slice(1)
    assert.equal(parts.length, shown('curl.sh').match(/^say /gm).length)
    for (const part of parts.slice(1, 6)) assert.match(part, /simulated/)
    assert.match(parts[1], /x-llmpool-provider: steady\r\n[\s\S]*x-llmpool-attempts: 2\r\n/, 'shaky was asked first')
    assert.match(parts[2], /data: \[DONE\]/)
    child.kill('SIGTERM')
    assert.equal((await child.ended).code, 0)
  })

  it('the settings of coding agents lead to where the agents ask', bounded, async (t) => {
    const { url } = await servedDemo(t)
    // What an agent makes of its settings, on the port of this test.
    const here = (address) => address.replace('http://127.0.0.1:7071', url)
    const ask = async (address, key, body, headers = {}) => {
      const init = body && { method: 'POST', body: JSON.stringify(body) }
      const response = await fetch(here(address), { ...init, headers: { authorization: `Bearer ${key}`, ...headers } })
      assert.equal(response.status, 200, await response.clone().text())
      return response
    }
    const messages = [{ role: 'user', content: 'hi' }]

    const { env, model } = JSON.parse(shown('agents/claude-code.json'))
    const { ANTHROPIC_BASE_URL: base, ANTHROPIC_AUTH_TOKEN: token } = env
    assert.equal((await fetch(here(base), { method: 'HEAD' })).status, 200)
    const { data } = await (await ask(`${base}/v1/models?limit=1000`, token)).json()
    assert.ok(data.some(({ id }) => id === model))
    const session = { 'x-claude-code-session-id': 's1', 'anthropic-version': '2023-06-01', 'anthropic-beta': 'some' }
    const request = { model, max_tokens: 100, stream: true, messages, thinking: { type: 'adaptive' } }
    const answer = await ask(`${base}/v1/messages?beta=true`, token, request, session)
    assert.match(await answer.text(), /event: message_stop/)
    await ask(`${base}/v1/messages/count_tokens?beta=true`, token, { model, messages }, session)

    const setting = (file, pattern) => pattern.exec(shown(file))[1]
    const codex = setting('agents/codex.toml', /^base_url = "(.*)"$/m)
    const asked = setting('agents/codex.toml', /^model = "(.*)"$/m)
    const input = [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] }]
    const wanted = { model: asked, stream: true, store: false, include: ['reasoning.encrypted_content'], input }
    assert.match(await (await ask(`${codex}/responses`, 'my-key', wanted)).text(), /event: response.completed/)

    const aider = setting('agents/aider.yml', /^openai-api-base: (\S+)/m)
    // Its prefix says which API to speak; it is not sent.
    const name = setting('agents/aider.yml', /^model: openai\/(\S+)/m)
    await ask(`${aider}/chat/completions`, 'my-key', { model: name, messages })
  })

  it('background.mjs does the urgent jobs first of those that wait, without a network', bounded, async (t) => {
    const ended = await runNode(t, '', { file: join(ROOT, 'examples', 'background.mjs'), cwd: folder(t) })
    assert.equal(ended.code, 0, ended.stderr)
    assert.deepEqual(ended.stdout.split('\n'), [
      'low      done: chapter 1 (by sound)',
      'critical done: chapter 4 (by sound)',
      'normal   done: chapter 2 (by sound)',
      'normal   done: chapter 3 (by sound)',
      '4 completed, 0 failed, 0 waiting',
      '',
    ])
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

  it('analyze.mjs describes this very folder, without a network', bounded, async (t) => {
    const { code, stdout, stderr } = await runNode(t, '', {
      file: join(ROOT, 'examples', 'analyze.mjs'),
      cwd: folder(t),
    })
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^about \d+ requests\n(\d+)\/\1 \.\n\d+ files, 0 failed: Said by nobody\.\n$/)
  })
})
