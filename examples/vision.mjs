// Asks what is on a picture, from a file or from the web.
//
//   node examples/vision.mjs config.json photo.png
//   node examples/vision.mjs config.json https://example.com/photo.jpg

import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { createImageMessage, LLMPool } from 'llmpool'

const TYPES = {
  '.gif': 'image/gif',
  '.jpeg': 'image/jpeg',
  '.jpg': 'image/jpeg',
  '.png': 'image/png',
  '.webp': 'image/webp',
}

const [configPath, picture] = process.argv.slice(2)
if (picture === undefined) throw new Error('usage: node examples/vision.mjs CONFIG PICTURE')

/** A file becomes a data URI, which every provider with eyes takes; an address is fetched by the provider. */
async function urlOf(place) {
  if (/^https:/.test(place)) return place
  const type = TYPES[extname(place).toLowerCase()]
  if (type === undefined) throw new Error(`${place}: expected ${Object.keys(TYPES).join(', ')}`)
  return `data:${type};base64,${(await readFile(place)).toString('base64')}`
}

const pool = await LLMPool.create({ configPath })
const message = createImageMessage('user', 'What is on this picture, in one sentence?', await urlOf(picture), 'low')
const { content, provider, warnings } = await pool.chat([message])
console.log(`${provider}: ${content}`)
for (const warning of warnings) console.error(`(${warning})`)
await pool.shutdown()
