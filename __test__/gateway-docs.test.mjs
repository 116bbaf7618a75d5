// What `docs/gateway.md` shows is run, and its tables are held against the OpenAPI document, which is held against the
// gateway. Its Python runs in `gateway-clients.test.mjs`, where there is one.

import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { folder, ROOT, runNode } from './support/child.mjs'
import { DOCUMENT, OPERATIONS } from './support/openapi.mjs'
import { provider } from './support/pool.mjs'
import { ok, Upstream } from './support/upstream.mjs'
import { bounded } from './support/wait.mjs'

const PAGE = readFileSync(join(ROOT, 'docs', 'gateway.md'), 'utf8')

const blocks = (language) =>
  [...PAGE.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\n\`\`\``, 'g'))].map(([, code]) => code)

/** The first column of the table below a heading. */
function firstColumn(heading) {
  const [, part] = PAGE.split(`\n## ${heading}\n`)
  const rows = part.split('\n## ')[0].matchAll(/^\| (`.*?`|\d.*?) \|/gm)
  return [...rows].flatMap(([, cell]) => cell.split(/,\s*/)).map((each) => each.replaceAll('`', ''))
}

/** A project that has the package and every client. */
function project(t) {
  const cwd = folder(t)
  mkdirSync(join(cwd, 'node_modules'))
  const link = (from, name) => symlinkSync(join(from, name), join(cwd, 'node_modules', name))
  symlinkSync(ROOT, join(cwd, 'node_modules', 'llmpool'))
  const packages = join(ROOT, '__test__', 'clients', 'node_modules')
  for (const name of readdirSync(packages)) link(packages, name)
  link(join(ROOT, 'node_modules'), '@anthropic-ai')
  return cwd
}

const programs = blocks('js')
test('the page has programs', () => assert.ok(programs.length >= 4))
for (const code of programs) {
  test(`runs as shown: ${code.split('\n')[0]}`, bounded, async (t) => {
    const upstream = await Upstream.start(t, ok('Oslo.'))
    const cwd = project(t)
    const config = { providers: [provider('main', upstream)] }
    const names = ['answer', 'message', 'text', 'content'].filter((name) =>
      new RegExp(`const {? ?${name}\\b`).test(code),
    )
    const program = `
      import { LLMPool } from 'llmpool'
      const pool = await LLMPool.create({ config: ${JSON.stringify(config)} })
      ${code.replace('127.0.0.1:7071', '127.0.0.1:0')}
      console.log(JSON.stringify([${names}]))
      await pool.shutdown()`
    const file = join(cwd, 'program.mjs')
    writeFileSync(file, program)
    const ended = await runNode(t, '', { file, cwd, env: { GATEWAY_KEY: 'a-key' } })
    assert.equal(ended.code, 0, ended.stderr)
    assert.equal(ended.stderr, '')
    const said = JSON.parse(ended.stdout.trim().split('\n').at(-1))
    for (const each of said) assert.match(JSON.stringify(each), /Oslo\./)
    assert.equal(upstream.count, said.length)
  })
}

test('the settings of coding agents are those of the examples, which are tried', () => {
  for (const [language, file] of [
    ['json', 'claude-code.json'],
    ['toml', 'codex.toml'],
    ['yaml', 'aider.yml'],
  ]) {
    const shown = readFileSync(join(ROOT, 'examples', 'agents', file), 'utf8').trim()
    assert.ok(blocks(language).includes(shown), `${file} is not what the page shows`)
  }
})

test('the routes of the page are those of the document', () => {
  const routes = OPERATIONS.map(({ method, path }) => `${method} ${path}`)
  const shown = firstColumn('Routes').filter((route) => !route.startsWith('HEAD'))
  assert.deepEqual(shown.sort(), routes.sort())
})

test('the headers and the statuses of the page are those of the document', () => {
  const answered = new Set()
  const statuses = new Set()
  const responses = [
    ...Object.values(DOCUMENT.components.responses),
    ...OPERATIONS.flatMap(({ responses }) => Object.values(responses)),
  ]
  for (const { headers = {} } of responses) for (const name of Object.keys(headers)) answered.add(name)
  for (const { responses } of OPERATIONS) for (const status of Object.keys(responses)) statuses.add(status)
  const cells = firstColumn('What an answer says')
  const shown = cells.filter((cell) => !/^\d/.test(cell)).map((cell) => cell.split(':')[0])
  // A header for proxies says nothing to a client.
  assert.deepEqual(shown.sort(), [...answered].filter((name) => name !== 'x-accel-buffering').sort())
  const told = cells.filter((cell) => /^\d/.test(cell) && cell !== '405')
  assert.deepEqual(told.sort(), [...statuses].filter((status) => status !== '200' && status !== '500').sort())
  const asked = firstColumn('What a request may say').map((cell) => cell.split(':')[0])
  const parameters = Object.values(DOCUMENT.components.parameters).map(({ name }) => name)
  assert.deepEqual(asked.sort(), parameters.sort())
})
