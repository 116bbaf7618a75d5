// Checked by `npm run lint` (tsc), never run: what TypeScript users may write, and what they may not.

import {
  BudgetExceededError,
  type ChatChunk,
  type ChatMessage,
  type ChatResponse,
  type ChatStream,
  ConfigurationError,
  createImageMessage,
  createMixedMessage,
  createTextMessage,
  LLMPool,
  LLMPoolError,
  MESSAGE_TYPES,
  PermissionDeniedError,
  PROVIDERS,
  ProviderError,
  type ProviderStats,
  RateLimitError,
  StreamInterruptedError,
  type TenantLimit,
} from '../index.js'

/** Compiles only when both types are the same. */
function same<Expected>() {
  return <Found>(_found: Found, ..._proof: Same<Expected, Found> extends true ? [] : [never]) => {}
}
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

const messages: ChatMessage[] = [
  { role: 'system', content: 'Be brief.' },
  createTextMessage('user', 'What is this?'),
  createImageMessage('user', 'What is this?', 'data:image/png;base64,AAAA', 'low'),
  createMixedMessage('user', ['Look:', { type: MESSAGE_TYPES.TEXT, text: 'here' }]),
]

// === making a pool ===

const pool = new LLMPool({ configPath: './config.json', timeout: 0, deadline: null })
new LLMPool({
  config: { providers: [{ name: 'a', type: PROVIDERS.GROQ, model: 'm', api_key: process.env.GROQ_API_KEY }] },
})
// @ts-expect-error a pool has a configuration
new LLMPool({ timeout: 1 })
// @ts-expect-error and only one
new LLMPool({ configPath: './config.json', config: { providers: [] } })
// @ts-expect-error options are spelled right
new LLMPool({ configPath: './config.json', maxretries: 1 })
// @ts-expect-error keys of a provider too
new LLMPool({ config: { providers: [{ name: 'a', type: 'openai', model: 'm', apiKey: 'k' }] } })
same<number | undefined>()(pool.getStats().budget?.daily?.spent)
same<number | undefined>()(pool.getProviderStats().a.budget?.monthly?.resetAt)
new LLMPool({
  config: {
    providers: [{ name: 'a', type: 'openai', model: 'm', budget: { daily_usd: 5, mode: 'strict' } }],
    budget: { monthly_usd: null, warn_at: 0.5, on_unknown_price: 'allow', timezone: 'Europe/Berlin' },
  },
})
// @ts-expect-error a mode that is not there
new LLMPool({ config: { providers: [], budget: { daily_usd: 5, mode: 'hard' } } })
// @ts-expect-error a type of provider that is not there
new LLMPool({ config: { providers: [{ name: 'a', type: 'telepathy', model: 'm' }] } })

class Sub extends LLMPool {
  extra = 1
}
same<Promise<Sub>>()(Sub.create({ configPath: './config.json' }))
same<Promise<void>>()(pool.initialize())
same<Promise<void>>()(pool.shutdown({ drainTimeout: 0 }))
same<Promise<void>>()(pool[Symbol.asyncDispose]())

// === calls ===

same<Promise<ChatResponse>>()(pool.chat({ messages }))
same<Promise<ChatResponse>>()(pool.chat(messages))
same<Promise<ChatResponse>>()(pool.chat(messages, { temperature: 0, signal: AbortSignal.timeout(1), maxRetries: 0 }))
same<Promise<ChatResponse>>()(pool.chat({ messages, stop: 'x', providers: ['a'], headers: { 'x-a': 'b' } }))
same<Promise<ChatStream>>()(pool.chat({ messages, stream: true }))
same<Promise<ChatStream>>()(pool.chat(messages, { stream: true }))
same<ChatStream>()(pool.stream(messages))
// @ts-expect-error a request has messages
pool.chat({ temperature: 1 })
// @ts-expect-error roles are known
pool.chat([{ role: 'wizard', content: 'hi' }])
// @ts-expect-error one answer per call
pool.chat({ messages, n: 2 })
// @ts-expect-error fields are spelled right
pool.chat(messages, { max_token: 1 })

export async function answers() {
  const response = await pool.chat({ messages, response_format: { type: 'json_object' } })
  same<string>()(response.content)
  same<number | null>()(response.cost)
  same<boolean>()(response.usage.estimated)
  same<string | undefined>()(response.tool_calls?.[0]?.function.arguments)
  same<number | undefined>()(response.attempts[0]?.status)
  // An answer can be sent back as it came.
  messages.push({ role: response.role, content: response.content, tool_calls: response.tool_calls })
}

interface City {
  name: string
}

export async function parsed() {
  const schema = { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] }
  const response_format = { type: 'json_schema' as const, json_schema: { name: 'city', schema } }
  same<unknown>()((await pool.chat({ messages, response_format })).parsed)
  // @ts-expect-error nobody said what it is
  ;(await pool.chat({ messages, response_format })).parsed?.name
  same<City | undefined>()((await pool.chat<City>({ messages, response_format })).parsed)
  same<City | undefined>()((await pool.chat<City>(messages, { response_format })).parsed)
  same<ChatStream<City>>()(await pool.chat<City>({ messages, response_format, stream: true }))
  same<City | undefined>()((await pool.stream<City>({ messages, response_format }).response()).parsed)
  // An answer with a type can stand wherever an answer can.
  const response: ChatResponse = await pool.chat<City>({ messages, response_format })
  // @ts-expect-error and not the other way round
  const city: ChatResponse<City> = response
  return city
}

