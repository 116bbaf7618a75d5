// From samples to tables. A figure is the median over rounds; a ratio is taken inside each round, where both peers met
// the same machine, and shown as the median with the smallest and the largest.

import { REFERENCES, requestsPerCall as wantedPerCall } from './cases.mjs'
import { MESSAGES_PATH, PATH, requestsOf } from './exchange.mjs'

const [FIRST] = REFERENCES

/** What is measured of a peer, and against whom it is also told as a ratio. What a case does not have is left out. */
const MEASURES = [
  { key: 'cpuMicros', title: 'CPU µs/call', digits: 0, against: REFERENCES },
  { key: 'chunkMicros', title: 'CPU µs/chunk', digits: 1 },
  { key: 'jsMicros', title: 'JS thread µs/call', digits: 0, against: [FIRST] },
  { key: 'reqPerSec', title: 'req/s', digits: 0, against: [FIRST] },
  { key: 'firstMillis', title: 'first text p50 ms', digits: 2 },
  { key: 'p50Millis', title: 'p50 ms', digits: 2 },
  { key: 'p99Millis', title: 'p99 ms', digits: 2 },
  { key: 'rssMegabytes', title: 'RSS MB', digits: 0 },
]

/** On what, how, and with which build it was measured. */
export function heading({ machine, pins, settings, loadBefore, addon }) {
  const { warm, seconds, rounds } = settings
  return [
    machineLine(machine),
    pins
      ? `Pinned: upstream on core ${pins.upstream}, clients on core ${pins.clients}.`
      : 'Not pinned: upstream and clients share all cores.',
    `Rounds: ${rounds}. Each slice ${warm} s of warm-up and ${seconds} s measured, in a fresh process. Load average ${loadBefore.join(' ')}.`,
    ...addonLines(addon),
  ].join('\n')
}

export function machineLine({ cpu, cores, memoryGigabytes, system, node }) {
  return `llmpool bench: ${cpu}, ${cores} cores, ${memoryGigabytes} GB, ${system}, Node ${node}`
}

export function addonLines(addon) {
  if (!addon) return []
  const { name, profile, megabytes } = addon
  const lines = [`Addon ${name}: ${profile} build, ${megabytes} MB.`]
  if (profile !== 'release')
    lines.push(`WARNING: THE ADDON IS NOT KNOWN TO BE A RELEASE BUILD (${profile}): what it costs below says nothing.`)
  return lines
}

/** By case, by peer: a spread for each measure, and one for each ratio against each reference. */
export function summarize(samples, cases, partOf) {
  return cases.map((row) => ({
    case: row.name,
    title: row.title,
    peers: partOf(row).map((peer) =>
      summarizePeer(
        peer,
        samples.filter((sample) => sample.case === row.name),
      ),
    ),
  }))
}

function summarizePeer(peer, samples) {
  const own = samples.filter((sample) => sample.peer === peer)
  const figures = {}
  const ratios = {}
  for (const { key, against = [] } of MEASURES) {
    figures[key] = spread(own.map((sample) => sample[key]))
    ratios[key] = Object.fromEntries(
      against.map((reference) => [reference, spread(own.map((sample) => ratioOf(sample, reference, key, samples)))]),
    )
  }
  return { peer, rounds: own.length, figures, ratios }
}

/** Within the round: both met the same machine. */
function ratioOf(sample, reference, key, samples) {
  const other = samples.find(({ peer, round }) => peer === reference && round === sample.round)
  return other && sample[key] !== null ? sample[key] / other[key] : null
}

export function caseTable({ title, peers }) {
  const had = peers.filter(({ rounds }) => rounds > 0)
  if (had.length === 0) return `${title}\n\nNo peer took part.`
  const columns = MEASURES.filter(({ key }) => had.some(({ figures }) => figures[key])).flatMap(
    ({ key, title, digits, against = [] }) => [
      { title, cell: ({ figures }) => (figures[key] ? figures[key].median.toFixed(digits) : '–') },
      ...against
        .filter((reference) => had.some(({ peer }) => peer === reference))
        .map((reference) => ({
          title: `× ${reference} (min–max)`,
          cell: ({ peer, ratios }) => (peer === reference ? '1' : ratioText(ratios[key][reference])),
        })),
    ],
  )
  const header = ['peer', ...columns.map((column) => column.title)]
  const rows = had.map((each) => [each.peer, ...columns.map(({ cell }) => cell(each))])
  return `${title}\n\n${table(header, rows)}`
}

