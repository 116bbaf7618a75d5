// What the scripts have in common.

import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('..', import.meta.url))

/**
 * Runs a command in the checkout, its output on our own, and ends this process when it fails.
 *
 * @param {string} command
 * @param {string[]} args
 */
export function must(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}

/**
 * Runs a command and returns what it says.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {string} [cwd]
 */
export function ask(command, args, cwd = ROOT) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 2 ** 28 })
  if (error) throw error
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`)
  return stdout
}

/** npm as a command and its first arguments: on Windows `npm` itself is a shell script. */
export const NPM = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm']

/**
 * Installs what the lockfile of a folder names, when it is missing or older than that.
 *
 * @param {string} folder
 */
export function install(folder) {
  const wanted = join(folder, 'package-lock.json')
  const installed = join(folder, 'node_modules', '.package-lock.json')
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(wanted).mtimeMs) return
  const [npm, ...args] = NPM
  // No tool of ours needs a script of its own at install.
  must(npm, [...args, 'ci', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'])
}

/** The script of a development dependency, run by this Node. @param {string} path below node_modules */
export function tool(path) {
  return [process.execPath, join(ROOT, 'node_modules', path)]
}

/**
 * What cargo is told wherever it compiles, so that addon, tests and lints share one build. `napi build` always names
 * the target, which moves everything to a folder of its own.
 */
export function cargoTarget() {
  const host = /^host: (.+)$/m.exec(ask('rustc', ['-vV']))?.[1]
  return host ? ['--target', host] : []
}
