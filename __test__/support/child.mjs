// Node processes of their own, for what only a whole process can show.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

export const ROOT = new URL('../../', import.meta.url).pathname
export const ENTRY = new URL('../../index.mjs', import.meta.url).href

/**
 * Runs `code` (an ES module; `ENTRY` is the package) or a `file`, and resolves with how the process ended. Its
 * environment is only what is given here. Nobody ends it but itself, unless the test is over.
 */
export function startNode(t, code, { env = {}, flags = [], file, args = [], cwd, stdin = false } = {}) {
  const script = file
    ? [file, ...args]
    : ['--input-type=module', '-e', `const ENTRY = ${JSON.stringify(ENTRY)};\n${code}`]
  return startProgram(t, process.execPath, [...flags, ...script], { cwd, env, stdin })
}

/** The same for any other program. */
export function startProgram(t, command, args, { env = {}, cwd, stdin = false } = {}) {
  const child = spawn(command, args, {
    cwd,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: [stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
  })
  t.after(() => child.kill('SIGKILL'))
  child.ended = Promise.all([once(child, 'exit'), text(child.stdout), text(child.stderr)]).then(
    ([[code, signal], stdout, stderr]) => ({ code, signal, stdout, stderr }),
  )
  return child
}

export const runNode = (t, code, options) => startNode(t, code, options).ended

/** A folder of the test's own, gone with it. */
export function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'llmpool-test-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}
