// The seed README's own code, run as its reader would: nothing in it is changed but base URLs.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { LLMPool, ProviderError, RateLimitError, ConfigurationError } from '../index.mjs'
import { Upstream, ok, status } from './support/upstream.mjs'
import { ask, inOrder, openPool, provider } from './support/pool.mjs'
import { ROOT, folder, runNode } from './support/child.mjs'
import { bounded } from './support/wait.mjs'

const seed = (name) => readFileSync(new URL(`fixtures/seed/${name}`, import.meta.url), 'utf8')

/** A project folder that has the package installed and the seed's config.json, pointed at these upstreams. */
function project(t, groq, openai) {
  const cwd = folder(t)
  mkdirSync(join(cwd, 'node_modules'))
  symlinkSync(ROOT, join(cwd, 'node_modules', 'llmpool'), 'dir')
  const config = seed('config.json')
    .replace('https://api.groq.com', groq.origin)
    .replace('https://api.openai.com', openai.origin)
  writeFileSync(join(cwd, 'config.json'), config)
  return cwd
}

const forms = {
  require: ['quick-start.js', seed('quick-start.js')],
  import: [
    'quick-start.mjs',
    seed('quick-start.js').replace(/^const (\{.*?\}) = require\('llmpool'\);/m, "import $1 from 'llmpool';"),
  ],
}

describe('Integration: the seed quick start', () => {
  for (const [form, [name, code]] of Object.entries(forms)) {
    it(`answers from the preferred provider and ends by itself, by ${form}`, bounded, async (t) => {
      const groq = await Upstream.start(t, ok('Paris.', { model: 'mixtral-8x7b-32768' }))
      const openai = await Upstream.start(t)
      const cwd = project(t, groq, openai)
      writeFileSync(join(cwd, name), code)

      const { code: exit, signal, stdout, stderr } = await runNode(t, '', { file: name, cwd })

      assert.equal(stderr, '')
      assert.equal(stdout, 'Response: Paris.\nProvider: groq-primary\nTokens used: 15\n')
      assert.deepEqual({ exit, signal }, { exit: 0, signal: null })
      assert.equal(groq.count, 1)
      assert.equal(openai.count, 0)
      const { method, path, headers, json } = groq.last
      assert.equal(`${method} ${path}`, 'POST /openai/v1/chat/completions')
      assert.equal(headers.authorization, 'Bearer your-groq-api-key')
      assert.equal(json.model, 'mixtral-8x7b-32768')
      assert.equal(json.temperature, 0.7)
      assert.equal(json.max_completion_tokens ?? json.max_tokens, 1000)
      assert.deepEqual(json.messages, [
        { role: 'system', content: 'You are a helpful assistant.' },
        { role: 'user', content: 'What is the capital of France?' },
      ])
    })

    it(`answers from the fallback when the preferred provider is gone, by ${form}`, bounded, async (t) => {
      const groq = await Upstream.start(t)
      const openai = await Upstream.start(t, ok('Paris, says the other.'))
      const cwd = project(t, groq, openai)
      writeFileSync(join(cwd, name), code)
      await groq.stop()

      const { code: exit, stdout, stderr } = await runNode(t, '', { file: name, cwd })

      assert.equal(stderr, '')
      assert.equal(stdout, 'Response: Paris, says the other.\nProvider: openai-fallback\nTokens used: 15\n')
      assert.equal(exit, 0)
      assert.equal(openai.count, 1)
      assert.equal(openai.last.json.model, 'gpt-4')
    })
  }
})

