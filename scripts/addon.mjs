// Builds the addon: `llmpool.<platform>.node`, `binding.js`, `binding.d.ts`.
//
//   node scripts/addon.mjs             debug
//   node scripts/addon.mjs --release   optimised
//   node scripts/addon.mjs --any       whichever is there, if it is up to date
//
// Nothing happens when what is there was built from these very sources.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { ask, must, ROOT, tool } from './shared.mjs'

const { values: options } = parseArgs({ options: { release: { type: 'boolean' }, any: { type: 'boolean' } } })
const profile = options.release ? 'release' : 'debug'
const STAMP = join(ROOT, 'target', 'addon.json')

if (!isUpToDate()) build()

function build() {
  const [node, napi] = tool('@napi-rs/cli/dist/cli.js')
  const generated = ['--js', 'binding.js', '--dts', 'binding.d.ts', '--no-const-enum']
  const mode = options.release ? ['--release'] : ['--', ...testFeatures()]
  must(node, [napi, 'build', '--platform', ...generated, ...mode])
  mkdirSync(join(ROOT, 'target'), { recursive: true })
  writeFileSync(STAMP, JSON.stringify({ profile, sources: sources(), addon: addon() }))
}

/**
 * Features that dev-dependencies add to a dependency. A debug addon is built with them too: cargo would otherwise
 * compile that dependency, and all that stands on it, once for the addon and once for the tests.
 */
function testFeatures() {
  const { packages } = JSON.parse(ask('cargo', ['metadata', '--format-version', '1', '--no-deps']))
  /** @type {{ name: string, kind: string | null, features: string[] }[]} */
  const dependencies = packages[0].dependencies
  const normal = new Map(dependencies.filter(({ kind }) => kind === null).map((each) => [each.name, each]))
  const added = dependencies
    .filter(({ kind, name }) => kind === 'dev' && normal.has(name))
    .flatMap(({ name, features }) => features.map((feature) => `${name}/${feature}`))
  return added.length > 0 ? ['--features', added.join(',')] : []
}

function isUpToDate() {
  if (!existsSync(STAMP)) return false
  const built = JSON.parse(readFileSync(STAMP, 'utf8'))
  return (options.any || built.profile === profile) && built.addon === addon() && built.sources === sources()
}

/** The addon as it lies there; someone else may have built over it. */
function addon() {
  const outputs = readdirSync(ROOT).filter((name) => /^llmpool\..+\.node$|^binding\.(js|d\.ts)$/.test(name))
  return outputs
    .sort()
    .map((name) => `${name} ${statSync(join(ROOT, name)).mtimeMs}`)
    .join(', ')
}

/** One hash over everything the addon is made from. */
function sources() {
  const hash = createHash('sha256')
  const files = ['Cargo.toml', 'Cargo.lock', 'build.rs', 'package.json', 'schema/openapi.json']
  const single = files.map((name) => join(ROOT, name))
  const tree = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
  for (const path of [...single, ...tree.sort()])
    hash.update(relative(ROOT, path)).update('\0').update(readFileSync(path))
  return hash.digest('hex')
}
