// Installs the development tools when they are missing or older than the lockfile, so that every other command works
// from a clean clone. With a folder, what that folder needs: `node scripts/bootstrap.mjs __test__/clients`.

import { resolve } from 'node:path'
import { install, ROOT } from './shared.mjs'

install(resolve(ROOT, process.argv[2] ?? '.'))
