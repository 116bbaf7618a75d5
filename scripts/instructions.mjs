// Counts the instructions of the pieces of the hot path (benches/instructions.rs, by callgrind) and holds them against the
// last ones that were written down. A count does not depend on how busy a machine is; it does on the compiler and on the
// versions of the crates, so a baseline of others is not compared with.
//
//   node scripts/instructions.mjs            exit code 1 when a piece does more than a tenth more than before
//   node scripts/instructions.mjs --write    writes bench/instructions.json anew

import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const BASELINE = path.join(ROOT, 'bench/instructions.json')
/** So often benches/instructions.rs runs what is counted. */
const TIMES = 1000
/** Less is noise: where a table grows, which branch an address takes. */
const TOLERANCE = 0.1

if (spawnSync('valgrind', ['--version']).status !== 0) {
  console.error('instructions: there is no valgrind here, nothing was counted')
  process.exit(0)
}

const program = build()
const now = { rustc: rustc(), lock: hash('Cargo.lock'), instructions: countAll(program) }

if (process.argv.includes('--write')) {
  writeFileSync(BASELINE, `${JSON.stringify(now, null, 2)}\n`)
  print(now.instructions, {})
} else {
  const before = existsSync(BASELINE) ? JSON.parse(readFileSync(BASELINE, 'utf8')) : {}
  const comparable = before.rustc === now.rustc && before.lock === now.lock
  const worse = print(now.instructions, comparable ? before.instructions : {})
  if (!comparable) console.error('instructions: there is no baseline of this compiler and lock file; --write makes one')
  if (worse.length > 0) {
    console.error(`instructions: more than before: ${worse.join(', ')}`)
    process.exitCode = 1
  }
}

function build() {
  const args = ['bench', '--bench', 'instructions', '--no-run', '--message-format=json']
  const output = execFileSync('cargo', args, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 2 ** 28,
  })
  const messages = output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
  return messages.findLast(({ executable, target }) => executable && target.name === 'instructions').executable
}

/** @param {string} program @returns {Record<string, number>} */
function countAll(program) {
  const names = execFileSync(program, { encoding: 'utf8' }).trim().split('\n')
  return Object.fromEntries(names.map((name) => [name, count(program, name)]))
}

/** Instructions of one run of a piece. @param {string} program @param {string} name */
function count(program, name) {
  const folder = mkdtempSync(path.join(tmpdir(), 'instructions-'))
  try {
    const out = path.join(folder, 'callgrind')
    const args = ['--tool=callgrind', '--toggle-collect=*counted*', `--callgrind-out-file=${out}`, program, name]
    const { status, stderr } = spawnSync('valgrind', args, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`valgrind ended with ${status}: ${stderr}`)
    const total = /^(?:summary|totals): (\d+)/m.exec(readFileSync(out, 'latin1'))
    if (!total) throw new Error('callgrind counted nothing')
    return Math.round(Number(total[1]) / TIMES)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * @param {Record<string, number>} instructions
 * @param {Record<string, number>} before
 * @returns {string[]} what does more than before
 */
function print(instructions, before) {
  const worse = []
  for (const [name, count] of Object.entries(instructions)) {
    const was = before[name]
    const change = was === undefined ? '' : ` (${count >= was ? '+' : ''}${(((count - was) / was) * 100).toFixed(1)} %)`
    console.log(`${String(count).padStart(10)}  ${name}${change}`)
    if (was !== undefined && count > was * (1 + TOLERANCE)) worse.push(name)
  }
  return worse
}

function rustc() {
  return execFileSync('rustc', ['--version'], { encoding: 'utf8' }).trim()
}

/** @param {string} file */
function hash(file) {
  return createHash('sha256')
    .update(readFileSync(path.join(ROOT, file)))
    .digest('hex')
}
