// The examples of structured output and embeddings do what they say, against an upstream on this machine.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { Upstream, completion } from './support/upstream.mjs'
import { ROOT, runNode } from './support/child.mjs'
import { bounded } from './support/wait.mjs'

/** Answers a question about a capital, and embeds texts so that cold ones lie together. */
const answers = (exchange) => {
  const { input } = exchange.json
  if (input === undefined) return exchange.reply(200, completion('{"city":"Helsinki","celsius":-4}'))
  const data = input.map((text, index) => ({ index, embedding: /cold|Winter/.test(text) ? [1, 0] : [0, 1] }))
  exchange.reply(200, { data, usage: { prompt_tokens: 4, total_tokens: 4 } })
}

const said = {
  'structured-output': 'openai says: Helsinki at -4 °C\n',
  embeddings: 'Winter in Norway\n',
}

describe('Examples', () => {
  for (const [name, stdout] of Object.entries(said)) {
    it(name, bounded, async (t) => {
      const upstream = await Upstream.start(t, answers)
      const env = { OPENAI_API_KEY: 'a-key', OPENAI_BASE_URL: upstream.base }
      const run = await runNode(t, '', { file: `${ROOT}examples/${name}.mjs`, env, cwd: ROOT })
      assert.deepEqual({ code: run.code, stdout: run.stdout, stderr: run.stderr }, { code: 0, stdout, stderr: '' })
    })
  }
})
