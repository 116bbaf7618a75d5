// What the README shows is run: its configuration loads, its quick start answers, its snippets do what they say.

import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { folder, ROOT, runNode } from './support/child.mjs'
import { ok, sseOk, status, Upstream } from './support/upstream.mjs'
import { bounded } from './support/wait.mjs'

const README = readFileSync(join(ROOT, 'README.md'), 'utf8')

/** The code blocks of a language, with the line before each fence. */
function blocks(language) {
  const pattern = new RegExp(`(.*)\n\`\`\`${language}\n([\\s\\S]*?)\n\`\`\``, 'g')
  return [...README.matchAll(pattern)].map(([, before, code]) => ({ before, code }))
}

/** A project of a user: the package installed, the README's configuration beside it, base URLs aside. */
function project(t, ...upstreams) {
  const cwd = folder(t)
  mkdirSync(join(cwd, 'node_modules'))
  symlinkSync(ROOT, join(cwd, 'node_modules', 'llmpool'))
  const bases = upstreams.map((upstream) => upstream.base)
  const [{ code }] = blocks('jsonc')
  const config = code.replace(/"type": "\w+",/g, (type) => `${type} "base_url": "${bases.shift()}",`)
  assert.equal(bases.length, 0, 'each provider of the README got its upstream')
  writeFileSync(join(cwd, 'config.json'), config)
  return { cwd, env: { GROQ_API_KEY: 'gsk-test', OPENAI_API_KEY: 'sk-test' } }
}

async function runs(t, code, { cwd, env }) {
  const file = join(cwd, 'program.cjs')
  writeFileSync(file, code)
  const ended = await runNode(t, '', { file, cwd, env })
  assert.equal(ended.code, 0, ended.stderr)
  return ended
}

describe('README', () => {
  it('the quick start answers, and fails over when the first provider is down', bounded, async (t) => {
    const groq = await Upstream.start(t, status(503))
    const openai = await Upstream.start(t, ok('Paris.'))
    const { code } = blocks('js').find((block) => block.code.includes('async function main'))
    const { stdout } = await runs(t, code, project(t, groq, openai))
    assert.match(stdout, /^Paris\.\nopenai-fallback \d+ [\d.]+\n/)
    assert.match(stdout, /provider: 'groq-primary'[\s\S]*outcome: 'failure'[\s\S]*outcome: 'success'/)
  })

  const shown = blocks('js').filter((block) => block.before === '<!-- runs -->')
  it('has snippets that say they run', () => assert.ok(shown.length >= 3))
  for (const { code } of shown) {
    it(`runs as shown: ${code.split('\n')[0]}`, bounded, async (t) => {
      const streams = (exchange) => (exchange.json.stream ? sseOk('Once', ' upon')(exchange) : ok()(exchange))
      const [groq, openai] = [await Upstream.start(t, streams), await Upstream.start(t, streams)]
      const program = `
        const { LLMPool, createTextMessage } = require('llmpool')
        const pool = new LLMPool({ configPath: './config.json' })
        async function main() {
          ${code}
          await pool.chat([createTextMessage('user', 'Hello')])
          await pool.shutdown()
        }
        main()`
      await runs(t, program, project(t, groq, openai))
      assert.ok(groq.count > 0)
    })
  }

  it('names only files that exist', () => {
    for (const [, path] of README.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) readFileSync(join(ROOT, path))
  })
})
