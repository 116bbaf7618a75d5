// What must be there before anything is measured: the peers, and a release build of this package.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const BENCH = path.dirname(fileURLToPath(import.meta.url))
const ROOT = path.dirname(BENCH)
/** What the build script notes about the addon it made. */
const STAMP = path.join(ROOT, 'target', 'addon.json')

/** Installs the peers when they are missing or when the lock file has changed since. */
export function installPeers() {
  const installed = modified(path.join(BENCH, 'node_modules', '.package-lock.json'))
  if (installed >= modified(path.join(BENCH, 'package-lock.json'))) return
  say('installing the peers into bench/node_modules')
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], BENCH)
}

/** A release build of the present sources. Takes minutes, or a moment when it is already there. */
export function buildAddon() {
  say('npm run build (a release build takes minutes when there is none of these sources)')
  run('npm', ['run', '--silent', 'build'], ROOT)
}

/**
 * The addon of this checkout: `profile` is `release`, `debug` or `unknown` (not built by `npm run build`). Its `fingerprint`
 * shows whether another build has replaced it while the bench was running.
 */
export function findAddon() {
  const name = readdirSync(ROOT).find((file) => file.startsWith('llmpool.') && file.endsWith('.node'))
  if (!name) return null
  const bytes = readFileSync(path.join(ROOT, name))
  return {
    name,
    megabytes: Number((bytes.length / 1e6).toFixed(1)),
    profile: profileOf(name),
    fingerprint: createHash('sha256').update(bytes).digest('hex'),
  }
}

/** The note is about this very file only when the time fits: somebody may have built over it by hand. */
function profileOf(name) {
  if (!existsSync(STAMP)) return 'unknown'
  const { profile, addon } = JSON.parse(readFileSync(STAMP, 'utf8'))
  return addon?.includes(`${name} ${modified(path.join(ROOT, name))}`) ? profile : 'unknown'
}

/** When a file was last written; 0 for one that is not there. */
function modified(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

function run(command, args, cwd) {
  // The table is what belongs on stdout.
  const { status, error } = spawnSync(command, args, {
    cwd,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  })
  if (error || status !== 0)
    throw new Error(`${command} ${args.join(' ')} failed (${error?.message ?? `exit code ${status}`})`)
}

function say(text) {
  process.stderr.write(`bench: ${text}\n`)
}
