// A Python with packages, for clients that are written in it.

import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './child.mjs'

/**
 * The interpreter of an environment that has what `requirements` lists, or `why` there is none here. It lies below
 * `target`, and is made anew when the list changes.
 */
export function pythonWith(requirements) {
  const environment = join(ROOT, 'target', 'python-clients')
  const command = join(environment, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python')
  const wanted = readFileSync(requirements, 'utf8')
  // Written last: an installation that was cut short has none.
  const stamp = join(environment, 'installed.txt')
  if (read(stamp) === wanted) return { command }
  rmSync(environment, { recursive: true, force: true })
  mkdirSync(join(ROOT, 'target'), { recursive: true })
  const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--requirement', requirements]
  const why = failure('python3', ['-m', 'venv', environment]) ?? failure(command, install)
  if (why !== null) return { why: `the Python clients cannot be installed here: ${why}` }
  writeFileSync(stamp, wanted)
  return { command }
}

function read(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}

/** Why a command failed, in its own last words. */
function failure(command, args) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout: 90_000 })
  if (status === 0) return null
  return error?.message ?? stderr.trim().split('\n').at(-1)
}
