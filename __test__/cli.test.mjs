// The command line: data on stdout, words on stderr, and an exit code that says how it went.

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { folder, ROOT, runNode } from './support/child.mjs'
import { provider } from './support/pool.mjs'
import { ok, status, Upstream } from './support/upstream.mjs'
import { bounded, roomy } from './support/wait.mjs'

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

  it('demo: forty calls, none lost, and it says that its providers are simulated', roomy, async (t) => {
    const ended = await cli(t, ['demo'], { env: { NO_COLOR: '1' } })
    assert.equal(ended.code, 0, ended.stderr)
    assert.match(ended.stdout, /simulated/i)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that there is none is the point
    assert.doesNotMatch(ended.stdout, /\x1b\[/)
    for (const word of ['429', 'OPEN', 'CLOSED', '40 answered', 'cost']) assert.match(ended.stdout, new RegExp(word))
  })
})
