// Code described by models: through the pool, from the command line, as pages.

import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { folder, ROOT, runNode, startNode } from './support/child.mjs'
import { openPool, poolOf, provider, record, rejection } from './support/pool.mjs'
import { completion, hang, status, Upstream } from './support/upstream.mjs'
import { bounded, roomy, until } from './support/wait.mjs'

const BIN = join(ROOT, 'bin', 'llmpool.js')
const cli = (t, argv, options) => runNode(t, '', { file: BIN, args: argv, ...options })

/** A value of this JSON Schema; texts say what was asked. */
function filled({ type, properties, items, enum: words }, text) {
  if (type === 'object')
    return Object.fromEntries(Object.entries(properties).map(([key, each]) => [key, filled(each, text)]))
  if (type === 'array') return [filled(items, text)]
  return words?.[0] ?? text
}

/** Everything that it tells. */
async function all(iterable) {
  const told = []
  for await (const each of iterable) told.push(each)
  return told
}

/** What was asked for: `File: a.js`. */
const headOf = (exchange) => exchange.json.messages.at(-1).content.split('\n', 1)[0]

/** A model that describes whatever it is shown, and says how much that was. */
const describes = (exchange) => {
  const { messages, response_format } = exchange.json
  const text = `${headOf(exchange)}: ${messages.at(-1).content.length} characters`
  return exchange.reply(200, completion(JSON.stringify(filled(response_format.json_schema.schema, text))))
}

/** A folder with these files. */
function project(t, files = { 'src/a.js': 'exports.a = 1\n', 'src/b.js': 'exports.b = 2\n', 'main.js': 'run()\n' }) {
  const root = folder(t)
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true })
    writeFileSync(join(root, name), text)
  }
  return root
}

async function analyst(t, behaviour = describes) {
  const upstream = await Upstream.start(t, behaviour)
  return { upstream, pool: await openPool(t, [provider('a', upstream)]) }
}

