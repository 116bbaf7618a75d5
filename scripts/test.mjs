// Runs the tests: the Rust ones, then every `__test__/*.test.mjs`.
//
//   npm test
//   npm test -- --testNamePattern="Provider"     JavaScript tests whose name matches (also -t)
//   npm test -- __test__/failover.test.mjs       these files
//
// Fails when a test file ran no test, and when a pattern matches none: a test that is not run looks like one that passes.

import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { parseArgs } from 'node:util'
import { cargoTarget, install, must, ROOT } from './shared.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { testNamePattern: { type: 'string', short: 't' } },
})
const pattern = values.testNamePattern
const chosen = positionals.map((path) => resolve(path))
const folder = join(ROOT, '__test__')
const files = chosen.length > 0 ? chosen : testFiles()

if (pattern === undefined && chosen.length === 0) must('cargo', ['test', ...cargoTarget()])
install(join(folder, 'clients'))

/** Files in which a test really ran. */
const ran = new Set()
const events = run({
  files,
  concurrency: availableParallelism(),
  ...(pattern === undefined ? {} : { testNamePatterns: [new RegExp(pattern)] }),
})
events.on('test:pass', note)
events.on('test:fail', (event) => {
  note(event)
  if (event.todo === undefined || event.todo === false) process.exitCode = 1
})
const report = events.compose(new spec())
report.on('end', () => {
  const silent = files.filter((file) => !ran.has(file))
  if (pattern !== undefined) {
    if (ran.size === 0) fail(`no test matches ${pattern}`)
  } else if (silent.length > 0) {
    fail(`no test ran in ${silent.map((file) => relative(ROOT, file)).join(', ')}`)
  }
})
report.pipe(process.stdout)

function testFiles() {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.test.mjs'))
    .sort()
    .map((name) => join(folder, name))
}

/** @param {any} event */
function note({ name, file, skip, details }) {
  // A suite is no test, and a file without tests is reported as one test of its own name.
  const isTest = file !== undefined && details.type !== 'suite' && resolve(name) !== file
  if (isTest && (skip === undefined || skip === false)) ran.add(file)
}

/** @param {string} message */
function fail(message) {
  process.exitCode = 1
  console.error(`\n${message}`)
}
