'use strict'

// `llmpool check`: says everything that is wrong with a configuration, and starts nothing.

const { native, bridge, Call, open } = require('./bridge')
const { Failed } = require('./errors')

/**
 * @param {string} file
 * @returns {Promise<{ ok: boolean, file: string, providers: any[], problems: { path: string, message: string }[], warnings: string[], checksum: string | null }>}
 */
async function check(file) {
  const checker = new native.NativePool(bridge, JSON.stringify({ configPath: file }))
  const env = JSON.stringify(process.env)
  const outcome = await open(new Call(), (id) => checker.check(id, env)).outcome
  if (!(outcome instanceof Failed)) return { ok: true, file, problems: [], ...outcome }
  const error = /** @type {any} */ (outcome.error(check))
  if (error.problems === undefined) throw error
  return { ok: false, file, providers: [], problems: error.problems, warnings: [], checksum: null }
}

exports.check = check