describe('Analyser', () => {
  it('describes files, folders and the project, and tells how far it is', bounded, async (t) => {
    const { upstream, pool } = await analyst(t)
    const events = record(pool, 'requestSuccess')
    const analysis = pool.analyze(project(t), { audience: 'llm', projectType: 'a test' })
    const progress = await all(analysis)
    const result = await analysis.result()

    assert.deepEqual(
      progress.map(({ done, total, outcome }) => [done, total, outcome]),
      [1, 2, 3, 4, 5, 6].map((done) => [done, 6, 'analyzed']),
    )
    assert.deepEqual(progress.at(-1), { done: 6, total: 6, path: '.', kind: 'project', outcome: 'analyzed' })
    assert.deepEqual(
      result.files.map(({ path, type }) => [path, type]),
      [
        ['main.js', 'source'],
        ['src/a.js', 'source'],
        ['src/b.js', 'source'],
      ],
    )
    assert.deepEqual(
      result.directories.map(({ path, depth, childSummaries }) => [path, depth, childSummaries.length]),
      [
        ['.', 0, 2],
        ['src', 1, 2],
      ],
    )
    assert.match(result.project.overview, /^The project: /)
    assert.deepEqual(Object.keys(result.files[0]), [
      'path',
      'type',
      'summary',
      'externalDependencies',
      'publicInterfaces',
    ])
    const { requests, cached, masked, failed, skipped, warnings, usage } = result
    assert.deepEqual(
      [requests, cached, masked, failed, skipped, warnings, usage.total_tokens],
      [6, 0, 0, [], [], [], 90],
    )
    assert.ok(result.cost > 0)
    assert.equal(upstream.count, 6)
    assert.equal(events.length, 6, 'they are calls of the pool like any other')
    assert.match(upstream.last.json.messages[0].content, /The project is: a test/)
    // Who looks later sees it all.
    assert.equal((await all(analysis)).length, 6)
  })

  it('analyzeFile and analyzeDirectory describe less', bounded, async (t) => {
    const { upstream, pool } = await analyst(t)
    const root = project(t)
    const file = await pool.analyzeFile(pathToFileURL(join(root, 'src/a.js')), { root })
    assert.deepEqual([file.path, upstream.count], ['src/a.js', 1])
    const { project: none, directories, files } = await pool.analyzeDirectory(join(root, 'src')).result()
    assert.deepEqual([none, directories.length, files.length, upstream.count], [null, 1, 2, 4])
  })

  it('a second run sends nothing, and one changed file only itself and what stands above it', bounded, async (t) => {
    const { upstream, pool } = await analyst(t)
    const [root, cacheDir] = [project(t), join(folder(t), 'kept')]
    await pool.analyze(root, { cacheDir }).result()
    const again = await pool.analyze(root, { cacheDir }).result()
    assert.deepEqual([upstream.count, again.requests, again.cached, again.cost], [6, 0, 6, 0])
    writeFileSync(join(root, 'src/b.js'), 'exports.changed = true\n')
    await pool.analyze(root, { cacheDir }).result()
    assert.deepEqual(upstream.exchanges.slice(6).map(headOf), [
      'File: src/b.js',
      'Directory: src',
      'Directory: .',
      'The project',
    ])
  })

  it('estimateAnalysis counts and sends nothing', bounded, async (t) => {
    const { upstream, pool } = await analyst(t)
    const estimate = await pool.estimateAnalysis(project(t, { 'a.js': 'run()', 'b.png': '\0', 'c.js': '' }))
    assert.equal(upstream.count, 0)
    const { files, directories, skipped, requests, promptTokens, completionTokens, cost } = estimate
    assert.deepEqual([files.length, directories, requests], [1, 1, 3])
    assert.deepEqual(
      skipped.map(({ path, reason }) => [path, reason]),
      [
        ['b.png', 'binary'],
        ['c.js', 'empty'],
      ],
    )
    assert.ok(promptTokens > 300 && completionTokens > 100 && cost > 0, JSON.stringify(estimate))
  })

  it('masks secrets before they are sent', bounded, async (t) => {
    const { upstream, pool } = await analyst(t)
    const key = `sk-${'a1B2'.repeat(10)}`
    const { masked } = await pool.analyze(project(t, { 'a.js': `const key = '${key}'` })).result()
    assert.equal(masked, 1)
    for (const { text } of upstream.exchanges) assert.ok(!text.includes(key))
    assert.match(upstream.exchanges[0].text, /\[masked: API key\]/)
  })

  it('a file that fails is reported and sinks nothing', bounded, async (t) => {
    const { pool } = await analyst(t, (exchange) =>
      headOf(exchange) === 'File: src/a.js' ? status(400)(exchange) : describes(exchange),
    )
    const { failed, files, project: whole } = await pool.analyze(project(t)).result()
    assert.deepEqual(
      failed.map(({ path, kind, errorClass }) => [path, kind, errorClass]),
      [['src/a.js', 'file', 'invalid_request']],
    )
    assert.deepEqual([files.length, whole !== null], [2, true])
  })

  it('what cannot be is refused by its name, and nothing is sent', bounded, async (t) => {
    const { upstream, pool } = await analyst(t)
    const root = project(t)
    symlinkSync(root, join(root, 'circle'))
    const cases = [
      [pool.analyze(join(root, 'nowhere')), 'path', /nowhere/],
      [pool.analyze(join(root, 'main.js')), 'path', /is a file/],
      [pool.analyze(''), 'path', /is empty/],
      [pool.analyze(5), 'path', /must be a path/],
      [pool.analyze(new URL('http://a.b/c')), 'path', /must be a path/],
      [pool.analyze('.', { root }), 'path', /outside of the root/],
      [pool.analyze(root, { depth: 'abyss' }), 'depth', /`surface`, `standard`, `deep`/],
      [pool.analyze(root, { audience: 'cats' }), 'audience', /`llm`, `developer`, `documentation`/],
      [pool.analyze(root, { dept: 'deep' }), 'dept', /did you mean "depth"/],
      [pool.analyze(root, { concurrency: 0 }), 'concurrency', /nonzero/],
      [pool.analyze(root, { include: 'nothing.*' }), 'path', /nothing to analyse/],
      [pool.analyze(root, { signal: 5 }), 'signal', /AbortSignal/],
      [pool.analyze(root, 5), '', /must be an object/],
    ]
    for (const [analysis, field, message] of cases) {
      const error = await rejection(analysis.result())
      assert.deepEqual([error.code, error.field], ['ERR_LLMPOOL_INVALID_REQUEST', field], error.message)
      assert.match(error.message, message)
      assert.equal(await rejection(all(analysis)).then(({ code }) => code), error.code, 'the loop, too')
    }
    assert.equal((await rejection(pool.analyzeFile(join(root, 'src')))).field, 'path')
    assert.equal((await rejection(pool.estimateAnalysis(root, { depth: 1 }))).field, 'depth')
    assert.equal(upstream.count, 0)
    const { skipped } = await pool.analyze(root).result()
    assert.deepEqual(
      skipped.map(({ path, reason }) => [path, reason]),
      [['circle', 'symlink']],
    )
  })

  it('a signal ends it, with its own reason, and a shutdown does', bounded, async (t) => {
    const { upstream, pool } = await analyst(t, hang())
    const controller = new AbortController()
    const analysis = pool.analyze(project(t), { signal: controller.signal })
    const outcome = rejection(analysis.result())
    await upstream.requests(3)
    const reason = new Error('enough')
    controller.abort(reason)
    assert.equal(await outcome, reason)
    await Promise.all(upstream.exchanges.map(({ closed }) => closed))
    assert.equal(await rejection(pool.analyze(project(t), { signal: controller.signal }).result()), reason)

    const closed = rejection(pool.analyze(project(t)).result())
    await upstream.requests(6)
    await pool.shutdown({ drainTimeout: 0 })
    assert.equal((await closed).code, 'ERR_LLMPOOL_CLOSED')
    assert.equal((await rejection(pool.analyze('.').result())).code, 'ERR_LLMPOOL_CLOSED')
  })

  it('waits for the configuration, and fails with it', bounded, async (t) => {
    const upstream = await Upstream.start(t, describes)
    const { files } = await poolOf(t, [provider('a', upstream)])
      .analyze(project(t))
      .result()
    assert.equal(files.length, 3)
    const bad = poolOf(t, [{ name: 'a' }])
    assert.equal((await rejection(bad.analyze(project(t)).result())).code, 'ERR_LLMPOOL_CONFIG')
  })

  it('nobody who looks away is punished: no unhandled rejection, and the process ends', bounded, async (t) => {
    const ended = await runNode(
      t,
      `const { LLMPool } = await import(ENTRY)
       const pool = new LLMPool({ config: { providers: [{ name: 'a', type: 'ollama', model: 'm' }] } })
       pool.analyze('/no/such/folder')
       console.log('over')`,
    )
    assert.deepEqual([ended.code, ended.stdout, ended.stderr], [0, 'over\n', ''])
  })

  it('toMarkdown writes pages that lead to each other, over its own and over nobody elses', bounded, async (t) => {
    const { pool } = await analyst(t)
    const out = join(folder(t), 'docs')
    const analysis = pool.analyze(project(t))
    const pages = await analysis.toMarkdown(pathToFileURL(out))
    assert.equal(pages.length, 5)
    assert.deepEqual(readdirSync(join(out, 'src')), ['README.md', 'a.js.md', 'b.js.md'])
    const page = readFileSync(join(out, 'src', 'README.md'), 'utf8')
    assert.match(page, /^# 📁 Directory: `\.\/src`$/m)
    assert.match(page, /^1\. \[`a\.js`\]\(a\.js\.md\): File: src\/a\.js: /m)
    await analysis.toMarkdown(out)
    writeFileSync(join(out, 'README.md'), '# Mine\n')
    const error = await rejection(analysis.toMarkdown(out))
    assert.deepEqual([error.code, error.field], ['ERR_LLMPOOL_INVALID_REQUEST', 'dir'])
    assert.equal(readFileSync(join(out, 'README.md'), 'utf8'), '# Mine\n')
    assert.equal((await rejection(analysis.toMarkdown(5))).field, 'dir')
    assert.equal((await rejection(analysis.toMarkdown(''))).field, 'dir')
  })
})

describe('llmpool analyze', () => {
  /** How many are kept. */
  const results = (kept) =>
    existsSync(kept) ? readdirSync(kept, { recursive: true }).filter((name) => /[\\/]\w+\.json$/.test(name)).length : 0

  const configOf = (t, upstream, more) => {
    const file = join(folder(t), 'config.json')
    writeFileSync(file, JSON.stringify({ providers: [provider('a', upstream, more)], routing: { max_retries: 0 } }))
    return file
  }

  it('--dry-run says what would be sent, --out writes pages, --json prints everything', roomy, async (t) => {
    const upstream = await Upstream.start(t, describes)
    const [root, config, out] = [project(t), configOf(t, upstream), join(folder(t), 'docs')]
    const dry = await cli(t, ['analyze', root, '--config', config, '--dry-run', '--exclude', 'main.js'])
    assert.deepEqual([dry.code, upstream.count], [0, 0], dry.stderr)
    assert.match(dry.stdout, /^src\/a\.js {2}~\d+ tokens\nsrc\/b\.js/)
    assert.match(
      dry.stdout,
      /2 files \(0 kept\), 2 folders, 0 skipped, 0 secrets masked\n5 requests, ~\d+ \+ ~\d+ tokens, \$/,
    )

    const kept = ['--cache-dir', join(folder(t), 'kept'), '--depth', 'surface']
    const written = await cli(t, ['analyze', root, '--config', config, '--out', out, ...kept])
    assert.deepEqual([written.code, written.stdout], [0, ''], written.stderr)
    assert.match(written.stderr, /^5 pages in .*\n3 files · 2 folders · 0 skipped · 0 failed · 6 requests · 0 kept/)
    assert.ok(!written.stderr.includes('\r'), 'a bar is for terminals')
    assert.match(readFileSync(join(out, 'README.md'), 'utf8'), /# 📦 Project/)

    const json = await cli(t, ['analyze', root, '--config', config, '--json', ...kept])
    assert.deepEqual([json.code, JSON.parse(json.stdout).cached], [0, 6])
    const words = await cli(t, ['analyze', root, '--config', config, ...kept])
    assert.match(words.stdout, /^The project: \d+ characters\n\nArchitecture\n/)
  })

  it('nothing is sent where pages cannot be written, and --dry-run makes no folder', bounded, async (t) => {
    const upstream = await Upstream.start(t, describes)
    const [root, config, out] = [project(t), configOf(t, upstream), folder(t)]
    writeFileSync(join(out, 'README.md'), 'mine')
    const refused = await cli(t, ['analyze', root, '--config', config, '--out', out])
    assert.deepEqual([refused.code, upstream.count], [2, 0], refused.stderr)
    assert.match(refused.stderr, /was not written by an analysis/)
    const onto = await cli(t, ['analyze', root, '--config', config, '--out', config])
    assert.deepEqual([onto.code, upstream.count], [2, 0], onto.stderr)
    const kept = join(folder(t), 'kept')
    await cli(t, ['analyze', root, '--config', config, '--dry-run', '--cache-dir', kept])
    assert.ok(!existsSync(kept))
  })

  it('prints what is paid for when its pages cannot be written after all', bounded, async (t) => {
    const out = join(folder(t), 'docs')
    const upstream = await Upstream.start(t, (exchange) => {
      mkdirSync(out, { recursive: true })
      writeFileSync(join(out, 'README.md'), 'mine')
      return describes(exchange)
    })
    const ended = await cli(t, ['analyze', project(t), '--config', configOf(t, upstream), '--out', out])
    assert.equal(ended.code, 2, ended.stderr)
    assert.match(ended.stdout, /^The project: /)
    const [, file] = /the result is kept in (.*\.json)/.exec(ended.stderr)
    assert.equal(JSON.parse(readFileSync(file, 'utf8')).files.length, 3)
  })

  it('says by its exit code how it went', roomy, async (t) => {
    const upstream = await Upstream.start(t, describes)
    const partly = await Upstream.start(t, (exchange) =>
      headOf(exchange) === 'File: src/a.js' ? status(400)(exchange) : describes(exchange),
    )
    const down = await Upstream.start(t, status(500))
    const [root, config] = [project(t), configOf(t, upstream)]
    for (const [argv, code] of [
      [[root, '--config', configOf(t, partly)], 1],
      // An open breaker would be waited for.
      [[root, '--config', configOf(t, down, { circuit_breaker_threshold: 100 })], 69],
      [[root, '--config', configOf(t, upstream, { type: 'no-such-type' })], 78],
      [[join(root, 'nowhere'), '--config', config], 2],
      [[root, '--config', config, '--depth', 'abyss'], 2],
      [[root, '--config', config, '--concurrency', 'many'], 2],
      [[root, '--config', config, '--dry-run', '--out', 'x'], 2],
      [[root], 2],
      [['--config', config], 2],
    ]) {
      const ended = await cli(t, ['analyze', ...argv])
      assert.equal(ended.code, code, `${argv.join(' ')}: ${ended.stderr}`)
    }
  })

  it('an interrupt ends it, and the next run goes on from there', roomy, async (t) => {
    const upstream = await Upstream.start(t, (exchange) =>
      headOf(exchange) === 'File: src/b.js' ? undefined : describes(exchange),
    )
    const [root, config, kept] = [project(t), configOf(t, upstream), join(folder(t), 'kept')]
    const argv = ['analyze', root, '--config', config, '--cache-dir', kept]
    const child = startNode(t, '', { file: BIN, args: argv })
    await until(() => upstream.count === 3 && results(kept) === 2)
    child.kill('SIGINT')
    assert.equal((await child.ended).code, 130)
    upstream.always(describes)
    const { code, stderr } = await cli(t, argv)
    assert.equal(code, 0)
    assert.match(stderr, /4 requests · 2 kept/)
  })

  it(
    'demo analyze: everything described, nothing sent twice, and it says that its model is simulated',
    roomy,
    async (t) => {
      const ended = await cli(t, ['demo', 'analyze'], { env: { NO_COLOR: '1' } })
      assert.equal(ended.code, 0, ended.stderr)
      assert.match(ended.stdout, /SIMULATED/)
      assert.match(ended.stdout, /[1-9]\d* of \d+ answers were bad or cut off/)
      assert.match(ended.stdout, / 0 requests\n/)
      assert.match(ended.stdout, /# 📁 Directory: `\.\/demo`/)
      assert.equal((await cli(t, ['demo', 'no-such-story'])).code, 2)
    },
  )
})

describe('docs/analyzer.md', () => {
  it('its examples run as they stand there', roomy, async (t) => {
    const upstream = await Upstream.start(t, describes)
    const cwd = project(t, { 'src/main.rs': 'pub fn main() {}\n', 'src/lib.rs': 'pub struct A;\n' })
    writeFileSync(join(cwd, 'config.json'), JSON.stringify({ providers: [provider('a', upstream)] }))
    const page = readFileSync(join(ROOT, 'docs', 'analyzer.md'), 'utf8')
    const examples = [...page.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code)
    assert.equal(examples.length, 2)
    for (const example of examples) {
      const code = example
        .replace("'llmpool'", 'ENTRY')
        .replace(/^import (.*) from ENTRY$/m, 'const $1 = await import(ENTRY)')
      const ended = await runNode(t, code, { cwd })
      assert.deepEqual([ended.code, ended.stderr], [0, ''])
      assert.notEqual(ended.stdout, '')
    }
    assert.deepEqual(readdirSync(join(cwd, 'docs', 'code')), ['README.md', 'lib.rs.md', 'main.rs.md'])
    const commands = [...page.matchAll(/^llmpool (analyze .*?)(?: {2,}#.*)?$/gm)].map(([, line]) =>
      line.replace(/ > .*/, ''),
    )
    assert.equal(commands.length, 3)
    for (const command of commands) {
      const ended = await cli(t, command.split(' '), { cwd })
      assert.equal(ended.code, 0, ended.stderr)
    }
  })
})
