// Portkey's gateway in a process of its own, asked with undici. What the gateway uses is part of what a call costs.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { Agent, request as send, setGlobalDispatcher } from 'undici'

const require = createRequire(import.meta.url)
const MANIFEST = require.resolve('@portkey-ai/gateway/package.json')

export const entry = null
export const version = require(MANIFEST).version

/** It starts within a second; a busy machine may need longer. */
const STARTS_WITHIN = 30_000

export async function open({ origin, path, apiKey, concurrency }) {
  const port = await freePort()
  const program = new URL('build/start-server.js', `file://${MANIFEST}`).pathname
  const gateway = spawn(process.execPath, [program, `--port=${port}`, '--headless'], { stdio: 'ignore' })
  process.on('exit', () => gateway.kill('SIGKILL'))
  const agent = new Agent({ connections: concurrency })
  setGlobalDispatcher(agent)
  const base = `http://127.0.0.1:${port}`
  await answers(base)
  const headers = {
    'content-type': 'application/json',
    authorization: `Bearer ${apiKey}`,
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `${origin}/v1`,
  }
  return {
    async chat(request) {
      const { statusCode, body } = await send(base + path, { method: 'POST', headers, body: JSON.stringify(request) })
      if (statusCode !== 200) throw new Error(`status ${statusCode}: ${await body.text()}`)
      const answer = await body.json()
      return answer.choices[0].message.content
    },
    pids: [gateway.pid],
    async close() {
      await agent.close()
      gateway.kill('SIGKILL')
      await once(gateway, 'exit')
    },
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

async function answers(base) {
  const ends = performance.now() + STARTS_WITHIN
  for (;;) {
    try {
      await (await send(base)).body.dump()
      return
    } catch (error) {
      if (performance.now() > ends) throw error
      await wait(100)
    }
  }
}
