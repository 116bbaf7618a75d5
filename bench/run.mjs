// `npm run bench`: measures this package beside its peers and says what it saw. It judges nothing: how a figure
// compares with a target is for the reader, who also sees how busy the machine was.

import { writeFileSync } from 'node:fs'
import { REFERENCE } from './cases.mjs'
import { describeMachine, loadAverage } from './machine.mjs'
import { measure, measureImports } from './measure.mjs'
import { readSettings } from './options.mjs'
import { choosePins } from './processes.mjs'
import { caseTable, doubts, heading, importTable, summarize, upstreamText, wireTable } from './report.mjs'
import { buildAddon, findAddon, installPeers } from './setup.mjs'

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
  if (settings.build && settings.peers.includes('llmpool')) {
    try {
      buildAddon()
    } catch (error) {
      notes.push(`the addon was not built: ${error.message}`)
    }
  }
  const addon = settings.peers.includes('llmpool') ? findAddon() : null
  if (addon && addon.profile !== 'release') notes.push(`llmpool was measured as a ${addon.profile} build: see above`)
  if (settings.quick) notes.push('--quick: nothing is warm, these are not figures to quote')

  const pins = settings.pin ? choosePins() : null
  const machine = describeMachine()
  const loadBefore = loadAverage()
  print(heading({ machine, pins, settings, loadBefore, addon }))

  const { samples, about } = await measure(settings, pins, notes)
  const peers = settings.peers.filter((peer) => about.has(peer))
  const imports = await measureImports(peers, about, settings.imports, pins, notes)
  const loadAfter = loadAverage()

  if (addon && findAddon()?.fingerprint !== addon.fingerprint) {
    notes.push('THE ADDON WAS REPLACED during the run: the figures of llmpool are of two builds')
  }
  notes.push(...doubts(samples))

  const wires = peers.map((peer) => ({ peer, first: about.get(peer).first }))
  const summary = summarize(samples, settings.cases, peers, REFERENCE)
  for (const each of summary) print(caseTable(each, REFERENCE))
  print(importTable(imports))
  print(wireTable(wires))
  print(upstreamText(samples, settings.cases))
  print(
    `Load average before ${loadBefore.join(' ')}, after ${loadAfter.join(' ')} (1, 5, 15 minutes; the bench itself adds up to 2).`,
  )
  if (notes.length > 0) print(`Notes\n${notes.map((note) => `- ${note}`).join('\n')}`)

  const { json, ...asked } = settings
  if (json) {
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
    writeFileSync(json, `${JSON.stringify(record, null, 2)}\n`)
  }
}

function print(text) {
  process.stdout.write(`${text}\n\n`)
}
