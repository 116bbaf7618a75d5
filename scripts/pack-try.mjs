// Packs the main package and this machine's platform package, installs both in an empty folder without a network, and
// uses them there as a stranger would: by `require`, by `import`, from TypeScript and from the command line, against
// loopback servers. One provider is killed on the way.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json, text } from 'node:stream/consumers'
import { ask, NPM, ROOT, tool } from './shared.mjs'

const SEED = join(ROOT, '__test__', 'fixtures', 'seed')
const folder = mkdtempSync(join(tmpdir(), 'llmpool-pack-try-'))
const project = join(folder, 'project')

try {
  const tarballs = [pack(ROOT), pack(platformPackage())]
  step(`packed ${tarballs.map((path) => path.slice(folder.length + 1)).join(' and ')}`)

  mkdirSync(project)
  write('package.json', JSON.stringify({ name: 'try', version: '1.0.0', private: true }))
  npm(['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', ...tarballs], project)
  step('installed in an empty folder, offline')

  await quickStart()
  await killedProvider()
  await commandLine()
  types()
  console.log('pack:try: the packed package works')
} finally {
  rmSync(folder, { recursive: true, force: true })
}

/** @param {string} path a package's folder @returns {string} its tarball */
function pack(path) {
  const [packed] = JSON.parse(npm(['pack', '--json', '--ignore-scripts', '--pack-destination', folder], path))
  const names = packed.files.map((/** @type {{ path: string }} */ file) => file.path)
  const strange = names.filter((/** @type {string} */ name) =>
    /^(src|target|__test__|scripts|node_modules)\//.test(name),
  )
  assert.deepEqual(strange, [], 'files that are nobody’s business in the tarball')
  return join(folder, packed.filename.replace('@', '').replace('/', '-'))
}

/** A copy of `npm/<platform>` with the addon of this checkout in it. */
function platformPackage() {
  const addon = readdirSync(ROOT).find((name) => /^llmpool\..+\.node$/.test(name))
  assert(addon, 'the addon has not been built')
  const platform = addon.slice('llmpool.'.length, -'.node'.length)
  const copy = join(folder, 'platform')
  cpSync(join(ROOT, 'npm', platform), copy, { recursive: true })
  cpSync(join(ROOT, addon), join(copy, addon))
  return copy
}

/** The seed README's quick start and its config, unchanged but for where the providers are. */
async function quickStart() {
  const groq = await upstream('a provider')
  const openai = await upstream('another provider')
  writeConfig(groq.url, openai.url)
  const source = readFileSync(join(SEED, 'quick-start.js'), 'utf8')
  write('quick-start.cjs', source)
  write('quick-start.mjs', source.replace(/const (\{.+\}) = require\('llmpool'\);?/, "import $1 from 'llmpool'"))
  for (const script of ['quick-start.cjs', 'quick-start.mjs']) {
    const { stdout, stderr, code } = await node([script])
    assert.equal(code, 0, stderr)
    assert.match(stdout, /Response: a provider says hello.*Provider: groq-primary.*Tokens used: 12/s, stderr)
    step(`${script} answered`)
  }
  groq.close()
  openai.close()
}

async function killedProvider() {
  const groq = await upstream('a provider', 2)
  const openai = await upstream('another provider')
  writeConfig(groq.url, openai.url)
  write(
    'killed.mjs',
    `import { LLMPool } from 'llmpool'
     const pool = await LLMPool.create({ configPath: './config.json' })
     const answers = []
     for (let call = 0; call < 4; call++) answers.push(await pool.chat([{ role: 'user', content: 'Hello' }]))
     await pool.shutdown()
     console.log(JSON.stringify(answers))`,
  )
  const { stdout, stderr, code } = await node(['killed.mjs'])
  assert.equal(code, 0, stderr)
  const answers = JSON.parse(stdout)
  assert.deepEqual(
    answers.map((/** @type {any} */ answer) => answer.provider),
    ['groq-primary', 'groq-primary', 'openai-fallback', 'openai-fallback'],
  )
  const [first] = answers[2].attempts
  assert.deepEqual([first.provider, first.outcome, first.errorClass], ['groq-primary', 'failure', 'network'])
  step('a provider was killed in the middle; attempts[] shows it')
  openai.close()
}

