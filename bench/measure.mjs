// The rounds: which peer runs when, and what is watched around it while it does.

import { createRequire } from 'node:module'
import { busyMillis, stolenMillis } from './machine.mjs'
import { Child } from './processes.mjs'

/** All rounds: the samples, and by peer what it is and what it asked for first. */
export async function measure(settings, pins, notes) {
  const samples = []
  const about = new Map()
  /** Peers that did not load or broke down: there is nothing to expect of their next slice. */
  const lost = new Set()
  // Peers that run at the same time have an upstream each, so that its counts are of one peer.
  const upstreams = await startUpstreams(settings.together ? settings.peers : ['all'], pins)
  const slice = async ({ round, row, peer }) => {
    if (lost.has(peer)) return
    const where = `${peer}, ${row.name}, round ${round + 1}`
    progress(`${settings.together ? 'all peers' : where} of ${settings.rounds}`)
    try {
      const at = upstreams.get(settings.together ? peer : 'all')
      const { sample, errors, ...rest } = await runSlice({ peer, row, settings, core: pins?.clients, ...at })
      if (!about.has(peer)) about.set(peer, { ...rest, row })
      if (sample) samples.push({ round, case: row.name, peer, ...sample })
      if (errors.count > 0) notes.push(`${where}: ${errors.count} calls failed, the first with ${errors.first}`)
    } catch (error) {
      lost.add(peer)
      notes.push(`${where}: out from here on: ${error.message}`)
    }
  }
  try {
    if (settings.together) for (const group of groups(settings)) await Promise.all(group.map(slice))
    else for (const job of plan(settings)) await slice(job)
  } finally {
    progress('')
    for (const { upstream } of upstreams.values()) upstream.stop()
  }
  return { samples, about }
}

async function startUpstreams(names, pins) {
  const upstreams = new Map()
  for (const name of names) {
    const upstream = new Child('upstream.mjs', [], pins?.upstream)
    const { ports, tlsPort } = await upstream.next('listening')
    upstreams.set(name, { upstream, ports, tlsPort })
  }
  return upstreams
}

/** All peers of a case in a round. */
function* groups({ rounds, cases, partOf }) {
  for (let round = 0; round < rounds; round++) {
    for (const row of cases) yield partOf(row).map((peer) => ({ round, row, peer }))
  }
}

/** The order of the peers turns with each round, so that none always follows the same other. */
function* plan({ rounds, cases, partOf }) {
  for (let round = 0; round < rounds; round++) {
    for (const row of cases) {
      const peers = partOf(row)
      for (let turn = 0; turn < peers.length; turn++) yield { round, row, peer: peers[(turn + round) % peers.length] }
    }
  }
}

/** One peer, one case, one round. */
async function runSlice({ peer, row, settings, core, upstream, ports, tlsPort }) {
  const { warm, seconds } = settings
  await upstream.ask({ type: 'begin', case: row })
  const plain = ports.slice(0, row.upstreams ?? 1).map((port) => `http://127.0.0.1:${port}`)
  const job = { peer, row, warm, seconds, origins: row.tls ? [`https://localhost:${tlsPort}`] : plain }
  const client = new Child('client.mjs', [JSON.stringify(job)], core)
  try {
    await client.next('measuring', (warm + 30) * 1000)
    const before = await look(upstream)
    await client.next('measured', (seconds + 30) * 1000)
    const after = await look(upstream)
    const { sample, calls, errors, version, entry } = await client.next('result')
    await client.ended()
    const { seen } = await upstream.ask({ type: 'look' })
    if (sample) {
      const elapsed = after.atMillis - before.atMillis
      const upstreamMillis = (after.cpuMicros - before.cpuMicros) / 1000
      sample.upstreamShare = upstreamMillis / elapsed
      const own = upstreamMillis + (sample.cpuMicros * sample.calls) / 1000
      // Side by side, the others are the other peers.
      sample.othersShare = settings.together ? 0 : Math.max(0, (after.busy - before.busy - own) / elapsed)
      sample.stolenShare = (after.stolen - before.stolen) / elapsed
      sample.requestsPerCall = (seen.requests - seen.failed) / calls
      sample.connections = seen.connections
      sample.unreadable = seen.unreadable
    }
    return { sample, errors, version, entry, first: seen.first }
  } finally {
    client.stop()
  }
}

/** The upstream and the machine at one edge of a window. */
async function look(upstream) {
  return { ...(await upstream.ask({ type: 'look' })), busy: busyMillis(), stolen: stolenMillis() }
}

/** How long it takes to load each peer's package, in milliseconds. */
export async function measureImports(peers, about, times, pins, notes) {
  const require = createRequire(import.meta.url)
  const imports = peers.map((peer) => ({ peer, version: about.get(peer).version, millis: [] }))
  for (let time = 0; time < times; time++) {
    for (const { peer, millis } of imports) {
      const { entry } = about.get(peer)
      if (!entry) continue
      progress(`import of ${peer}, ${time + 1} of ${times}`)
      const child = new Child('import-time.cjs', [require.resolve(entry)], pins?.clients)
      try {
        millis.push((await child.next('imported')).millis)
        await child.ended()
      } catch (error) {
        notes.push(`import of ${peer}: ${error.message}`)
      }
    }
  }
  progress('')
  return imports
}

/** One line that is written over, where somebody watches. */
function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}
