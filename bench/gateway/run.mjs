// `npm run bench:gateway`: an open loop of requests through the gateway, to an upstream that takes 20 ms, each of the
// three in a process of its own. The same load straight at the upstream says what of a latency is not the gateway's.

import { mkdirSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { describeMachine, loadAverage, stolenMillis } from '../machine.mjs'
import { Child, choosePins } from '../processes.mjs'
import { addonLines, machineLine, table } from '../report.mjs'
import { buildAddon, findAddon, installPeers } from '../setup.mjs'

const DELAY_MILLIS = 20
/** Compiled code, open connections and grown heaps are what a running service has. */
const WARM_UP = 1000
const RESULTS = new URL('../results/', import.meta.url)

const USAGE = `npm run bench:gateway -- [options]

  --requests N   how many (20000)
  --rate N       how many a second (200)
  --no-pin       leave the gateway and the rest on any core
  --no-build     take the addon as it is
  --save NAME    what the files in bench/results begin with (gateway)
`

const settings = readSettings()
if (settings) {
  try {
    await main(settings)
  } catch (error) {
    process.stderr.write(`bench: ${error.message}\n`)
    process.exitCode = 1
  }
}

function readSettings() {
  const options = {
    requests: { type: 'string', default: '20000' },
    rate: { type: 'string', default: '200' },
    save: { type: 'string', default: 'gateway' },
    'no-pin': { type: 'boolean' },
    'no-build': { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  }
  try {
    const { values } = parseArgs({ options })
    if (values.help) {
      process.stdout.write(USAGE)
      return null
    }
    const [requests, rate] = ['requests', 'rate'].map((name) => {
      const value = Number(values[name])
      if (!Number.isInteger(value) || value < 1) throw new Error(`--${name}: must be a whole number, 1 or more`)
      return value
    })
    if (!/^[\w.-]+$/.test(values.save)) throw new Error('--save: must be a name of letters, digits, . _ or -')
    return { requests, rate, save: values.save, pin: !values['no-pin'], build: !values['no-build'] }
  } catch (error) {
    process.stderr.write(`bench: ${error.message}\n\n${USAGE}`)
    process.exitCode = 2
    return null
  }
}

async function main({ requests, rate, save, pin, build }) {
  installPeers()
  if (build) buildAddon()
  const about = { machine: describeMachine(), addon: findAddon(), pins: pin ? choosePins() : null }
  const loadBefore = loadAverage()
  const figures = await measure({ requests, rate, pins: about.pins })
  const record = {
    date: new Date().toISOString(),
    ...about,
    settings: { requests, rate, delayMillis: DELAY_MILLIS },
    loadBefore,
    loadAfter: loadAverage(),
    ...figures,
  }
  const said = `${report(record)}\n`
  process.stdout.write(said)
  mkdirSync(RESULTS, { recursive: true })
  const name = `${save}-node-${/^v(\d+)/.exec(about.machine.node)[1]}`
  writeFileSync(new URL(`${name}.json`, RESULTS), `${JSON.stringify(record)}\n`)
  writeFileSync(new URL(`${name}.md`, RESULTS), said)
  if (figures.failures.count > 0) process.exitCode = 1
}

/** Everything but the gateway shares a core; the gateway has one for itself. */
async function measure({ requests, rate, pins }) {
  const upstream = new Child('upstream.mjs', [], pins?.upstream)
  const origin = `http://127.0.0.1:${(await upstream.next('listening')).ports[0]}`
  await upstream.ask({ type: 'begin', case: { delayMillis: DELAY_MILLIS } })
  const gateway = new Child('gateway/server.mjs', [origin], pins?.clients)
  try {
    const target = (await gateway.next('listening')).origin
    const load = (job, halfway) => run({ rate, ...job }, pins?.upstream, halfway)
    const straight = await load({ origin, requests: Math.min(requests, 5000) })
    await load({ origin: target, requests: WARM_UP })

    const look = () => gateway.ask({ type: 'look' })
    await upstream.ask({ type: 'begin', case: { delayMillis: DELAY_MILLIS } })
    const stolen = stolenMillis()
    const start = await look()
    let middle
    const through = await load({ origin: target, requests }, async () => {
      middle = await look()
    })
    const end = await look()
    const { seen } = await upstream.ask({ type: 'look' })
    const cpu = (from, to) => (to.userMicros - from.userMicros + to.systemMicros - from.systemMicros) / requests
    return {
      failures: through.failures,
      seconds: through.seconds,
      cpuMicrosPerRequest: cpu(start, end),
      userMicrosPerRequest: (end.userMicros - start.userMicros) / requests,
      latencyMillis: { straight: straight.latency, through: through.latency },
      rssMegabytes: { start: start.rssMegabytes, middle: middle.rssMegabytes, end: end.rssMegabytes },
      upstream: { requests: seen.requests, connections: seen.connections, unreadable: seen.unreadable },
      stolenMillis: stolenMillis() - stolen,
    }
  } finally {
    gateway.stop()
    upstream.stop()
  }
}

async function run(job, core, halfway = () => {}) {
  const load = new Child('gateway/load.mjs', [JSON.stringify(job)], core)
  const millis = (job.requests / job.rate) * 1000 + 60_000
  try {
    await load.next('half', millis)
    await halfway()
    return await load.next('result', millis)
  } finally {
    load.stop()
  }
}

function report({ machine, addon, pins, settings, loadBefore, loadAfter, ...figures }) {
  const { failures, cpuMicrosPerRequest, userMicrosPerRequest, latencyMillis, rssMegabytes, upstream } = figures
  const { straight, through } = latencyMillis
  const millis = (value) => value?.toFixed(2) ?? '–'
  const over = (name) => (through[name] === null ? '–' : millis(through[name] - straight[name]))
  const latencies = table(
    ['latency, ms', 'p50', 'p99', 'max'],
    [
      ['straight at the upstream', ...['p50', 'p99', 'max'].map((name) => millis(straight[name]))],
      ['through the gateway', ...['p50', 'p99', 'max'].map((name) => millis(through[name]))],
      ['the difference', ...['p50', 'p99', 'max'].map(over)],
    ],
  )
  const { requests, rate, delayMillis } = settings
  return [
    machineLine(machine),
    pins
      ? `Pinned: the gateway on core ${pins.clients}, load and upstream on core ${pins.upstream}.`
      : 'Not pinned: gateway, load and upstream share all cores.',
    `${requests} requests at ${rate}/s in an open loop, after ${WARM_UP} to warm up; the upstream takes ${delayMillis} ms.`,
    ...addonLines(addon),
    '',
    `failures: ${failures.count}${failures.first ? `, the first with ${failures.first}` : ''}`,
    `CPU of the gateway's process per request: ${cpuMicrosPerRequest.toFixed(0)} µs (${userMicrosPerRequest.toFixed(0)} of them in user mode)`,
    `RSS of the gateway's process: ${['start', 'middle', 'end'].map((at) => `${rssMegabytes[at].toFixed(1)} MB at the ${at}`).join(', ')}`,
    `the upstream saw ${upstream.requests} requests, ${upstream.connections} new connections`,
    '',
    latencies,
    '',
    `Load average before ${loadBefore.join(' ')}, after ${loadAfter.join(' ')}.`,
  ].join('\n')
}