async function commandLine() {
  const groq = await upstream('a provider')
  const openai = await upstream('another provider')
  writeConfig(groq.url, openai.url)
  const llmpool = join(project, 'node_modules', 'llmpool', 'bin', 'llmpool.js')
  const { stdout, stderr, code } = await node([llmpool, 'chat', 'Hello', '--config', 'config.json'])
  assert.equal(code, 0, stderr)
  assert.equal(stdout, 'a provider says hello\n')
  assert.match(stderr, /groq-primary/)
  step('llmpool chat answered')
  const demo = await node([llmpool, 'demo'])
  assert.equal(demo.code, 0, demo.stdout + demo.stderr)
  step(`llmpool demo: ${demo.stdout.trim().split('\n').at(-1)}`)
  groq.close()
  openai.close()
}

/** Both kinds of module see the types that belong to them. */
function types() {
  const use = `
    const pool: LLMPool = new LLMPool({ configPath: './config.json' })
    pool.on('requestSuccess', (event) => event.provider.toUpperCase())
    export const answer: Promise<string> = pool.chat({ messages: [] }).then((response) => response.content)
    export const wrong = LLMPoolError.isInstance(0)
    // @ts-expect-error there is no such option
    new LLMPool({ configPath: './config.json', timeuot: 1 })`
  write('use.mts', `import { LLMPool, LLMPoolError } from 'llmpool'\n${use}`)
  write('use.cts', `import { LLMPool, LLMPoolError } from 'llmpool'\n${use}`)
  const [command, tsc] = tool('typescript/bin/tsc')
  const roots = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules', '@types')]
  for (const module of ['node16', 'nodenext']) {
    ask(
      command,
      [tsc, '--noEmit', '--strict', '--target', 'es2022', '--module', module, ...roots, 'use.mts', 'use.cts'],
      project,
    )
  }
  step('TypeScript takes it, as an ES module and as CommonJS')
}

// === tools ===

/**
 * A provider on loopback.
 *
 * @param {string} name @param {number} [lives] calls it answers before it is gone
 */
async function upstream(name, lives = Number.POSITIVE_INFINITY) {
  const server = createServer(async (request, reply) => {
    const { model } = /** @type {any} */ (await json(request))
    reply.setHeader('content-type', 'application/json')
    const message = { role: 'assistant', content: `${name} says hello` }
    const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 }
    const choices = [{ index: 0, message, finish_reason: 'stop' }]
    reply.end(JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion', created: 1, model, choices, usage }))
    lives--
    if (lives > 0) return
    await once(reply, 'close')
    close()
  })
  const close = () => {
    server.close()
    server.closeAllConnections()
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return { url: `http://127.0.0.1:${port}`, close }
}

/** @param {string} groq @param {string} openai */
function writeConfig(groq, openai) {
  const config = readFileSync(join(SEED, 'config.json'), 'utf8')
  write('config.json', config.replace('https://api.groq.com', groq).replace('https://api.openai.com', openai))
}

/** @param {string} name @param {string} content */
function write(name, content) {
  writeFileSync(join(project, name), content)
}

/** Runs a script in the project without anything of this checkout's environment. @param {string[]} args */
async function node(args) {
  const env = { PATH: process.env.PATH, NO_PROXY: '127.0.0.1' }
  const child = spawn(process.execPath, args, { cwd: project, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const [[code], stdout, stderr] = await Promise.all([once(child, 'exit'), text(child.stdout), text(child.stderr)])
  return { code, stdout, stderr }
}

/** @param {string[]} args @param {string} cwd */
function npm(args, cwd) {
  const [command, ...first] = NPM
  return ask(command, [...first, ...args], cwd)
}

/** @param {string} words */
function step(words) {
  console.log(`- ${words}`)
}
