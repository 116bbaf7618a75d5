// One question, five ways to have it answered by several models. Runs offline: the three models and the judge are
// servers in this process that say what they are told to.
//
//   node examples/infer.mjs

import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { LLMPool } from 'llmpool'

/** A model that answers with this after so many milliseconds, as Ollama would. */
async function model(answer, ms = 0) {
  const server = createServer(async (request, response) => {
    const { model } = JSON.parse((await request.toArray()).join(''))
    await sleep(ms)
    const message = { role: 'assistant', content: answer }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ model, message, done: true, done_reason: 'stop' }))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  server.unref()
  return `http://127.0.0.1:${server.address().port}`
}

const provider = (name, priority, base_url, more) => ({
  name,
  type: 'ollama',
  model: name,
  base_url,
  priority,
  ...more,
})

const pool = await LLMPool.create({
  config: {
    providers: [
      provider('small', 1, await model('Lyon', 400), { weight: 1 }),
      provider('middle', 2, await model('Paris'), { weight: 1 }),
      provider('large', 3, await model('**Paris.**'), { weight: 3 }),
      // Weight 0: never a candidate, only asked by its name.
      provider('judge', 9, await model('{"winner": 1}'), { weight: 0 }),
    ],
    ensemble: { judge: { provider: 'judge' }, hedge_after_ms: 50 },
    tasks: { capital: { strategy: 'VOTING' } },
  },
})

const work = { task: 'capital', prompt: 'What is the capital of France?' }
for (const strategy of ['FASTEST', 'VOTING', 'WEIGHTED', 'CONSENSUS', 'JUDGE']) {
  const answer = await pool.infer({ ...work, strategy })
  const votes = answer.votes?.map(({ provider, group }) => `${provider} → ${group}`).join(', ') ?? 'nobody was compared'
  console.log(`${strategy.padEnd(9)} ${answer.content.padEnd(10)} by ${answer.winner_model.padEnd(6)} (${votes})`)
}

const { answers, hedges, winners } = pool.getStats().tasks.capital
console.log(`${answers} answers, ${hedges} hedged; ${JSON.stringify(winners)}`)
await pool.shutdown()
