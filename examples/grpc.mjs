// Asks a pool over gRPC: whole, as a stream, and with too little time. Another process serves it: `npx llmpool serve`.
//
//   npm install @grpc/grpc-js @grpc/proto-loader
//   LLMPOOL_KEY=… node examples/grpc.mjs 127.0.0.1:7070 capital 'What is the capital of France?'
import { fileURLToPath } from 'node:url'
import { credentials, loadPackageDefinition, Metadata, status } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

const [address = '127.0.0.1:7070', task = 'capital', prompt = 'What is the capital of France?'] = process.argv.slice(2)

const file = fileURLToPath(import.meta.resolve('llmpool/llmpool.proto'))
const { llmpool } = loadPackageDefinition(
  loadSync(file, { keepCase: true, longs: Number, defaults: true, oneofs: true }),
)
const client = new llmpool.v1.LlmPool(address, credentials.createInsecure())

const metadata = new Metadata()
if (process.env.LLMPOOL_KEY !== undefined) metadata.set('authorization', `Bearer ${process.env.LLMPOOL_KEY}`)

/** A deadline goes to the pool: it stops asking providers when nobody waits any more. */
const within = (ms) => ({ deadline: Date.now() + ms })

const infer = (work, options) =>
  new Promise((resolve, reject) => {
    client.Infer(work, metadata, options, (error, answer) => (error ? reject(error) : resolve(answer)))
  })

const { content, winner_model, provider, usage } = await infer({ task, prompt }, within(30_000))
console.log(`${content} (${winner_model} of ${provider}, ${usage.total_tokens} tokens)`)

for await (const { event, [event]: said } of client.InferStream({ task, prompt }, metadata, within(30_000))) {
  if (event === 'delta') process.stdout.write(said)
  if (event === 'done') console.log(` (${said.provider})`)
}

try {
  await infer({ task: 'no-such-task', prompt }, within(30_000))
} catch (error) {
  const [field] = error.metadata.get('x-llmpool-field')
  console.log(`${status[error.code]}, about ${field}: ${error.details}`)
}
client.close()
