// What the command line asks for, checked whole before anything is started.

import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { CASES, MAIN_PEERS, PEERS, takesPart } from './cases.mjs'

const CASE_NAMES = CASES.map(({ name }) => name)

const USAGE = `npm run bench -- [options]

  --warm SECONDS      warm-up of each slice (4)
  --seconds SECONDS   measured time of each slice (2)
  --rounds N          rounds; each runs every peer once per case (5)
  --main              only ${MAIN_PEERS.join(', ')}, and 3 rounds: about a quarter of an hour
  --quick             does it run at all: a few minutes, figures not worth quoting
  --peers a,b         only these (${PEERS.join(', ')})
  --cases a,b         only these (${CASE_NAMES.join(', ')})
  --imports N         fresh processes per import time (5)
  --together          all peers at the same time, so that each sees the same machine; for the ratios of CPU per call
  --no-pin            leave upstream and clients on any core
  --no-build          take the addon as it is
  --json FILE         everything that was measured, sample by sample
  --results DIR       tables, figures and a plot, named after the version of Node (with --peers, --cases, --main or
                      --quick nothing is written unless this is given; else results/ beside the bench)
`

/** `null` when there is nothing to run: help was asked for, or the command line is wrong. */
export function readSettings() {
  let values
  try {
    values = parseArgs({
      options: {
        warm: { type: 'string' },
        seconds: { type: 'string' },
        rounds: { type: 'string' },
        quick: { type: 'boolean' },
        main: { type: 'boolean' },
        peers: { type: 'string' },
        cases: { type: 'string' },
        imports: { type: 'string' },
        together: { type: 'boolean' },
        'no-pin': { type: 'boolean' },
        'no-build': { type: 'boolean' },
        json: { type: 'string' },
        results: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values
    if (values.help) {
      process.stdout.write(USAGE)
      return null
    }
    const usual = values.quick
      ? { warm: 0.3, seconds: 0.7, rounds: 1, imports: 1 }
      : { warm: 4, seconds: 2, rounds: values.main ? 3 : 5, imports: 15 }
    const peers = choice(values, 'peers', PEERS, values.main ? MAIN_PEERS : PEERS)
    const isWhole = !values.quick && !values.main && values.peers === undefined && values.cases === undefined
    return {
      warm: number(values, 'warm', usual.warm, 0),
      seconds: number(values, 'seconds', usual.seconds, 0.1),
      rounds: number(values, 'rounds', usual.rounds, 1),
      imports: number(values, 'imports', usual.imports, 1),
      quick: values.quick ?? false,
      peers,
      cases: choice(values, 'cases', CASE_NAMES).map((name) => CASES.find((row) => row.name === name)),
      partOf: (row) => peers.filter((peer) => takesPart(peer, row)),
      together: values.together ?? false,
      pin: !values['no-pin'],
      build: !values['no-build'],
      json: values.json,
      results: values.results ?? (isWhole ? fileURLToPath(new URL('results', import.meta.url)) : undefined),
    }
  } catch (error) {
    process.stderr.write(`bench: ${error.message}\n\n${USAGE}`)
    process.exitCode = 2
    return null
  }
}

function number(values, name, usual, least) {
  const value = values[name] === undefined ? usual : Number(values[name])
  const whole = name === 'rounds' || name === 'imports'
  if (!(value >= least) || !Number.isFinite(value) || (whole && !Number.isInteger(value))) {
    throw new Error(`--${name}: must be a ${whole ? 'whole ' : ''}number, ${least} or more`)
  }
  return value
}

function choice(values, name, all, usual = all) {
  if (values[name] === undefined) return usual
  const wanted = values[name].split(',')
  const unknown = wanted.find((each) => !all.includes(each))
  if (unknown !== undefined) throw new Error(`--${name}: there is no ${unknown} (${all.join(', ')})`)
  return all.filter((each) => wanted.includes(each))
}
