// A reader of OpenMetrics text that forgives nothing: what a scraper may refuse, it throws at.

import assert from 'node:assert/strict'

/** The endings that a sample of each type may have. */
const SUFFIXES = {
  counter: ['_total'],
  gauge: [''],
  histogram: ['_bucket', '_count', '_sum'],
  info: ['_info'],
}
const NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/

/** All samples of a text, as `name{label="value",…}` → number, and the families by name. */
export function readMetrics(text) {
  assert.ok(text.endsWith('# EOF\n'), 'ends with the end mark')
  const families = new Map()
  const samples = new Map()
  let current
  for (const line of text.slice(0, -'# EOF\n'.length).split('\n').slice(0, -1)) {
    const described = /^# (HELP|TYPE|UNIT) (\S+) (.+)$/.exec(line)
    if (described !== null) current = describe(families, current, described)
    else readSample(samples, current, line)
  }
  for (const family of families.values()) if (family.type === 'histogram') checkHistogram(family)
  return { families, samples }
}

function describe(families, current, [, what, name, value]) {
  if (current?.name !== name) {
    assert.ok(!families.has(name), `${name} comes in one piece`)
    assert.match(name, NAME)
    current = { name, samples: [] }
    families.set(name, current)
  }
  assert.equal(current.samples.length, 0, `${name} is described before its samples`)
  const field = what.toLowerCase()
  assert.equal(current[field], undefined, `${name} has one ${what}`)
  current[field] = value
  if (what === 'TYPE') assert.ok(value in SUFFIXES, `${name} is of a known type`)
  if (what === 'UNIT') assert.ok(name.endsWith(`_${value}`), `${name} ends with its unit`)
  return current
}

function readSample(samples, family, line) {
  const found = /^([a-zA-Z0-9_]+)(?:\{(.*)\})? (\S+)$/.exec(line)
  assert.ok(found !== null && family !== undefined, `a sample: ${line}`)
  const [, name, inside = '', value] = found
  assert.ok(
    SUFFIXES[family.type].some((suffix) => family.name + suffix === name),
    `${name} belongs to ${family.name}, a ${family.type}`,
  )
  const labels = readLabels(inside)
  const number = value === '+Inf' ? Infinity : Number(value)
  assert.ok(!Number.isNaN(number) && value.trim() !== '', `a number: ${line}`)
  if (family.type !== 'gauge') assert.ok(number >= 0, `${line} is not negative`)
  const key = keyOf(name, labels)
  assert.ok(!samples.has(key), `${key} comes once`)
  samples.set(key, number)
  family.samples.push({ name, labels, number })
}

function readLabels(inside) {
  const labels = {}
  let rest = inside
  while (rest !== '') {
    const found = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/.exec(rest)
    assert.ok(found !== null, `labels: ${rest}`)
    const [all, name, value] = found
    assert.ok(!(name in labels), `${name} comes once in ${inside}`)
    labels[name] = value.replaceAll(/\\(.)/g, (_, letter) => (letter === 'n' ? '\n' : letter))
    rest = rest.slice(all.length)
  }
  return labels
}

/** The way samples are named in the map: labels in the order of the alphabet. */
export function keyOf(name, labels) {
  const inside = Object.keys(labels)
    .sort()
    .map((label) => `${label}=${JSON.stringify(labels[label])}`)
  return inside.length === 0 ? name : `${name}{${inside.join(',')}}`
}

function checkHistogram(family) {
  const groups = new Map()
  for (const { name, labels, number } of family.samples) {
    const { le, ...rest } = labels
    const key = JSON.stringify(Object.entries(rest).sort())
    const group = groups.get(key) ?? { buckets: [] }
    groups.set(key, group)
    if (name.endsWith('_bucket')) group.buckets.push([le === '+Inf' ? Infinity : Number(le), number])
    else group[name.slice(family.name.length + 1)] = number
  }
  for (const [key, { buckets, count, sum }] of groups) {
    const what = `${family.name} ${key}`
    assert.equal(buckets.at(-1)?.[0], Infinity, `${what} ends with +Inf`)
    assert.equal(buckets.at(-1)[1], count, `${what}: the last bucket is the count`)
    assert.equal(typeof sum, 'number', `${what} has a sum`)
    for (let at = 1; at < buckets.length; at++) {
      assert.ok(buckets[at][0] > buckets[at - 1][0] && buckets[at][1] >= buckets[at - 1][1], `${what} rises`)
    }
  }
}
