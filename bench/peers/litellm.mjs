// LiteLLM's Router, in a Python process that makes the calls it is told to make, one line each way. Needs a `python3` that
// has the package; where there is none, the bench says so and goes on. The lines are part of its figure: some tens of
// microseconds of a call that costs thousands.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { MODEL } from '../exchange.mjs'

export const entry = null
export const version = installed()

const PROGRAM = fileURLToPath(new URL('litellm.py', import.meta.url))

function installed() {
  const script = 'from importlib.metadata import version; print(version("litellm"))'
  try {
    return execFileSync('python3', ['-c', script], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return null
  }
}

export async function open({ origin, apiKey }) {
  if (!version) throw new Error('python3 has no package litellm')
  const python = spawn('python3', [PROGRAM, `${origin}/v1`, MODEL, apiKey], { stdio: ['pipe', 'pipe', 'ignore'] })
  process.on('exit', () => python.kill('SIGKILL'))
  const waiting = new Map()
  let calls = 0
  const lines = createInterface({ input: python.stdout })
  await once(lines, 'line')
  lines.on('line', (line) => {
    const { call, text, error } = JSON.parse(line)
    const { resolve, reject } = waiting.get(call)
    waiting.delete(call)
    if (error) reject(new Error(error))
    else resolve(text)
  })
  return {
    chat: ({ messages }) =>
      new Promise((resolve, reject) => {
        const call = calls++
        waiting.set(call, { resolve, reject })
        python.stdin.write(`${JSON.stringify({ call, messages })}\n`)
      }),
    pids: [python.pid],
    async close() {
      python.kill('SIGKILL')
      await once(python, 'exit')
    },
  }
}
