// `npm run bench`: measures this package beside its peers and says what it saw. It judges nothing: how a figure
// compares with a target is for the reader, who also sees how busy the machine was.

import { writeFileSync } from 'node:fs'
import { describeMachine, loadAverage } from './machine.mjs'
import { measure, measureImports } from './measure.mjs'
import { readSettings } from './options.mjs'
import { choosePins } from './processes.mjs'
import { caseTable, doubts, heading, importTable, summarize, upstreamText, wireTable } from './report.mjs'
import { writeResults } from './results.mjs'
import { buildAddon, findAddon, installPeers } from './setup.mjs'

/** The peers that run the addon of this checkout. */
const OURS = ['llmpool', 'llmpool-gateway']

const settings = readSettings()
if (settings) {
  try {
    await main(settings)
  } catch (error) {
    process.stderr.write(`bench: ${error.message}\n`)
    process.exitCode = 1
  }
}

async function main(settings) {
  const notes = []
  installPeers()
  if (settings.build && OURS.some((peer) => settings.peers.includes(peer))) {
    try {
      buildAddon()
    } catch (error) {
      notes.push(`the addon was not built: ${error.message}`)
    }
  }
  const addon = OURS.some((peer) => settings.peers.includes(peer)) ? findAddon() : null
  if (addon && addon.profile !== 'release') notes.push(`llmpool was measured as a ${addon.profile} build: see above`)
  if (settings.quick) notes.push('--quick: nothing is warm, these are not figures to quote')

  const pins = settings.pin ? choosePins() : null
  const machine = describeMachine()
  const loadBefore = loadAverage()
  const said = []
  const print = (text) => {
    said.push(text)
    process.stdout.write(`${text}\n\n`)
  }
  print(heading({ machine, pins, settings, loadBefore, addon }))

  const { samples, about } = await measure(settings, pins, notes)
  const peers = settings.peers.filter((peer) => about.has(peer))
  const imports = await measureImports(peers, about, settings.imports, pins, notes)
  const loadAfter = loadAverage()

  if (addon && findAddon()?.fingerprint !== addon.fingerprint) {
    notes.push('THE ADDON WAS REPLACED during the run: the figures of llmpool are of two builds')
  }
  notes.push(...doubts(samples, settings.cases))

  const wires = peers.map((peer) => ({ peer, first: about.get(peer).first, row: about.get(peer).row }))
  const summary = summarize(samples, settings.cases, settings.partOf)
  for (const each of summary) print(caseTable(each))
  print(importTable(imports))
  print(wireTable(wires))
  print(upstreamText(samples, settings.cases))
  print(
    `Load average before ${loadBefore.join(' ')}, after ${loadAfter.join(' ')} (1, 5, 15 minutes; the bench itself adds up to 2).`,
  )
  if (notes.length > 0) print(`Notes\n${notes.map((note) => `- ${note}`).join('\n')}`)

  const { json, results, ...asked } = settings
  const record = {
    date: new Date().toISOString(),
    machine,
    pins,
    settings: asked,
    addon,
    loadBefore,
    loadAfter,
    notes,
    summary,
    imports,
    wires,
    samples,
  }
  if (json) writeFileSync(json, `${JSON.stringify(record, null, 2)}\n`)
  if (results) await writeResults(results, record, said)
}
