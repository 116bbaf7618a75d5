// The shipped OpenAPI document as a source of requests, and as a judge of answers.

import { readFileSync } from 'node:fs'
import Ajv2020 from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import fc from 'fast-check'

export const TEXT = readFileSync(new URL('../../schema/openapi.json', import.meta.url), 'utf8')
export const DOCUMENT = JSON.parse(TEXT)

/** What a `$ref` of the document points at. */
export function resolve(value) {
  if (value?.$ref === undefined) return value
  const steps = value.$ref.slice(2).split('/')
  return resolve(steps.reduce((at, step) => at[step], DOCUMENT))
}

/** Every operation, by the name of its route. */
export const OPERATIONS = Object.entries(DOCUMENT.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })),
)

/** The schema of the JSON that an operation reads. */
export const bodySchema = ({ requestBody }) => requestBody.content['application/json'].schema

// === judging ===

const ajv = addFormats(new Ajv2020({ strict: false, validateFormats: false }))
// References stay what they are, to the one document.
ajv.addSchema({ $id: 'document', ...DOCUMENT })
const compiled = new Map()

/** What is wrong with a value; `null`: nothing. */
export function misfit(schema, value) {
  const key = JSON.stringify(schema)
  if (!compiled.has(key)) compiled.set(key, ajv.compile(JSON.parse(key.replaceAll('"$ref":"#', '"$ref":"document#'))))
  const validate = compiled.get(key)
  return validate(value) ? null : ajv.errorsText(validate.errors)
}

// === requests ===

/** Values that fit a schema. Where it has examples they are taken: some texts mean something. */
export function fitting(schema, depth = 0) {
  const { examples, anyOf, type } = resolve(schema)
  if (examples) return fc.constantFrom(...examples)
  if (anyOf) return choose(anyOf, depth)
  if (Array.isArray(type)) return fc.oneof(...type.map((each) => one({ ...resolve(schema), type: each }, depth)))
  return one(resolve(schema), depth)
}

/** Deep down only what has no parts of its own, so that a block in a block comes to an end. */
function choose(schemas, depth) {
  const isLeaf = (schema) => !['object', 'array'].includes(resolve(schema).type) && !resolve(schema).anyOf
  const leaves = schemas.filter(isLeaf)
  const some = depth > 6 && leaves.length > 0 ? leaves : schemas
  return fc.oneof(...some.map((each) => fitting(each, depth + 1)))
}

const KINDS = {
  null: () => fc.constant(null),
  boolean: () => fc.boolean(),
  integer: ({ minimum = -1000, maximum = 1000 }) => fc.integer({ min: minimum, max: Math.min(maximum, 2 ** 31 - 1) }),
  number: ({ minimum = -1000, maximum = 1000 }) =>
    fc.double({ min: minimum, max: maximum, noNaN: true, noDefaultInfinity: true }),
  string: ({ minLength = 0, maxLength = 20, pattern }) =>
    pattern ? fc.stringMatching(new RegExp(pattern)) : fc.string({ minLength, maxLength, unit: 'grapheme' }),
  // An empty list may be taken and still leave nothing to do, which no schema can say.
  array: ({ items, minItems = 1 }, depth) => fc.array(fitting(items, depth + 1), { minLength: minItems, maxLength: 3 }),
  object: ({ properties, required = [], additionalProperties, propertyNames }, depth) => {
    const names = fc.string({ minLength: propertyNames?.minLength, maxLength: 8 })
    if (properties === undefined) return fc.dictionary(names, value(additionalProperties, depth), { maxKeys: 5 })
    const fields = Object.entries(properties).map(([name, schema]) => [name, fitting(schema, depth + 1)])
    return fc.record(Object.fromEntries(fields), { requiredKeys: required })
  },
}

const value = (schema, depth) =>
  schema ? fitting(schema, depth + 1) : fc.oneof(fc.string(), fc.integer(), fc.boolean())

function one(schema, depth) {
  if (schema.const !== undefined) return fc.constant(schema.const)
  if (schema.enum) {
    const mine = schema.enum.filter((each) => schema.type === undefined || KIND_OF(each) === schema.type)
    return fc.constantFrom(...(mine.length > 0 ? mine : schema.enum))
  }
  const kind = KINDS[schema.type]
  return kind ? kind(schema, depth) : fc.jsonValue({ maxDepth: 1 })
}

function KIND_OF(value) {
  if (value === null) return 'null'
  return Number.isInteger(value) ? 'integer' : typeof value
}

/** What a value somewhere in a request is replaced by. */
const STRANGE = fc.oneof(
  fc.constantFrom(null, true, '', -1, 0, 1e308, 2 ** 53, [], {}, [[]], 'x'.repeat(2000), '\u0000', '\ud800'),
  fc.jsonValue({ maxDepth: 2 }),
)

/** Requests of which one place is not what it was, or is not there: most of them fit no more. */
export function mangled(schema) {
  return fc.tuple(fitting(schema), fc.nat(), fc.option(STRANGE, { freq: 3 })).map(([request, where, strange]) => {
    const copy = structuredClone(request)
    const places = placesOf(copy)
    if (places.length === 0) return strange
    const [holder, key] = places[where % places.length]
    // `null` of `option` takes the field out.
    if (strange === null) Array.isArray(holder) ? holder.splice(key, 1) : delete holder[key]
    else holder[key] = strange
    return copy
  })
}

function placesOf(value) {
  if (typeof value !== 'object' || value === null) return []
  return Object.keys(value).flatMap((key) => [[value, key], ...placesOf(value[key])])
}
