// What must be there before anything is measured: the peers, and a release build of this package.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const BENCH = path.dirname(fileURLToPath(import.meta.url))
const ROOT = path.dirname(BENCH)
/** Everything the addon is made from. */
const SOURCES = ['src', 'build.rs', 'Cargo.toml', 'Cargo.lock']

/** Installs the peers when they are missing or when the lock file has changed since. */
export function installPeers() {
  const installed = modified(path.join(BENCH, 'node_modules', '.package-lock.json'))
  if (installed >= modified(path.join(BENCH, 'package-lock.json'))) return
  say('installing the peers into bench/node_modules')
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], BENCH)
}

/** Builds the addon unless a release build of the present sources is in place. */
export function buildAddon() {
  const addon = findAddon()
  const reason =
    addon === null
      ? 'there is no addon'
      : addon.profile !== 'release'
        ? 'the addon is not a release build'
        : addon.modified < newest(SOURCES.map((name) => path.join(ROOT, name)))
          ? 'the addon is older than its sources'
          : null
  if (reason === null) return
  say(`${reason}: npm run build (a release build takes minutes)`)
  run('npm', ['run', 'build'], ROOT)
}

/**
 * The addon of this checkout: `profile` is `release`, `debug` or `unknown` (built elsewhere). Its `fingerprint` shows whether another
 * build has replaced it while the bench was running.
 */
export function findAddon() {
  const name = readdirSync(ROOT).find((file) => file.startsWith('llmpool.') && file.endsWith('.node'))
  if (!name) return null
  const bytes = readFileSync(path.join(ROOT, name))
  const fingerprint = createHash('sha256').update(bytes).digest('hex')
  return {
    name,
    megabytes: Number((bytes.length / 1e6).toFixed(1)),
    modified: modified(path.join(ROOT, name)),
    profile: profileOf(fingerprint),
    fingerprint,
  }
}

/** napi copies what cargo linked, so the two can be compared byte for byte. */
function profileOf(fingerprint) {
  for (const profile of ['release', 'debug']) {
    const built = path.join(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target'), profile)
    for (const library of ['libllmpool.so', 'libllmpool.dylib', 'llmpool.dll']) {
      const file = path.join(built, library)
      if (existsSync(file) && createHash('sha256').update(readFileSync(file)).digest('hex') === fingerprint)
        return profile
    }
  }
  return 'unknown'
}

function newest(paths) {
  let latest = 0
  for (const each of paths) {
    const inside = existsSync(each) && statSync(each).isDirectory() ? readdirSync(each) : []
    latest = Math.max(latest, inside.length > 0 ? newest(inside.map((name) => path.join(each, name))) : modified(each))
  }
  return latest
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
