// What docs/security.md shows is run: its commands, its configurations, its clients.

import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, it } from 'node:test'
import { folder, ROOT, runNode } from './support/child.mjs'
import { ask, openPool, provider } from './support/pool.mjs'
import { Upstream } from './support/upstream.mjs'
import { bounded } from './support/wait.mjs'

const DOC = readFileSync(join(ROOT, 'docs/security.md'), 'utf8')
const BIN = join(ROOT, 'bin', 'llmpool.js')
const MTLS = (name) => join(ROOT, '__test__/fixtures/mtls', name)
const SECRET = '0123456789abcdef0123456789abcdef'
const run = promisify(execFile)

/** The code blocks of a language. */
const blocks = (language) =>
  [...DOC.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\n\`\`\``, 'g'))].map(([, code]) => code)

/** A machine may be without them. */
const has = (program) => spawnSync(program, ['--version']).status === 0

async function served(t, server) {
  const upstream = await Upstream.start(t)
  const pool = await openPool(t, [provider('main', upstream)], {
    config: { server: { http: '127.0.0.1:0', ...server } },
  })
  const gateway = await pool.serve()
  t.after(() => gateway.close({ drainTimeout: 0 }))
  return { upstream, gateway }
}

describe('docs/security.md', () => {
  it('its first command makes a key that the pool knows by its hash', bounded, async (t) => {
    const [command] = blocks('sh')
    assert.equal(command, 'npx llmpool key')
    const made = await runNode(t, '', { file: BIN, args: command.split(' ').slice(2) })
    const [key, hash, ...rest] = made.stdout.trimEnd().split('\n')
    assert.deepEqual([made.code, made.stderr, rest], [0, '', []])
    assert.match(key, /^llmp_[\w-]{43}$/)
    assert.equal(hash, `sha256:${createHash('sha256').update(key).digest('hex')}`)
    const json = await runNode(t, '', { file: BIN, args: ['key', '--json'] })
    assert.notEqual(JSON.parse(json.stdout).key, key, 'another one each time')
    const { gateway } = await served(t, { api_keys: [hash] })
    const list = (headers) => fetch(`${gateway.url}/v1/models`, { headers }).then(({ status }) => status)
    assert.deepEqual([await list({ authorization: `Bearer ${key}` }), await list({ 'x-api-key': hash })], [200, 401])
  })

  it('its other commands do what they say', { ...bounded, skip: !has('curl') }, async (t) => {
    const tls = { cert: MTLS('server.pem'), key: MTLS('server.key') }
    const settings = [
      { api_keys: ['the-key'] },
      { api_keys: ['the-key'], tls },
      { tls: { ...tls, client_ca: MTLS('authority.pem') } },
    ]
    const commands = blocks('sh').slice(1)
    assert.equal(commands.length, settings.length)
    for (const [at, command] of commands.entries()) {
      const { gateway } = await served(t, settings[at])
      const files = { CA: MTLS('authority.pem'), CERT: MTLS('client.pem'), CERT_KEY: MTLS('client.key') }
      const env = { PATH: process.env.PATH, URL: gateway.url, KEY: 'the-key', ...files }
      const ended = await run('sh', ['-c', command.replace('curl', 'curl -sS --fail')], { env })
      assert.doesNotThrow(() => JSON.parse(ended.stdout), command)
    }
  })

  it('its configurations load', bounded, async (t) => {
    const at = folder(t)
    mkdirSync(join(at, 'etc'))
    for (const [name, fixture] of [
      ['tls.crt', 'server.pem'],
      ['tls.key', 'server.key'],
      ['callers.crt', 'authority.pem'],
    ])
      writeFileSync(join(at, 'etc', name), readFileSync(MTLS(fixture)))
    const configs = blocks('jsonc')
    assert.ok(configs.length >= 5)
    for (const config of configs) {
      const file = join(at, 'config.jsonc')
      const providers = '"providers": [{ "name": "a", "type": "ollama", "model": "m" }],'
      writeFileSync(file, config.replace('{', `{ ${providers}`).replaceAll('/etc/llmpool/', 'etc/'))
      const checked = await runNode(t, '', { file: BIN, args: ['check', file], env: { CI_SECRET: SECRET } })
      assert.equal(checked.code, 0, `${config}\n${checked.stderr}`)
    }
  })

  const body = JSON.stringify({ messages: ask() })
  const clients = { hmac: { clients: [{ id: 'ci', secret: SECRET }] } }

  it('its client in JavaScript signs what the pool takes', bounded, async (t) => {
    const { gateway, upstream } = await served(t, clients)
    const [client] = blocks('js')
    const call = `const answer = await post(process.env.URL, process.env.BODY, 'ci', process.env.SECRET)
      console.log((await answer.json()).choices[0].message.content)`
    const env = { URL: `${gateway.url}/v1/chat/completions?from=docs`, BODY: body, SECRET }
    const ended = await runNode(t, `${client}\n${call}`, { env })
    assert.deepEqual([ended.code, ended.stdout, upstream.count], [0, 'pong\n', 1], ended.stderr)
  })

  it('its client in Python signs what the pool takes', { ...bounded, skip: !has('python3') }, async (t) => {
    const { gateway, upstream } = await served(t, clients)
    const [client] = blocks('python')
    const call = `
import json, os
answer = post(os.environ["URL"], os.environ["BODY"].encode(), "ci", os.environ["SECRET"])
print(json.load(answer)["choices"][0]["message"]["content"])`
    const env = { PATH: process.env.PATH, URL: `${gateway.url}/v1/chat/completions?from=docs`, BODY: body, SECRET }
    const ended = await run('python3', ['-c', client + call], { env })
    assert.deepEqual([ended.stdout, upstream.count], ['pong\n', 1])
  })

  it('names only pages and places in them that there are', () => {
    const anchors = [...DOC.matchAll(/^#+ (.*)$/gm)].map(([, title]) => title.toLowerCase().replaceAll(' ', '-'))
    for (const [, path, anchor] of DOC.matchAll(/\]\(([^)#]*)(?:#([^)]*))?\)/g)) {
      if (path !== '') readFileSync(join(ROOT, 'docs', path))
      else assert.ok(anchors.includes(anchor), anchor)
    }
  })
})
