// What stays of a run: the tables as they were printed, every sample, and a plot of what a call costs.

import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** @param {string} folder @param {object} record @param {string[]} said */
export async function writeResults(folder, record, said) {
  mkdirSync(folder, { recursive: true })
  const major = /^v(\d+)/.exec(record.machine.node)[1]
  const file = (ending) => path.join(folder, `node-${major}.${ending}`)
  // Requests as they came over the wire are in the tables; here they would be the same bytes a dozen times.
  const { wires: _, ...figures } = record
  writeFileSync(file('json'), `${JSON.stringify(figures)}\n`)
  writeFileSync(file('md'), `${said.join('\n\n')}\n`)
  writeFileSync(file('svg'), await plot(record))
}

/** CPU per call by peer, a panel per case. The scale is logarithmic: the dearest costs a hundred times the cheapest. */
async function plot({ summary, machine }) {
  const { compile } = await import('vega-lite')
  const { Error: onlyErrors, View, logger, parse } = await import('vega')
  const values = summary.flatMap(({ case: row, peers }) =>
    peers
      .filter(({ figures }) => figures.cpuMicros)
      .map(({ peer, figures }) => ({ row, peer, micros: figures.cpuMicros.median })),
  )
  const x = { field: 'micros', type: 'quantitative', title: 'CPU µs per call', scale: { type: 'log' } }
  const y = { field: 'peer', type: 'nominal', title: null, sort: { field: 'micros' } }
  const layer = [
    {
      mark: { type: 'point', filled: true, size: 60 },
      encoding: { color: { field: 'peer', type: 'nominal', legend: null } },
    },
    {
      mark: { type: 'text', align: 'left', dx: 8, fontSize: 9 },
      encoding: { text: { field: 'micros', format: '.0f' } },
    },
  ]
  const description = {
    title: `What a call costs (Node ${machine.node})`,
    data: { values },
    facet: { field: 'row', type: 'nominal', title: null, sort: summary.map((each) => each.case) },
    columns: 3,
    spec: { width: 220, layer: layer.map((each) => ({ ...each, encoding: { x, y, ...each.encoding } })) },
    resolve: { scale: { y: 'independent' } },
    background: 'white',
  }
  // It warns that panels might share a scale by mistake; here each has its own.
  const { spec } = compile(description, { logger: logger(onlyErrors) })
  return new View(parse(spec), { renderer: 'none' }).toSVG()
}