export function importTable(imports) {
  const rows = imports.map(({ peer, version, millis }) => {
    if (millis.length === 0) return [peer, version, '–', '–']
    const { median, min, max } = spread(millis)
    return [peer, version, median.toFixed(1), `${min.toFixed(1)}–${max.toFixed(1)}`]
  })
  return `Import, each time in a fresh process\n\n${table(['peer', 'version', 'ms', 'min–max'], rows, 2)}`
}

/** What each peer really asked for: the reader can see that the work is the same. */
export function wireTable(wires) {
  const rows = wires.map(({ peer, first, row }) => {
    if (!first) return [peer, 'nothing came', '–', '–', '–', '–']
    const [requestLine, ...headers] = first.head.trimEnd().split('\r\n')
    const sizes = [headers.length, first.head.length, Buffer.byteLength(first.body)]
    return [peer, requestLine, compare(first, row), ...sizes.map(String)]
  })
  return `First request of each peer, as the upstream saw it\n\n${table(
    ['peer', 'request line', 'body, against the task', 'headers', 'head bytes', 'body bytes'],
    rows,
    3,
  )}`
}

function compare({ head, body }, row) {
  if (head.startsWith(`POST ${MESSAGES_PATH} `)) return 'in the shape of its API'
  if (!head.startsWith(`POST ${PATH} `)) return 'another path'
  const sent = JSON.parse(body)
  const wanted = requestsOf(row)(0)
  const more = Object.keys(sent).filter((key) => !(key in wanted))
  const wrong = Object.keys(wanted).filter((key) => {
    // Several lanes start at once: whose request comes first is not said, so the number is left out.
    const text = (value) => JSON.stringify(value)?.replace(/ \(\d+\)/, '')
    return text(sent[key]) !== text(wanted[key])
  })
  if (wrong.length > 0) return `differs in ${wrong.join(', ')}`
  return more.length > 0 ? `the same, and ${more.join(', ')}` : 'the same'
}

/** Whether the upstream had room left. */
export function upstreamText(samples, cases) {
  const parts = cases.flatMap(({ name }) => {
    const shares = spread(samples.filter((sample) => sample.case === name).map((sample) => sample.upstreamShare))
    return shares ? [`${name}: median ${percent(shares.median)}, at most ${percent(shares.max)}`] : []
  })
  return `CPU of the upstream, of one core: ${parts.join('; ')}.`
}

/** What a reader should know before believing a figure. */
export function doubts(samples, cases) {
  const found = []
  const busiest = Math.max(0, ...samples.map((sample) => sample.upstreamShare))
  if (busiest > 0.8) found.push(`the upstream used ${percent(busiest)} of a core: it may have held somebody back`)
  for (const [key, what] of [
    ['othersShare', 'other processes were busy'],
    ['stolenShare', 'the host of this virtual machine kept its CPU back'],
  ]) {
    const disturbed = samples.map((sample) => sample[key]).filter((share) => share > 0.1)
    if (disturbed.length === 0) continue
    const most = percent(Math.max(...disturbed))
    found.push(
      `${what} in ${disturbed.length} of ${samples.length} slices (up to ${most} of a core): repeat when it is quiet`,
    )
  }
  for (const { peer, case: row, round, requestsPerCall, unreadable } of samples) {
    const wanted = wantedPerCall(cases.find(({ name }) => name === row))
    if (wanted !== null && requestsPerCall !== wanted)
      found.push(`${peer}, ${row}, round ${round + 1}: ${requestsPerCall.toFixed(3)} requests per call`)
    if (unreadable > 0)
      found.push(`${peer}, ${row}, round ${round + 1}: ${unreadable} requests the upstream could not read`)
  }
  return found
}

export function spread(values) {
  const sorted = values.filter((value) => value !== null && value !== undefined).sort((a, b) => a - b)
  if (sorted.length === 0) return null
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  return { median, min: sorted[0], max: sorted.at(-1) }
}

function ratioText(ratio) {
  if (!ratio) return '–'
  const text = (value) => value.toFixed(value < 10 ? 2 : 1)
  return `${text(ratio.median)} (${text(ratio.min)}–${text(ratio.max)})`
}

/** Markdown that also reads well in a terminal: first the columns of text, set left, then those of figures, set right. */
export function table(header, rows, texts = 1) {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column].length)))
  const line = (cells) =>
    `| ${cells.map((cell, c) => (c < texts ? cell.padEnd(widths[c]) : cell.padStart(widths[c]))).join(' | ')} |`
  const rule = `|${widths.map((width, c) => (c < texts ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return [line(header), rule, ...rows.map(line)].join('\n')
}

function percent(share) {
  return `${Math.round(share * 100)} %`
}
