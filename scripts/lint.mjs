// Everything that can be said of the code without running it. All of it is checked, then the verdict follows.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cargoTarget, ROOT, tool } from './shared.mjs'

/** @type {[string, () => boolean][]} */
const CHECKS = [
  ['cargo fmt', () => passes(['cargo', 'fmt', '--check'])],
  ['biome', () => passes([...tool('@biomejs/biome/bin/biome'), 'ci', '--error-on-warnings'])],
  ['tsc', () => passes([...tool('typescript/bin/tsc'), '--project', '.'])],
  ['package-lock.json', lockfilesNameNoRegistry],
  ['cargo clippy', () => passes(['cargo', 'clippy', '--all-targets', ...cargoTarget(), '--', '-D', 'warnings'])],
  ['cargo doc', documentationHasNoWarnings],
]

const failed = CHECKS.filter(([name, check]) => {
  console.log(`\n== ${name}`)
  return !check()
}).map(([name]) => name)

console.log(failed.length === 0 ? '\nlint: all clean' : `\nlint: ${failed.join(', ')} failed`)
process.exitCode = failed.length === 0 ? 0 : 1

/** @param {string[]} command @param {Record<string, string>} [env] */
function passes([command, ...args], env = {}) {
  return spawnSync(command, args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...env } }).status === 0
}

/** As whoever uses the crate from Rust has it built: a link that leads nowhere is an error. */
function documentationHasNoWarnings() {
  const command = ['cargo', 'doc', '--no-deps', '--no-default-features', ...cargoTarget()]
  return passes(command, { RUSTDOCFLAGS: '-D warnings' })
}

/** Whoever installs uses the registry of their own configuration. */
function lockfilesNameNoRegistry() {
  const named = ['.', 'bench', '__test__/clients'].flatMap((folder) => {
    const { packages } = JSON.parse(readFileSync(join(ROOT, folder, 'package-lock.json'), 'utf8'))
    const resolved = Object.keys(packages).filter((path) => packages[path].resolved !== undefined)
    return resolved.map((path) => `${folder}: ${path}`)
  })
  if (named.length > 0) console.log(`these entries name where they were downloaded: ${named.join(', ')}`)
  return named.length === 0
}
