// Writes what OpenAI's own OpenAPI document says of the requests that the pool sends, as data for a test:
//
//   git clone https://github.com/openai/openai-openapi
//   node scripts/update-openai-schema.mjs openai-openapi/openapi.json COMMIT DATE
//
// Only the schemas of the two requests and what they refer to; what describes them in words stays out. `nullable` is a
// word of OpenAPI 3.0 that JSON Schema does not know, so it becomes the alternative it stands for.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './shared.mjs'

const REQUESTS = ['CreateChatCompletionRequest', 'CreateEmbeddingRequest']
const WORDS = ['default', 'deprecated', 'description', 'discriminator', 'example', 'examples', 'title']
const AT = '#/components/schemas/'

const [path, commit, date] = process.argv.slice(2)
if (date === undefined) throw new Error('usage: update-openai-schema.mjs openapi.json COMMIT DATE')
const document = JSON.parse(readFileSync(path, 'utf8'))

/** @type {Record<string, unknown>} */
const kept = {}
for (const name of REQUESTS) keep(name)
const fixture = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  $comment:
    `From ${document.info.title} ${document.info.version}, openapi.json of github.com/openai/openai-openapi at ` +
    `${commit} (${date}), Copyright (c) OpenAI (https://openai.com), MIT License. Written by ` +
    'scripts/update-openai-schema.mjs, which left out descriptions and whatever these requests do not refer to.',
  $defs: Object.fromEntries(Object.entries(kept).sort(([a], [b]) => (a < b ? -1 : 1))),
}
const file = '__test__/fixtures/schema/openai.json'
writeFileSync(join(ROOT, file), `${JSON.stringify(fixture, null, 1)}\n`)
console.log(`${file}: ${Object.keys(kept).length} schemas`)

/** @param {string} name */
function keep(name) {
  if (name in kept) return
  kept[name] = true // before it is read: it may refer to itself
  kept[name] = schema(document.components.schemas[name])
}

/**
 * @param {any} value
 * @returns {any}
 */
function schema(value) {
  if (Array.isArray(value)) return value.map(schema)
  if (value === null || typeof value !== 'object') return value
  /** @type {Record<string, any>} */
  const said = {}
  for (const [key, inner] of Object.entries(value)) {
    if (key === 'properties' || key === '$defs') {
      said[key] = Object.fromEntries(Object.entries(inner).map(([name, one]) => [name, schema(one)]))
    } else if (key === '$ref') {
      const name = inner.slice(AT.length)
      keep(name)
      said.$ref = `#/$defs/${name}`
    } else if (key === 'enum' || key === 'const') {
      said[key] = inner
    } else if (!WORDS.includes(key) && key !== 'nullable' && !key.startsWith('x-')) {
      said[key] = schema(inner)
    }
  }
  return value.nullable === true ? { anyOf: [said, { type: 'null' }] } : said
}
