// The command line: data on stdout, words on stderr, and an exit code that says how it went.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { folder, ROOT, runNode, startNode } from './support/child.mjs'
import { provider } from './support/pool.mjs'
import { after, ok, status, Upstream } from './support/upstream.mjs'
import { bounded, deferred, roomy, until } from './support/wait.mjs'

const BIN = join(ROOT, 'bin', 'llmpool.js')

/** Runs `llmpool …argv`. */
const cli = (t, argv, options) => runNode(t, '', { file: BIN, args: argv, ...options })

function configOf(t, providers) {
  const file = join(folder(t), 'config.json')
  writeFileSync(file, JSON.stringify({ providers, routing: { max_retries: 0 } }))
  return file
}

describe('LLMPool command line', () => {
  it('chat: the answer on stdout, the footer on stderr', bounded, async (t) => {
    const upstream = await Upstream.start(t, ok('Oslo.'))
    const file = configOf(t, [provider('only', upstream, { input_token_price: 0.001, output_token_price: 0.002 })])
    const ended = await cli(t, ['chat', 'Where is it cold?', '--config', file])
    assert.deepEqual([ended.code, ended.stdout], [0, 'Oslo.\n'])
    assert.match(ended.stderr, /only/)
    assert.match(ended.stderr, /ms/)
    assert.equal(upstream.last.json.messages.at(-1).content, 'Where is it cold?')
  })

  it('chat --json: the whole response as data', bounded, async (t) => {
    const upstream = await Upstream.start(t, ok('Oslo.'))
    const ended = await cli(t, ['chat', 'Where?', '--json', '--config', configOf(t, [provider('only', upstream)])])
    const response = JSON.parse(ended.stdout)
    assert.deepEqual([response.content, response.provider, response.attempts.length], ['Oslo.', 'only', 1])
  })

  it('says by its exit code how it went', bounded, async (t) => {
    const down = await Upstream.start(t, status(500))
    const bad = join(folder(t), 'bad.json')
    writeFileSync(bad, '{ "providers": [{ "name": "a" }] }')
    const cases = [
      [['chat', 'x', '--config', configOf(t, [provider('a', down)])], 69],
      [['chat', 'x', '--config', bad], 78],
      [['chat', 'x', '--config', '/no/such/file.json'], 78],
      [['chat', 'x', '--config', ''], 78],
      [['chat', 'x'], 2],
      [['chat', 'x', '--no-such-option'], 2],
      [['no-such-command'], 2],
      [['--help'], 0],
      [['--version'], 0],
    ]
    for (const [argv, code] of cases) {
      const ended = await cli(t, argv)
      assert.equal(ended.code, code, `${argv.join(' ')}: ${ended.stderr}`)
      if (code !== 0) assert.equal(ended.stdout, '', argv.join(' '))
    }
  })

  it('help: of everything, or of one command', bounded, async (t) => {
    assert.match((await cli(t, ['help'])).stdout, /^Usage: llmpool <command>/)
    for (const command of ['init', 'check', 'chat', 'demo']) {
      const [asked, own] = await Promise.all([cli(t, ['help', command]), cli(t, [command, '--help'])])
      assert.deepEqual([asked.code, asked.stdout], [0, own.stdout])
    }
    for (const argv of [
      ['help', 'no-such-command'],
      ['help', 'chat', 'init'],
    ])
      assert.equal((await cli(t, argv)).code, 2, argv.join(' '))
  })

  it('init: a configuration for the keys that are there, and check finds it good', bounded, async (t) => {
    const dir = folder(t)
    const env = { OPENAI_API_KEY: 'sk-secret-1', GOOGLE_API_KEY: 'sk-secret-2', MISTRAL_API_KEY: ' ' }
    for (const name of ['llmpool.jsonc', 'a.json', 'a.yaml', 'a.yml', 'a.toml']) {
      const argv = name === 'llmpool.jsonc' ? ['init'] : ['init', name]
      const ended = await cli(t, argv, { cwd: dir, env })
      assert.deepEqual([ended.code, ended.stdout], [0, ''], ended.stderr)
      assert.match(ended.stderr, /openai \(OPENAI_API_KEY\), gemini \(GOOGLE_API_KEY\)/)
      const text = readFileSync(join(dir, name), 'utf8')
      assert.match(text, /config\.schema\.json/)
      assert.match(text, /asked first/)
      assert.doesNotMatch(text + ended.stderr, /secret/)
      const checked = await cli(t, ['check', name, '--json'], { cwd: dir, env })
      assert.equal(checked.code, 0, checked.stdout)
      const { ok, providers, warnings, problems } = JSON.parse(checked.stdout)
      assert.deepEqual([ok, warnings, problems], [true, [], []])
      assert.deepEqual(
        providers.map((provider) => provider.type),
        ['openai', 'gemini'],
      )
    }
  })

  it('init: without a key it is a model of this machine; nothing is written over', bounded, async (t) => {
    const dir = folder(t)
    for (const name of ['a.json', 'a.yaml', 'a.toml']) {
      assert.equal((await cli(t, ['init', name], { cwd: dir })).code, 0)
      const checked = await cli(t, ['check', name], { cwd: dir })
      assert.deepEqual([checked.code, checked.stderr], [0, ''])
      assert.match(checked.stdout, /good; local \(ollama, llama3\.2\)/)
    }
    writeFileSync(join(dir, 'mine.json'), 'mine')
    const refused = await cli(t, ['init', 'mine.json'], { cwd: dir })
    assert.deepEqual([refused.code, readFileSync(join(dir, 'mine.json'), 'utf8')], [1, 'mine'])
    assert.match(refused.stderr, /--force/)
    assert.equal((await cli(t, ['init', 'mine.json', '--force'], { cwd: dir })).code, 0)
    assert.equal((await cli(t, ['init', 'no/such/folder.json'], { cwd: dir })).code, 1)
    assert.match((await cli(t, ['init', '-'], { cwd: dir })).stdout, /"providers"/)
  })

  it('check: everything that is wrong, for people and for programs', bounded, async (t) => {
    const file = join(folder(t), 'bad.yaml')
    writeFileSync(file, `providers:\n  - name: a\n    type: opnai\n    modle: m\n    api_key: \${NOT_SET}\n`)
    const words = await cli(t, ['check', file])
    assert.deepEqual([words.code, words.stdout], [78, ''])
    assert.match(
      words.stderr,
      /providers\[0\]\.type: unknown type "opnai".*did you mean "openai"\? \(line 3, column 5\)/,
    )
    assert.match(words.stderr, /4 problems/)
    const data = await cli(t, ['check', file, '--json'])
    assert.deepEqual([data.code, data.stderr], [78, ''])
    const { ok, problems } = JSON.parse(data.stdout)
    assert.deepEqual([ok, problems.length], [false, 4])
    for (const argv of [
      ['check'],
      ['check', ''],
      ['check', 'a', 'b'],
      ['init', 'a', 'b'],
      ['init', ''],
      ['init', '--no-such'],
    ])
      assert.equal((await cli(t, argv)).code, 2, argv.join(' '))
    assert.equal((await cli(t, ['check', '/no/such/file'])).code, 78)
    const certificate = configOf(t, [
      { name: 'a', type: 'openai', api_key: 'k', model: 'm', ca_file: '/no/such/ca.pem' },
    ])
    assert.match((await cli(t, ['check', certificate])).stderr, /ca_file/)
    const dear = configOf(t, [
      { name: 'a', type: 'openai', api_key: 'k', model: 'm', input_token_price: 3, output_token_price: 15 },
    ])
    const warned = await cli(t, ['check', dear])
    assert.equal(warned.code, 0)
    assert.match(warned.stderr, /warning: .*per million/)
  })

  it('demo: forty calls, none lost, and it says that its providers are simulated', roomy, async (t) => {
    const ended = await cli(t, ['demo'], { env: { NO_COLOR: '1' } })
    assert.equal(ended.code, 0, ended.stderr)
    assert.match(ended.stdout, /simulated/i)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that there is none is the point
    assert.doesNotMatch(ended.stdout, /\x1b\[/)
    for (const word of ['429', 'OPEN', 'CLOSED', '40 answered', 'cost']) assert.match(ended.stdout, new RegExp(word))
  })

  it('demo jobs: forty jobs, none lost, the urgent ones first', roomy, async (t) => {
    const ended = await cli(t, ['demo', 'jobs'], { env: { NO_COLOR: '1' } })
    assert.equal(ended.code, 0, ended.stderr)
    assert.match(ended.stdout, /simulated/i)
    assert.match(ended.stdout, /40 completed, 0 failed, 0 waiting/)
    assert.match(ended.stdout, /not by flaky/)
    const place = (priority) => Number(new RegExp(`^${priority} .* ([\\d.]+)$`, 'm').exec(ended.stdout)[1])
    const places = ['critical', 'high', 'normal', 'low'].map(place)
    assert.deepEqual(
      places,
      places.toSorted((one, other) => one - other),
    )
    assert.equal((await cli(t, ['demo', 'no-such-story'])).code, 2)
  })

  it(
    'serve: prints where it is and a curl that works, logs lines of JSON, and drains on SIGTERM',
    bounded,
    async (t) => {
      const upstream = await Upstream.start(t, ok('Oslo.'))
      const file = configOf(t, [provider('only', upstream)])
      const child = startNode(t, '', { file: BIN, args: ['serve', '--config', file, '--http', '127.0.0.1:0'] })
      let said = ''
      child.stderr.on('data', (data) => {
        said += data
      })
      await until(() => said.includes('Try it'))
      const [, command] = /(curl .*)/.exec(said)
      const [, url] = / (http\S+)/.exec(command)
      const [, body] = /-d '(.*)'/.exec(command)
      const headers = { 'content-type': 'application/json', authorization: 'Bearer nobody-asked' }
      const response = await fetch(url, { method: 'POST', headers, body })
      assert.equal((await response.json()).choices[0].message.content, 'Oslo.')
      writeFileSync(file, JSON.stringify({ providers: [provider('renamed', upstream)] }))
      const models = new URL('/v1/models/gpt-4o', url)
      await until(async () => (await (await fetch(models)).json()).owned_by === 'renamed', 'the change is taken over')
      child.kill('SIGTERM')
      const { code, stdout } = await child.ended
      assert.equal(code, 0)
      const lines = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      const asked = lines.find(({ event, path }) => event === 'request' && path === '/v1/chat/completions')
      assert.deepEqual([asked.status, asked.provider, asked.attempts], [200, 'only', 1])
      assert.ok(lines.some(({ event }) => event === 'configChanged'))
      // What is told of requests and of the configuration comes when it comes, also behind this line.
      assert.equal(lines.filter(({ event }) => event === 'closing').length, 1)
      assert.doesNotMatch(stdout, /Hello|nobody-asked|key-of/)
    },
  )

  /** A server with one call under way, and how to let that be answered. */
  async function serving(t) {
    const gate = deferred()
    const upstream = await Upstream.start(t, after(gate.promise, ok('Oslo.')))
    const file = configOf(t, [provider('only', upstream)])
    const child = startNode(t, '', { file: BIN, args: ['serve', '--config', file, '--http', '127.0.0.1:0'] })
    const said = { stderr: '', stdout: '' }
    for (const name of ['stderr', 'stdout']) {
      child[name].on('data', (data) => {
        said[name] += data
      })
    }
    await until(() => said.stderr.includes('Try it'))
    const [, url] = /health, metrics: (http\S+)\/health/.exec(said.stderr)
    const body = JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }] })
    const asked = fetch(`${url}/v1/chat/completions`, { method: 'POST', body })
    await until(() => upstream.count === 1)
    return { child, said, url, asked, answer: gate.resolve }
  }

  it('serve: SIGHUP does not end a server that waits for its last calls', bounded, async (t) => {
    const { child, said, asked, answer } = await serving(t)
    child.kill('SIGTERM')
    await until(() => said.stdout.includes('"closing"'))
    child.kill('SIGHUP')
    answer()
    assert.equal((await asked).status, 200)
    const { code, signal } = await child.ended
    assert.deepEqual([code, signal], [0, null])
  })

  it('serve: goes on when nobody reads its log any more', bounded, async (t) => {
    const { child, said, url, asked, answer } = await serving(t)
    child.ended.catch(() => {}) // its stdout is not read to its end
    child.stdout.destroy()
    for (let turn = 0; turn < 3; turn++) assert.equal((await fetch(`${url}/live`)).status, 200)
    await until(() => said.stderr.includes('without its log'))
    answer()
    assert.equal((await asked).status, 200)
    child.kill('SIGTERM')
    const [code, signal] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode, null]
    assert.deepEqual([code, signal, said.stderr.match(/without its log/g).length], [0, null, 1])
  })

  it('serve: refuses an address that others can reach, and what it cannot read', bounded, async (t) => {
    const upstream = await Upstream.start(t)
    const file = configOf(t, [provider('only', upstream)])
    for (const [args, code, words] of [
      [['serve', '--config', file, '--http', '0.0.0.0:0'], 78, /everybody could call/],
      [['serve', '--config', '/no/such/file.json'], 78, /does not exist/],
      [['serve'], 2, /--config/],
    ]) {
      const ended = await cli(t, args)
      assert.equal(ended.code, code, ended.stderr)
      assert.match(ended.stderr, words)
    }
  })
})
