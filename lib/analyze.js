'use strict'

// `llmpool analyze`: a folder described by models. The result goes to stdout or into pages, how far it is to stderr.

const { mkdtempSync, writeFileSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')

/** Characters of the progress bar. */
const WIDTH = 24

/** How far it is, in one line that is written over; in a terminal only. */
class Bar {
  #output

  /** @param {NodeJS.WriteStream} output */
  constructor(output) {
    this.#output = output
  }

  /** @param {import('../index').AnalysisProgress} progress */
  show({ done, total, path }) {
    if (!this.#output.isTTY) return
    const filled = Math.round((WIDTH * done) / total)
    const bar = '#'.repeat(filled).padEnd(WIDTH, '-')
    const head = `[${bar}] ${done}/${total} `
    // Some terminals say that they have no columns.
    const room = (this.#output.columns || 80) - head.length - 1
    const shown = path.length <= room ? path : room > 1 ? `…${path.slice(1 - room)}` : ''
    this.#output.write(`\r${head}${shown}\x1b[K`)
  }

  clear() {
    if (this.#output.isTTY) this.#output.write('\r\x1b[K')
  }
}

/**
 * @param {import('../index').LLMPool} pool
 * @param {string} path
 * @param {{ options: import('../index').AnalysisOptions, out?: string, json: boolean }} asked
 * @returns {Promise<boolean>} nothing failed
 */
async function analyze(pool, path, { options, out, json }) {
  const analysis = pool.analyze(path, { ...options, pagesDir: out })
  const bar = new Bar(process.stderr)
  try {
    for await (const progress of analysis) bar.show(progress)
  } finally {
    bar.clear()
  }
  const result = await analysis.result()
  if (json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
  else if (out === undefined) process.stdout.write(words(result))
  for (const warning of result.warnings) process.stderr.write(`warning: ${warning}\n`)
  for (const { path, message } of result.failed) process.stderr.write(`failed: ${path}: ${message}\n`)
  if (out !== undefined) {
    try {
      const pages = await analysis.toMarkdown(out)
      process.stderr.write(`${pages.length} pages in ${out}\n`)
    } catch (error) {
      // It is paid for: whoever asked for it gets it, if not as pages.
      if (!json) process.stdout.write(words(result))
      process.stderr.write(`${keep(result, options.cacheDir)}\n${footer(result)}\n`)
      throw error
    }
  }
  process.stderr.write(`${footer(result)}\n`)
  return result.failed.length === 0
}

/** @param {import('../index').LLMPool} pool @param {string} path @param {{ options: import('../index').AnalysisOptions, json: boolean }} asked */
async function dryRun(pool, path, { options, json }) {
  const estimate = await pool.estimateAnalysis(path, options)
  if (json) {
    process.stdout.write(`${JSON.stringify(estimate, null, 2)}\n`)
    return
  }
  const { files, directories, skipped, requests, cached, masked, promptTokens, completionTokens, cost } = estimate
  const lines = [
    ...files.map(({ path, parts, promptTokens, cached }) => {
      const how = cached ? 'kept' : `~${promptTokens} tokens${parts > 1 ? ` in ${parts} parts` : ''}`
      return `${path}  ${how}`
    }),
    ...skipped.map(({ path, message }) => `${path}  skipped: ${message}`),
    '',
    `${files.length} files (${cached} kept), ${directories} folders, ${skipped.length} skipped, ${masked} secrets masked`,
    `${requests} requests, ~${promptTokens} + ~${completionTokens} tokens, ${money(cost)}`,
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}

/**
 * Where a result is that has no pages.
 *
 * @param {import('../index').AnalysisResult} result
 * @param {string | undefined} cacheDir
 */
function keep(result, cacheDir) {
  if (cacheDir !== undefined) return `the result is kept in ${cacheDir}: the same with another --out sends nothing`
  const file = join(mkdtempSync(join(tmpdir(), 'llmpool-analysis-')), 'analysis.json')
  writeFileSync(file, JSON.stringify(result, null, 2), { mode: 0o600 })
  return `the result is kept in ${file}`
}

/** The project for people. @param {import('../index').AnalysisResult} result */
function words({ project, directories }) {
  if (project === null) return `${directories[0]?.summary ?? ''}\n`
  const { overview, architecture, coreTechnologies, risks } = project
  const list = (/** @type {string[]} */ items) => items.map((item) => `- ${item}\n`).join('')
  return `${overview}\n\nArchitecture\n\n${architecture}\n\nCore technologies\n\n${list(coreTechnologies)}\nRisks\n\n${list(risks)}`
}

/** @param {import('../index').AnalysisResult} result */
function footer({ files, directories, skipped, failed, requests, cached, masked, usage, cost }) {
  return [
    `${files.length} files`,
    `${directories.length} folders`,
    `${skipped.length} skipped`,
    `${failed.length} failed`,
    `${requests} requests`,
    `${cached} kept`,
    `${masked} secrets masked`,
    `${usage.prompt_tokens}+${usage.completion_tokens} tokens`,
    money(cost),
  ].join(' · ')
}

/** @param {number | null} usd */
function money(usd) {
  return usd === null ? 'price unknown' : `$${Number(usd.toPrecision(3))}`
}

exports.analyze = analyze
exports.dryRun = dryRun
