// The files of `deploy/` and the commands of the runbook, as far as they run without containers. That the YAML parses and
// names what it needs is tested beside the configuration (`src/config/deploy_tests.rs`).

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, join } from 'node:path'
import { test } from 'node:test'
import { folder, ROOT, startNode } from './support/child.mjs'
import { ask, provider } from './support/pool.mjs'
import { Upstream } from './support/upstream.mjs'
import { roomy, until } from './support/wait.mjs'

const BIN = join(ROOT, 'bin', 'llmpool.js')
const read = (path) => readFileSync(join(ROOT, path), 'utf8')
const SECRETS = ['openai_api_key', 'anthropic_api_key', 'operator_key', 'web_key', 'batch_key']

/** A folder of secrets, and the configuration of `deploy/` reading them there. */
function deployed(t) {
  const secrets = folder(t)
  for (const name of SECRETS) writeFileSync(join(secrets, name), `value-of-${name}\n`)
  return { secrets, text: read('deploy/config/config.jsonc').replaceAll('/run/secrets', secrets) }
}

/** `llmpool serve` of this file, until the test is over. */
async function serve(t, config, ...args) {
  const child = startNode(t, '', { file: BIN, args: ['serve', '--config', config, '--http', '127.0.0.1:0', ...args] })
  let told = ''
  child.stderr.on('data', (data) => {
    told += data
  })
  await until(() => /http:\/\/[^/\s]+/.test(told), 'it says where it is')
  return { child, url: told.match(/http:\/\/[^/\s]+/)[0] }
}

const status = async (url, key) => {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({ model: 'auto', messages: ask() }),
  })
  await response.text()
  return response.status
}

test('the configuration of deploy/ passes llmpool check', roomy, (t) => {
  const file = join(folder(t), 'config.json')
  writeFileSync(file, deployed(t).text)
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, 'check', file, '--json'], { encoding: 'utf8' })
  assert.equal(status, 0, stdout + stderr)
  const { warnings, providers } = JSON.parse(stdout)
  assert.deepEqual(warnings, [])
  assert.equal(providers.length, 2)
})

test('what the Dockerfile copies and starts is there', () => {
  const text = read('deploy/Dockerfile').replaceAll(/\\\n/g, '')
  const built = ['binding.js', 'llmpool.*.node'] // by `npm run build`
  const copied = [...text.matchAll(/^COPY (?!--from=node)(?:--from=build )?(.+) \S+$/gm)].flatMap(([, from]) =>
    from.split(' '),
  )
  for (const from of copied.map((path) => path.replace('/src/', ''))) {
    if (!built.includes(from)) assert.ok(existsSync(join(ROOT, from)), from)
  }
  // Everything that the package needs goes along.
  const { files, scripts, dependencies } = JSON.parse(read('package.json'))
  assert.ok('build' in scripts && dependencies === undefined)
  for (const file of files.filter((name) => !/\.d\.|CHANGELOG/.test(name))) {
    assert.ok(
      copied.some((from) => from === `/src/${file}`),
      `${file} is not copied`,
    )
  }
  assert.match(text, /^USER 1000:1000$/m)
  const [, start] = text.match(/^CMD (\[.*\])$/m)
  const { status, stderr } = spawnSync(process.execPath, [BIN, ...JSON.parse(start), '--http', '127.0.0.1:0'], {
    encoding: 'utf8',
  })
  assert.equal(status, 78, stderr)
  assert.match(stderr, /\/etc\/llmpool\/config\.jsonc/, 'it gets as far as the file that is mounted there')
})

test('the probes are answered without a key, and a mounted folder that is swapped is read', roomy, async (t) => {
  const upstream = await Upstream.start(t)
  const mount = folder(t)
  const config = (tenants) =>
    JSON.stringify({
      providers: [provider('main', upstream)],
      server: { api_keys: ['operator'] },
      tenants,
    })
  // As the kubelet does it: `..data` is a link to the folder of the day, and the file a link through it.
  const put = (version, text) => {
    mkdirSync(join(mount, version))
    writeFileSync(join(mount, version, 'config.json'), text)
    symlinkSync(version, join(mount, '..data_tmp'))
    renameSync(join(mount, '..data_tmp'), join(mount, '..data'))
  }
  put('..1', config([{ id: 'web', api_keys: ['key-of-web'] }]))
  symlinkSync('..data/config.json', join(mount, 'config.json'))
  const { url } = await serve(t, join(mount, 'config.json'))
  const manifest = read('deploy/kubernetes.yaml')
  const probes = [...manifest.matchAll(/^ +path: (\/\S+)$/gm)].map(([, path]) => path)
  assert.deepEqual(probes, ['/live', '/ready'])
  for (const path of [...probes, '/live']) assert.equal((await fetch(url + path)).status, 200, path)
  assert.match(read('deploy/Dockerfile'), /127\.0\.0\.1:7071\/live/)
  assert.equal(await status(url, 'key-of-web'), 200)
  put('..2', config([{ id: 'web', api_keys: ['key-of-web'], enabled: false }]))
  await until(async () => (await status(url, 'key-of-web')) === 403, 'the tenant is switched off')
  assert.equal(await status(url, 'operator'), 200)
  unlinkSync(join(mount, 'config.json'))
})

test('every command of the runbook runs', roomy, async (t) => {
  if (spawnSync('curl', ['--version']).error) return t.skip('there is no curl')
  const upstream = await Upstream.start(t)
  const home = folder(t)
  const file = join(home, 'config.json')
  const config = {
    providers: [provider('main', upstream)],
    server: { api_keys: ['operator'] },
    tenants: [{ id: 'web', api_keys: ['key-of-web'], rps: 1000 }],
  }
  writeFileSync(file, JSON.stringify(config))
  const bin = join(home, 'bin')
  mkdirSync(bin)
  writeFileSync(join(bin, 'llmpool'), `#!/bin/sh\nexec "${process.execPath}" "${BIN}" "$@"\n`)
  chmodSync(join(bin, 'llmpool'), 0o755)
  const { url, child } = await serve(t, file, '--stats-file', join(home, 'stats.json'))
  const path = [bin, join(process.execPath, '..'), process.env.PATH].join(delimiter)
  const env = { PATH: path, URL: url, KEY: 'operator', CONFIG: file }
  const blocks = [...read('docs/runbook.md').matchAll(/^( *)```sh\n([\s\S]*?)^ *```$/gm)].map(([, , text]) => text)
  // The first one says what the others expect.
  assert.match(blocks[0], /^URL=/)
  assert.ok(blocks.length >= 8)
  for (const text of blocks.slice(1)) {
    writeFileSync(`${file}.new`, readFileSync(file)) // as edited
    const { status, stdout, stderr } = spawnSync('sh', ['-euc', text], { env, encoding: 'utf8' })
    assert.equal(status, 0, `${text}\n${stdout}${stderr}`)
    if (text.includes('sha256sum')) assert.match(stdout, /^[0-9a-f]{64} /m)
  }
  await until(async () => (await status(url, 'key-of-web')) === 403, 'the emergency stop has stopped the tenant')
  child.kill('SIGTERM')
  assert.equal((await child.ended).code, 0)
  assert.ok(JSON.parse(readFileSync(join(home, 'stats.json'), 'utf8')).tenants.web)
})
