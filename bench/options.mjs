// What the command line asks for, checked whole before anything is started.

import { parseArgs } from 'node:util'
import { CASES, PEERS } from './cases.mjs'

const CASE_NAMES = CASES.map(({ name }) => name)

const USAGE = `npm run bench -- [options]

  --warm SECONDS      warm-up of each slice (4)
  --seconds SECONDS   measured time of each slice (2)
  --rounds N          rounds; each runs every peer once per case (3)
  --quick             does it run at all: about 15 seconds, figures not worth quoting
  --peers a,b         only these (${PEERS.join(', ')})
  --cases a,b         only these (${CASE_NAMES.join(', ')})
  --imports N         fresh processes per import time (5)
  --together          all peers at the same time, so that each sees the same machine; for the ratios of CPU per call
  --no-pin            leave upstream and clients on any core
  --no-build          take the addon as it is
  --json FILE         everything that was measured, sample by sample
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
        peers: { type: 'string' },
        cases: { type: 'string' },
        imports: { type: 'string' },
        together: { type: 'boolean' },
        'no-pin': { type: 'boolean' },
        'no-build': { type: 'boolean' },
        json: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values
    if (values.help) {
      process.stdout.write(USAGE)
      return null
    }
    const usual = values.quick
      ? { warm: 0.3, seconds: 0.7, rounds: 1, imports: 1 }
      : { warm: 4, seconds: 2, rounds: 3, imports: 5 }
    return {
      warm: number(values, 'warm', usual.warm, 0),
      seconds: number(values, 'seconds', usual.seconds, 0.1),
      rounds: number(values, 'rounds', usual.rounds, 1),
      imports: number(values, 'imports', usual.imports, 1),
      quick: values.quick ?? false,
      peers: choice(values, 'peers', PEERS),
      cases: choice(values, 'cases', CASE_NAMES).map((name) => CASES.find((row) => row.name === name)),
      together: values.together ?? false,
      pin: !values['no-pin'],
      build: !values['no-build'],
      json: values.json,
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

function choice(values, name, all) {
  if (values[name] === undefined) return all
  const wanted = values[name].split(',')
  const unknown = wanted.find((each) => !all.includes(each))
  if (unknown !== undefined) throw new Error(`--${name}: there is no ${unknown} (${all.join(', ')})`)
  return all.filter((each) => wanted.includes(each))
}
