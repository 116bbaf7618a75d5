// Installs the development tools when they are missing or older than the lockfile, so that every other command works
// from a clean clone.

import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { must, NPM, ROOT } from './shared.mjs'

const wanted = join(ROOT, 'package-lock.json')
const installed = join(ROOT, 'node_modules', '.package-lock.json')

if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(wanted).mtimeMs) {
  const [npm, ...args] = NPM
  // No tool of ours needs a script of its own at install.
  must(npm, [...args, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'])
}