export async function streams() {
  const stream = pool.stream(messages)
  for await (const chunk of stream) {
    same<ChatChunk>()(chunk)
    same<string>()(chunk.delta)
  }
  same<ChatResponse>()(await stream.response())
  same<string>()(await stream.text())
  same<void>()(stream.abort(new Error('enough')))
  for await (const chunk of stream.toReadableStream()) same<ChatChunk>()(chunk)
}

// === looking and steering ===

same<Record<string, ProviderStats>>()(pool.getProviderStats())
same<number>()(pool.getStats().totalCost)
same<string | null>()(pool.getPoolHealth().bestProvider)
same<string | null>()(pool.explain(messages, { model: 'fast' }).wouldAsk)
same<'first' | 'next' | 'blocked' | 'excluded'>()(pool.explain({ messages, session: 's' }).providers[0].verdict)
same<number | null>()(pool.getAnalytics('24h').providerBreakdown.a.p95)
same<number>()(pool.getAnalytics('1h').timeSeries[0].at)
// @ts-expect-error no such window
pool.getAnalytics('2h')
same<string>()(pool.metrics() + LLMPool.METRICS_CONTENT_TYPE)
same<void>()(pool.setProviderPriority('a', 2))
same<string[]>()(pool.resetCircuitBreakers())
// @ts-expect-error not in this version
pool.addProvider({})

// === events ===

pool.on('requestSuccess', (event) => same<number>()(event.attempt))
pool.once('requestError', (event) => same<string>()(event.error))
pool.on('circuitOpen', ({ retryAt }) => same<number>()(retryAt))
pool.on('providersUpdated', (providers, { added }) => same<string[]>()([providers[0].name, ...added]))
pool.on('debug', (message) => same<string>()(message))
pool.on('tenantRefused', ({ tenant, limit, resetAt }) => {
  same<string>()(tenant)
  same<TenantLimit>()(limit)
  same<number | null>()(resetAt)
})
pool.on('budgetWarning', ({ scope, provider, period, resetAt }) => {
  same<'pool' | 'provider' | 'tenant'>()(scope)
  same<string | undefined>()(provider)
  same<'daily' | 'monthly'>()(period)
  same<number>()(resetAt)
})
pool.off('ready', () => {})

// === errors ===

new ProviderError('down', 'a', 503, true)
new RateLimitError('slow', 'a', 30)
new ConfigurationError('wrong')

export function report(error: unknown) {
  if (error instanceof RateLimitError) same<number | null>()(error.resetTime)
  if (ProviderError.isInstance(error)) same<ProviderError>()(error)
  if (StreamInterruptedError.isInstance(error)) same<string | undefined>()(error.partial?.content)
  if (BudgetExceededError.isInstance(error)) same<number | null>()(error.resetAt)
  if (PermissionDeniedError.isInstance(error)) same<TenantLimit | undefined>()(error.tenantLimit)
  if (ConfigurationError.isInstance(error)) same<string>()(error.problems[0].path)
  if (LLMPoolError.isInstance(error)) same<number | null>()(error.statusCode)
}

// === background jobs ===

const jobs = pool.background({
  workers: 4,
  queueSize: 1000,
  maxRetries: 3,
  timeout: null,
  rateLimitRps: 0.5,
  model: 'm',
})
// @ts-expect-error options are spelled right
pool.background({ worker: 4 })
jobs.submit({ prompt: 'x', priority: 'critical', metadata: { page: 1 } }, { wait: true })
jobs.submit({ request: { messages, max_tokens: 9, deadline: 1000 }, id: 'a', timeout: 5 })
jobs.submit({ request: messages })
// @ts-expect-error a priority that is not there
jobs.submit({ prompt: 'x', priority: 'urgent' })
// @ts-expect-error a job has one of the two
jobs.submit({ prompt: 'x', request: messages })
// @ts-expect-error and has one
jobs.submit({ priority: 'low' })
jobs.submit<{ city: string }>({ prompt: 'x' }).then(async (job) => {
  same<string | undefined>()((await job.result()).parsed?.city)
})
jobs.on('jobFailed', ({ id, error }) => console.log(id, error))
jobs.on('jobRetry', ({ error, counts }) => {
  same<LLMPoolError>()(error)
  same<boolean>()(counts)
})
// @ts-expect-error an event that is not there
jobs.on('jobDone', () => {})
async function results() {
  for await (const result of jobs.results()) {
    if (result.status === 'completed') same<ChatResponse>()(result.response)
    // @ts-expect-error what failed has no answer
    else result.response.content
  }
  for (const job of await jobs.stop({ drain: false })) await jobs.submit(job)
  same<number>()(jobs.stats().waiting.critical)
}
results()

// === code ===

async function analyses() {
  const analysis = pool.analyze('./src', {
    depth: 'deep',
    audience: 'llm',
    include: '*.ts',
    exclude: ['dist'],
    concurrency: 2,
  })
  for await (const { done, total, path, kind, outcome } of analysis) {
    same<number>()(done + total)
    same<string>()(path)
    same<'file' | 'directory' | 'project'>()(kind)
    same<'analyzed' | 'cached' | 'skipped' | 'failed'>()(outcome)
  }
  const described = await analysis.result()
  same<string | undefined>()(described.project?.overview)
  same<number | null>()(described.cost)
  same<string[]>()(await analysis.toMarkdown(new URL('file:///docs')))
  same<string>()((await pool.analyzeFile('a.ts')).publicInterfaces[0].kind as string)
  same<number>()((await pool.estimateAnalysis('./src')).requests)
  pool.analyzeDirectory('./src', { signal: AbortSignal.timeout(1000) })
  // @ts-expect-error a depth that is not there
  pool.analyze('./src', { depth: 'abyss' })
  // @ts-expect-error options are spelled right
  pool.analyze('./src', { cachedir: 'x' })
}
analyses()
