'use strict'

// The analyser, to be watched: the JavaScript of this package is described by a simulated model, twice. The first run
// asks for every file, folder and the project, and has bad answers repaired; the second one finds everything kept.

const { mkdtempSync, readFileSync, rmSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const { LLMPool } = require('../../index.js')
const { Analyst } = require('./analyst')
const { Screen, dollars } = require('./screen')

/** The folder `lib`. */
const SOURCES = join(__dirname, '..')

/**
 * Runs the demo.
 *
 * @param {NodeJS.WriteStream} [output]
 * @returns {Promise<boolean>} everything was described, and the second run sent nothing
 */
async function demoAnalyze(output = process.stdout) {
  const screen = new Screen(output)
  const analyst = new Analyst()
  const folder = mkdtempSync(join(tmpdir(), 'llmpool-demo-'))
  // The model is on this machine; a proxy configured for the world could not reach it.
  process.env.NO_PROXY = process.env.no_proxy = '127.0.0.1'
  const pool = new LLMPool({
    config: {
      providers: [
        {
          name: 'analyst',
          type: 'openai-compatible',
          base_url: await analyst.listen(),
          api_key: 'simulated',
          model: 'analyst-1',
          input_token_price: 0.0002,
          output_token_price: 0.0006,
        },
      ],
    },
    retryDelay: 1,
  })
  const options = { cacheDir: join(folder, 'kept') }

  screen.line('llmpool demo analyze', 'bold')
  screen.line(
    'A SIMULATED model on this machine describes the JavaScript of this package. No keys, nothing leaves the machine.',
  )
  try {
    const estimate = await pool.estimateAnalysis(SOURCES, options)
    screen.heading('Before anything is sent (--dry-run):')
    screen.line(
      `  ${estimate.files.length} files, ${estimate.directories} folders, about ${estimate.requests} requests and ${dollars(estimate.cost ?? 0)}`,
    )

    screen.heading('Files first, a folder when everything in it is described, the project last.')
    const first = pool.analyze(SOURCES, options)
    for await (const { done, total, path, kind, outcome } of first) {
      screen.line(
        `${String(done).padStart(4)}/${total}  ${kind.padEnd(9)}  ${path}${outcome === 'failed' ? '  FAILED' : ''}`,
      )
    }
    const result = await first.result()
    screen.line()
    screen.line(
      `${analyst.bad} of ${analyst.asked.length} answers were bad or cut off; each was asked for again.`,
      'yellow',
    )

    screen.heading('The second run sends only what has changed: nothing.')
    const sent = analyst.asked.length
    const { cached, requests } = await pool.analyze(SOURCES, options).result()
    screen.line(`  ${cached} results kept, ${requests} requests`)

    const pages = await first.toMarkdown(join(folder, 'pages'))
    screen.heading(`${pages.length} pages of Markdown. The one of lib/demo:`)
    screen.line()
    const page = readFileSync(join(folder, 'pages', 'demo', 'README.md'), 'utf8')
    for (const line of page.trim().split('\n').slice(1)) screen.line(`  ${line}`.trimEnd(), 'gray')

    const good = result.failed.length === 0 && result.project !== null && analyst.asked.length === sent
    screen.line()
    screen.line(
      `${result.files.length} files, ${result.directories.length} folders and the project described by a simulated model, ${dollars(result.cost ?? 0)} in all.`,
      good ? 'green' : 'red',
    )
    return good
  } finally {
    await pool.shutdown()
    analyst.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

exports.demoAnalyze = demoAnalyze
