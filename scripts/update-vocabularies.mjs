// Writes the vocabularies that `src/tokens` embeds, from the development dependency `tiktoken` (MIT). They are fixed for
// ever: a new encoding is a new file. Each token is its length in one byte and then its bytes, in the order of its rank.

import { createRequire } from 'node:module'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './shared.mjs'

const require = createRequire(import.meta.url)

for (const name of ['o200k_base', 'cl100k_base']) {
  /** @type {string} */
  const ranks = require(`tiktoken/encoders/${name}.json`).bpe_ranks
  const pieces = []
  let rank = 0
  for (const line of ranks.split('\n').filter((text) => text !== '')) {
    const [, first, ...tokens] = line.split(' ')
    if (Number(first) !== rank) throw new Error(`${name}: rank ${rank} is missing`)
    for (const token of tokens) {
      const bytes = Buffer.from(token, 'base64')
      pieces.push(Buffer.of(bytes.length), bytes)
    }
    rank += tokens.length
  }
  const file = Buffer.concat(pieces)
  writeFileSync(join(ROOT, `src/tokens/vocabulary/${name}.bin`), file)
  console.log(`${name}: ${rank} tokens, ${file.length} bytes`)
}