describe('ConfigManager: the seed config', () => {
  it('takes the commented provider of the README as it stands', bounded, async (t) => {
    const upstream = await Upstream.start(t)
    const path = join(folder(t), 'config.json')
    const commented = seed('provider.jsonc').replace('https://api.openai.com', upstream.origin)
    writeFileSync(path, `{ "providers": [\n${commented}] }\n`)
    const pool = new LLMPool({ configPath: path })
    t.after(() => pool.shutdown())

    const response = await pool.chat({ messages: ask() })

    assert.equal(response.provider, 'provider-name')
    const { json, headers } = upstream.last
    assert.equal(headers.authorization, 'Bearer your-api-key')
    assert.equal(json.model, 'gpt-4')
    assert.equal(json.max_tokens ?? json.max_completion_tokens, 4096)
    assert.equal(json.temperature, 0.7)
    // 10 prompt tokens at 0.03 and 5 completion tokens at 0.06 per thousand
    assert.equal(response.cost, 0.0006)
    const { health } = pool.getProviderStats()['provider-name']
    assert.equal(health.requestsRemaining, 99)
    assert.equal(health.dailyRequestsRemaining, 4999)
  })

  it('takes the options of the constructor', bounded, async (t) => {
    const upstream = await Upstream.start(t)
    const path = join(folder(t), 'config.json')
    writeFileSync(path, JSON.stringify({ providers: [provider('only', upstream)] }))
    const pool = new LLMPool({
      configPath: path,
      timeout: 30000,
      maxRetries: 3,
      retryDelay: 1000,
      debug: true,
    })
    t.after(() => pool.shutdown())
    const said = []
    pool.on('debug', (message) => said.push(message))
    await pool.initialize()
    assert.equal((await pool.chat(ask())).content, 'pong')
    assert.ok(said.every((message) => typeof message === 'string'))
  })
})

describe('LLMPool: the seed examples', () => {
  it('event and health monitoring run as written', bounded, async (t) => {
    const bad = await Upstream.start(t, status(500))
    const good = await Upstream.start(t)
    const lines = []
    const console = { log: (line) => lines.push(line) }
    const pool = await openPool(t, inOrder(provider('bad', bad), provider('good', good)))
    new Function('pool', 'console', seed('event-monitoring.js'))(pool, console)
    await pool.chat({ messages: ask() })
    new Function('pool', 'console', seed('health-monitoring.js'))(pool, console)

    assert.match(lines[0], /^❌ bad failed: \S/)
    assert.equal(lines[1], '✅ good succeeded on attempt 2')
    assert.equal(lines[2], 'Available: 2/2')
    const text = lines.slice(3).join('\n')
    assert.match(text, /bad:\n {2}Success Rate: 0\.00%/)
    assert.match(text, /good:\n {2}Success Rate: 100\.00%\n {2}Avg Response Time: [\d.]+ms\n {2}Total Cost: \$0\.0001/)
  })

  it('providersUpdated tells the configured providers', bounded, async (t) => {
    const upstream = await Upstream.start(t)
    const pool = new LLMPool({ config: { providers: inOrder(provider('a', upstream), provider('b', upstream)) } })
    t.after(() => pool.shutdown())
    let told
    pool.on('providersUpdated', (providers) => (told = providers))
    await pool.initialize()
    assert.equal(told.length, 2)
  })

  const handled = {
    'a limited provider': [
      [status(429, undefined, { 'retry-after': '20' })],
      {},
      /^Rate limited by only, retry in (20|19(\.\d+)?)s$/,
    ],
    'a failing provider': [[status(500)], {}, /^Provider only failed: \S/],
    'a bad config': [[], { type: 'opnai' }, /^Configuration issue: [\s\S]*opnai/],
  }
  for (const [what, [behaviours, more, expected]] of Object.entries(handled)) {
    it(`error handling runs as written for ${what}`, bounded, async (t) => {
      const upstream = await Upstream.start(t)
      upstream.next(...behaviours)
      const pool = new LLMPool({ config: { providers: [provider('only', upstream, more)] }, maxRetries: 0 })
      t.after(() => pool.shutdown())
      const lines = []
      const require = () => ({ ProviderError, RateLimitError, ConfigurationError })
      const code = `return (async () => { ${seed('error-handling.js')} })()`
      await new Function('require', 'pool', 'messages', 'console', code)(require, pool, ask(), {
        log: (line) => lines.push(line),
      })
      assert.equal(lines.length, 1)
      assert.match(lines[0], expected)
    })
  }
})
