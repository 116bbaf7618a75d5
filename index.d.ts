// The public contract of llmpool, written by hand. What is OpenAI's wire shape or a key of a config file is snake_case;
// what belongs to the JavaScript object is camelCase. Times are milliseconds and money is US dollars unless a line says
// otherwise.

import type { EventEmitter } from 'node:events'

// === the pool ===

/**
 * A pool of LLM providers: one `chat()` that is answered by whoever can.
 *
 * @example
 * ```js
 * const pool = await LLMPool.create({ configPath: './config.json' })
 * const { content, provider } = await pool.chat({ messages: [{ role: 'user', content: 'Hello' }] })
 * await pool.shutdown()
 * ```
 *
 * An idle pool keeps no process alive; a call under way does.
 */
export declare class LLMPool extends EventEmitter<PoolEvents> {
  /**
   * Reads and sends nothing: a wrong configuration shows in {@link initialize}.
   *
   * @throws {@link ConfigurationError} for options of the wrong type, unknown options, or not exactly one source.
   */
  constructor(options: LLMPoolOptions)

  /** Makes a pool and initializes it. Rejects with {@link ConfigurationError}. */
  static create<T extends typeof LLMPool>(this: T, options: LLMPoolOptions): Promise<InstanceType<T>>

  /**
   * Loads the configuration, once, however many ask. The first call does it by itself; a load that failed is tried
   * again by the next one.
   *
   * Rejects with {@link ConfigurationError}, whose `problems` lists every mistake.
   */
  initialize(): Promise<void>

  /**
   * Asks for one answer. Request fields and options may stand in either argument; the second one wins.
   *
   * Rejects with {@link InvalidRequestError} before anything is sent, {@link ProviderError}, {@link RateLimitError},
   * {@link TimeoutError}, {@link NoProviderError}, {@link BudgetExceededError}, {@link PoolClosedError}, or the signal's
   * reason.
   *
   * @typeParam Parsed what `response.parsed` is, where `response_format` is a `json_schema`: your word for it, since the
   * schema is not read here.
   *
   * @example
   * ```ts
   * const { parsed } = await pool.chat<{ city: string }>({ messages, response_format })
   * parsed?.city // string | undefined
   * ```
   */
  chat<Parsed = unknown>(
    request: ChatRequest & { stream: true } & CallOptions,
    options?: ChatRequestFields & CallOptions,
  ): Promise<ChatStream<Parsed>>
  chat<Parsed = unknown>(
    request: (ChatRequest & CallOptions) | ChatMessage[],
    options: ChatRequestFields & CallOptions & { stream: true },
  ): Promise<ChatStream<Parsed>>
  chat<Parsed = unknown>(
    request: (ChatRequest & { stream?: false } & CallOptions) | ChatMessage[],
    options?: ChatRequestFields & CallOptions & { stream?: false },
  ): Promise<ChatResponse<Parsed>>

  /**
   * Asks for one answer, piece by piece. Nothing is thrown here: whatever goes wrong, the reader of the stream is told.
   *
   * @typeParam Parsed what `parsed` of the whole answer is, as with {@link chat}.
   */
  stream<Parsed = unknown>(
    request: (ChatRequest & CallOptions) | ChatMessage[],
    options?: ChatRequestFields & CallOptions,
  ): ChatStream<Parsed>

  /**
   * Does one piece of work by the name of its task in the configuration, which says who does it, by which strategy, within
   * what, and with which words around yours.
   *
   * Rejects as {@link chat} does; {@link InvalidRequestError} also for a task that there is not, a request over the limits
   * of its task, a place of the task's prompt without a value, and a `request_id` that was used for another request. The
   * `signal` stands in the work or in the options, not in both.
   *
   * @example
   * ```js
   * const { content, winner_model } = await pool.infer({ task: 'expand_queries', prompt: 'ambient cinematic' })
   * ```
   */
  infer(work: InferRequest & { signal?: AbortSignal }, options?: { signal?: AbortSignal }): Promise<InferResponse>

  /**
   * Makes embeddings: one vector for each input, in its order, all of them by one model of one provider. Inputs beyond
   * what a provider takes at once are sent in batches; each batch counts as a request to its limits.
   *
   * Rejects as {@link chat} does.
   *
   * @example
   * ```js
   * const { data } = await pool.embed({ input: ['one text', 'another'], model: 'text-embedding-3-small' })
   * data[1].embedding // numbers
   * ```
   */
  embed(
    request: EmbeddingRequest & { encoding_format: 'base64' } & RouteOptions,
    options?: RouteOptions,
  ): Promise<EmbeddingResponse<string>>
  embed(request: EmbeddingRequest & RouteOptions, options?: RouteOptions): Promise<EmbeddingResponse<number[]>>

  /**
   * Runs your own function, an SDK's call for example, under the pool: it decides at whom, within which limits, whether
   * again, and books what came of it. The function may be called several times, one turn after another.
   *
   * An error it throws with a `status` (and `headers`), as SDK errors have, is read like a provider's reply; one of a
   * connection counts against the provider; every other is your own and rejects at once. An answer with a `usage` in
   * the shape of OpenAI or Anthropic is booked.
   *
   * Rejects as {@link chat}, with the last error of the function as `cause`; your own errors as they are.
   *
   * @example
   * ```js
   * const text = await pool.execute(async ({ apiKey, baseURL, model, signal }) => {
   *   const openai = new OpenAI({ apiKey, baseURL, maxRetries: 0 })
   *   const answer = await openai.chat.completions.create({ model, messages }, { signal })
   *   return answer.choices[0].message.content
   * })
   * ```
   */
  execute<T>(fn: (turn: ExecuteTurn) => T | Promise<T>, options?: ExecuteOptions): Promise<T>

  /** Who can answer now. Before the pool is initialized: nobody. */
  getPoolHealth(): PoolHealth

  /**
   * What `chat()` would do with this request if it came now: who is asked first, who would follow, and why the others are
   * not asked. It goes the way of a call as far as the first provider and has no effect: nobody is called, no turn is
   * taken, nothing is reserved. Before the pool is initialized it knows no provider.
   *
   * @example
   * ```js
   * const { reason, providers } = pool.explain(messages, { model: 'fast' })
   * console.log(reason)
   * console.table(providers, ['name', 'verdict', 'rank', 'priority', 'score', 'reason'])
   * ```
   *
   * @throws {@link InvalidRequestError} for a request that `chat()` would refuse before it looks for a provider.
   */
  explain(request: (ChatRequest & CallOptions) | ChatMessage[], options?: ChatRequestFields & CallOptions): Explanation

  /** Everything known of each provider, by name. */
  getProviderStats(): Record<string, ProviderStats>

  /** Totals of the pool. */
  getStats(): PoolStats

  /**
   * What ended in the last hour, day or week: altogether, by provider, and as a time series. Windows begin with the
   * process; they are made of whole minutes (`'1h'`) or whole hours.
   *
   * @throws {@link ConfigurationError} for any other window.
   */
  getAnalytics(window: AnalyticsWindow): Analytics

  /**
   * All counters as OpenMetrics 1.0 text, for Prometheus and what reads it. Serve it with the content type
   * {@link LLMPool.METRICS_CONTENT_TYPE}. What each name means: `docs/stats.md`.
   *
   * @example
   * http.createServer((req, res) => {
   *   res.setHeader('content-type', LLMPool.METRICS_CONTENT_TYPE).end(pool.metrics())
   * }).listen(9090)
   */
  metrics(): string

  /** The content type of what {@link metrics} gives. */
  static readonly METRICS_CONTENT_TYPE: string

  /**
   * How many tokens a text is, or messages with what frames them, pictures and tools. Exact for OpenAI's models and where
   * a `tokenizer` is configured; for other models an estimate that the answers' reported usage corrects. The first count
   * in an encoding reads its vocabulary, about 20 ms; 100 KB of text take about 5 ms.
   *
   * @param model by default the first provider's
   * @throws {@link InvalidRequestError} naming the field.
   */
  estimateTokens(what: string | ChatMessage[] | ChatRequest, model?: string): number

  /**
   * Puts another configuration in force: this object, or what the source holds now. It is checked whole and swapped in
   * one step; calls under way end as they began, and a provider whose limits, breaker, keys and address stay the same
   * keeps all that was counted. An object stays in force until the source says something new.
   * Of several calls at a time the last one counts: one that is overtaken is checked, resolves and changes nothing.
   *
   * Rejects with {@link ConfigurationError}, and what was in force stays; with {@link PoolClosedError} when the pool is
   * shut down in the meantime.
   */
  reload(config?: PoolConfig): Promise<void>

  /**
   * Adds a provider, written as in a configuration, until it is removed; it survives reloads. A provider of that name in
   * a later configuration is used instead, with a warning.
   *
   * Rejects with {@link ConfigurationError}: every mistake, or a name that is taken.
   */
  addProvider(provider: ProviderConfig): Promise<void>

  /** Writes `statsFile` now. Rejects with {@link ConfigurationError} when there is none, or when it cannot be written. */
  saveStats(): Promise<void>

  /**
   * Takes a provider out, for this configuration and later ones. Its calls under way end as they began.
   *
   * @throws {@link ConfigurationError} when there is no such provider, or it is the last one.
   */
  removeProvider(name: string): void

  /**
   * A provider that is disabled gets no new calls; those under way end as they began. Survives reloads.
   *
   * @throws {@link ConfigurationError} when there is no such provider.
   */
  setProviderEnabled(name: string, enabled: boolean): void

  /**
   * Says that something is wrong with a provider, which the pool cannot know: it is passed over for
   * `routing.error_cooldown_ms` (60 s) or until {@link LLMPool.clearError}, also by calls that name it. Its calls under
   * way end as they began. Survives reloads that leave its limits, keys, breaker and address alone; marking it again
   * begins the time anew. Tells {@link PoolEvents.healthChanged}.
   *
   * @throws {@link ConfigurationError} when there is no such provider.
   */
  markError(name: string): void

  /**
   * Ends a mark of {@link LLMPool.markError} before its time. Breaker, keys and limits stay as they are.
   *
   * @returns whether it was marked.
   * @throws {@link ConfigurationError} when there is no such provider.
   */
  clearError(name: string): boolean

  /**
   * Moves a provider up or down. Lower is asked first. Survives reloads.
   *
   * @param priority a whole number, 0 or more
   * @throws {@link ConfigurationError} when there is no such provider.
   */
  setProviderPriority(name: string, priority: number): void

  /**
   * Closes the breaker of a provider, or of all, and forgets which models it said it does not have.
   *
   * @returns names of the providers of which that changed something.
   * @throws {@link ConfigurationError} when there is no such provider.
   */
  resetCircuitBreakers(name?: string): string[]

  /**
   * Refuses new calls with {@link PoolClosedError}, lets running ones finish for `drainTimeout`, then ends them.
   * May be called again: it happens once.
   */
  shutdown(options?: {
    /** ms; 0 ends running calls at once. @default 5000 */
    drainTimeout?: number
  }): Promise<void>

  /**
   * Starts a background processor: a queue of jobs that so many workers take to this pool, by priority, each exactly once.
   * It ends with its own {@link BackgroundProcessor.stop} or with the pool. The queue is in memory: what is not done when
   * the process ends is lost. `docs/background.md` is the guide.
   *
   * @throws {@link ConfigurationError} for options that cannot be; {@link PoolClosedError}.
   *
   * @example
   * ```js
   * const jobs = pool.background({ workers: 4 })
   * const job = await jobs.submit({ prompt: 'Summarise chapter 1.', priority: 'high' })
   * const { content } = await job.result()
   * await jobs.stop()
   * ```
   */
  background(options?: BackgroundOptions): BackgroundProcessor

  /**
   * Describes a project by calls of the pool: first its files, then each folder from what is in it, the project last.
   * What `.gitignore` leaves out and what is hidden is left out; secrets are masked before anything is sent. It begins at
   * once, and goes through the pool like any call: limits, budgets, failover. `docs/analyzer.md` has all of it.
   *
   * Nothing is thrown here: whatever goes wrong, {@link Analysis.result} and whoever reads the progress are told.
   *
   * @param path a folder; a `file:` URL will do.
   *
   * @example
   * ```js
   * const analysis = pool.analyze('./src', { depth: 'standard', cacheDir: '.cache/analysis' })
   * for await (const { done, total, path } of analysis) console.log(`${done}/${total} ${path}`)
   * const { project, files, failed } = await analysis.result()
   * await analysis.toMarkdown('./docs/code')
   * ```
   */
  analyze(path: string | URL, options?: AnalysisOptions): Analysis

  /** The same without the project as a whole: `project` of the result is null. */
  analyzeDirectory(path: string | URL, options?: AnalysisOptions): Analysis

  /**
   * Describes one file.
   *
   * Rejects as {@link chat} does; {@link InvalidRequestError} also for a path or an option that cannot be, and for a file
   * without a text.
   */
  analyzeFile(path: string | URL, options?: AnalysisOptions): Promise<FileAnalysis>

  /** What {@link analyze} would send, and about what it would cost. Nobody is asked. Rejects as {@link analyzeFile} does. */
  estimateAnalysis(path: string | URL, options?: AnalysisOptions): Promise<AnalysisEstimate>

  /**
   * Serves the pool over HTTP, in the APIs of OpenAI and Anthropic, to programs that cannot call it. The server keeps
   * the process alive until it is closed; shutting the pool down closes it, too. What is not said here is the
   * configuration's section `server`. `docs/gateway.md` has the routes.
   *
   * Rejects with {@link ConfigurationError}: the address cannot be had, everybody could reach it and call, or a
   * certificate cannot be used.
   *
   * ```js
   * const gateway = await pool.serve({ http: '127.0.0.1:7071', apiKeys: [process.env.GATEWAY_KEY] })
   * console.log(gateway.url)
   * ```
   */
  serve(options?: ServeOptions): Promise<Gateway>

  /**
   * The routes of {@link serve} as a function of the shape of `fetch`, without a socket and without a key: for SDKs that
   * take one. The host of the address does not matter. A property of its own: it may be taken from the pool.
   *
   * ```js
   * const openai = new OpenAI({ apiKey: 'unused', baseURL: 'http://llmpool.local/v1', fetch: pool.fetch })
   * ```
   */
  fetch: (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

  /** The same as {@link shutdown}: `await using pool = await LLMPool.create(…)`. */
  [Symbol.asyncDispose](): Promise<void>

  /** What `JSON.stringify` shows. Never a key. */
  toJSON(): { state: 'new' | 'ready' | 'closed'; providers: (ProviderListing & { circuitState: CircuitState })[] }
}

// === background jobs ===

/** What `null` is given for, and what is left out, has its default. */
export interface BackgroundOptions {
  /** Jobs at the pool at the same time. 1 to 10,000. @default 4 */
  workers?: number | null
  /** Jobs that may wait for their first start. 1 to 1,000,000. @default 1000 */
  queueSize?: number | null
  /**
   * Further tries of one job, where they are of use: after its own `timeout`, and where everybody is limited. What
   * providers fail with is retried by the pool and not here. 0 to 100; 0 = none. @default 3
   */
  maxRetries?: number | null
  /**
   * ms: the most one try of a job may take, from its first request on, with the waits and failover after that. What it
   * waits for a provider that may be asked at all is not counted. More than 0; `null` = as long as the pool's own
   * `deadline` allows. @default null
   */
  timeout?: number | null
  /** Starts per second, evenly spaced. Above 0, at most 1,000; 0.5 = one in two seconds; `null` = no limit. @default null */
  rateLimitRps?: number | null
  /** ms before a second try, doubling up to 30 s, each times a random 0.5 to 1; 0 = at once. @default 1000 */
  retryDelay?: number | null
  /**
   * Results kept for {@link BackgroundProcessor.results} while nobody reads them; beyond that the oldest goes. 1 to
   * 1,000,000. @default 1000
   */
  keepResults?: number | null
  /** Of jobs that name none themselves. */
  model?: string | null
  /** Of jobs that set none themselves. */
  max_tokens?: number | null
  /** Of jobs that set none themselves. 0 to 2. */
  temperature?: number | null
}

/**
 * Of any fifteen starts in a row, `critical` has 8, `high` 4, `normal` 2 and `low` 1, as far as such jobs wait; what one has no
 * use for goes to the highest that has.
 */
export type JobPriority = 'low' | 'normal' | 'high' | 'critical'

/** What a job says beside its request. */
export interface JobFields {
  /** One job's own until it is over; also the `requestId` of its calls. @default `job_` and 22 letters */
  id?: string | null
  /** @default 'normal' */
  priority?: JobPriority | null
  /** Yours: comes back with the result. What JSON can say. */
  metadata?: unknown
  /** ms, over the processor's `timeout`. */
  timeout?: number | null
  /** Over the processor's `maxRetries`. */
  maxRetries?: number | null
}

/** One job: a request with its options as `chat()` takes it, or a prompt. Never a stream, never with a signal in it. */
export type JobSpec = JobFields &
  (
    | { request: (ChatRequest & Omit<CallOptions, 'signal'>) | ChatMessage[]; prompt?: undefined }
    | { prompt: string; request?: undefined }
  )

export interface SubmitOptions {
  /** Wait for a place where the queue is full, first come, first served, instead of rejecting. @default false */
  wait?: boolean
  /** Gives the job up, wherever it stands. */
  signal?: AbortSignal | null
}

/** A job that was taken on. */
export interface Job<Parsed = unknown> {
  readonly id: string
  readonly priority: JobPriority
  readonly metadata: unknown
  /**
   * Its answer, whenever and however often it is asked for. Rejects with what its last try failed with (as `chat()` does),
   * the signal's reason or an `AbortError` where it was given up, and {@link PoolClosedError} where its processor stopped
   * before it was done. A rejection that nobody waits for harms nobody.
   */
  result(): Promise<ChatResponse<Parsed>>
  /** Gives the job up: out of the queue, or its call is ended. One that is over stays as it is. */
  cancel(): void
}

/** How a job ended. Times are ms. */
export type JobResult = {
  id: string
  priority: JobPriority
  /** null where the job had none. */
  metadata: unknown
  /** How often it was handed to the pool; 0: it was cancelled before that. */
  tries: number
  /** From its submission to its first start. */
  waitedMs: number
  /** From its first start to its end, waits between tries included. */
  durationMs: number
} & (
  | { status: 'completed'; response: ChatResponse; error?: undefined }
  | { status: 'failed' | 'cancelled'; error: Error; response?: undefined }
)

/** Told before the job's own promise settles. A listener that throws breaks no job. */
export interface BackgroundEvents {
  jobCompleted: [result: JobResult]
  jobFailed: [result: JobResult]
  jobCancelled: [result: JobResult]
  jobRetry: [
    event: {
      id: string
      /** Tries so far. */
      tries: number
      /** ms */
      retryInMs: number
      /** It is one of the job's `maxRetries`; false: nothing was sent, because everybody is limited or resting. */
      counts: boolean
      error: LLMPoolError
    },
  ]
  /** With the jobs that were not done. */
  stopped: [notDone: JobSpec[]]
}

/** A queue of jobs and its workers. A job that is not over keeps the process alive; an idle processor does not. */
export interface BackgroundProcessor extends EventEmitter<BackgroundEvents> {
  /**
   * Takes a job on; resolves when it has its place in the queue. The first one initializes the pool.
   *
   * Rejects with {@link QueueFullError}, {@link InvalidRequestError} (naming the field; also an `id` that another job has),
   * {@link ConfigurationError} of a pool that cannot be initialized, {@link PoolClosedError} after a stop, or the signal's
   * reason.
   */
  submit<Parsed = unknown>(job: JobSpec, options?: SubmitOptions): Promise<Job<Parsed>>

  /**
   * Results in the order in which jobs end: those that were kept, and those to come, until the processor is stopped and all
   * are taken. Each goes to one iterator. While one is open a million are kept before the oldest goes; leave one that
   * you do not read to its end.
   */
  results(): AsyncIterableIterator<JobResult> & AsyncDisposable

  stats(): BackgroundStats

  /**
   * Takes no job on any more, and ends: after all it has, or at once. Resolves with the jobs that were not done, in the order
   * in which they came and as they were submitted. May be called again, with less patience.
   */
  stop(options?: {
    /** Finish what was taken on; false ends what runs at once. @default true */
    drain?: boolean
    /** ms a drain may take; what is not done by then is handed back. @default as long as it takes */
    drainTimeout?: number
  }): Promise<JobSpec[]>

  /** The same as {@link stop}. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Times are ms. */
export interface BackgroundStats {
  /** It takes jobs, or still works on some. */
  isRunning: boolean
  /** Jobs that wait for their first start. */
  queueSize: number
  /** The most that may. */
  queueCapacity: number
  /** Those that wait, by priority. */
  waiting: Record<JobPriority, number>
  /** Jobs between two tries; they hold no place in the queue. */
  resting: number
  /** Workers with a job. */
  activeWorkers: number
  totalWorkers: number
  completed: number
  failed: number
  cancelled: number
  /** Handed back by a stop, or ended by the shutdown of the pool. */
  notDone: number
  /** Further tries, those that did not count included. */
  retries: number
  /** Results that nobody has taken yet. */
  resultsWaiting: number
  /** Results that went, the oldest first, while nobody read. */
  resultsDropped: number
  /** From submission to first start; null before the first. */
  averageWaitMs: number | null
  /** From first start to end, of all that were completed or failed; null before the first. */
  averageDurationMs: number | null
}

/** How code is analysed. Unknown options are refused. */
export interface AnalysisOptions {
  /** How much is said. @default 'standard' */
  depth?: 'surface' | 'standard' | 'deep'
  /** For whom: a model that works on the code, somebody who joins the project, readers of its documentation. @default 'developer' */
  audience?: 'llm' | 'developer' | 'documentation'
  /** What kind of project it is, in words that models read, such as `'a web shop'`; at most 200 characters. */
  projectType?: string
  /** Patterns as in a `.gitignore`, from the root: only files that match one, or stand in a folder that does. What is ignored or hidden stays out. */
  include?: string | string[]
  /** Patterns as in a `.gitignore`, from the root: none of these. */
  exclude?: string | string[]
  /** Files and folders that are worked on at a time, from 1; the pool's own limits hold besides. @default 8 */
  concurrency?: number
  /** Bytes, from 1; larger files are skipped. @default 1048576 */
  maxFileBytes?: number
  /** Tokens of a file that are sent at a time, from 500; a longer file is split and its parts are merged. @default 16000 */
  partTokens?: number
  /**
   * A folder where results are kept: the next analysis sends only what has changed, and one that was broken off goes on.
   * Made if it is not there. @default nothing is kept
   */
  cacheDir?: string
  /**
   * Where its pages will be written. Whether they can is looked at before the first call, and pages of an earlier analysis
   * in it are not listed as skipped. Nothing is written: that is `toMarkdown`. Default: not looked at.
   */
  pagesDir?: string
  /** Only providers that serve this model or alias. @default every provider by its own */
  model?: string
  /** What paths of results are relative to, and what nothing is read outside of. @default the folder that is analysed, or the one the file is in */
  root?: string
  /** Ends it: calls under way are cancelled, and the result rejects with the signal's reason. */
  signal?: AbortSignal
}

/** An analysis under way. Reading its progress is up to you, and leaving the loop early does not end it; the `signal` does. */
export interface Analysis extends AsyncIterable<AnalysisProgress> {
  /**
   * Everything that came of it. A file or a folder that failed is in `failed` and sinks nothing.
   *
   * Rejects with {@link InvalidRequestError} for a path or an option that cannot be, or when there is nothing to analyse;
   * with {@link PoolClosedError}; with the signal's reason; and when nothing at all came of it, with the first failure.
   */
  result(): Promise<AnalysisResult>
  /**
   * Writes Markdown into a folder, which is made if it is not there: `README.md` for the project and each folder,
   * `<file>.md` for each file, linked with each other. Pages of an earlier analysis are written over; any other file in
   * the way is an {@link InvalidRequestError}, and nothing is written. Nothing is ever written outside of the folder.
   *
   * @returns the paths of the pages.
   */
  toMarkdown(dir: string | URL): Promise<string[]>
}

/** A file, a folder or the project is over. */
export interface AnalysisProgress {
  /** How many are over, this one included. */
  done: number
  total: number
  /** From the root; `.` is the root. */
  path: string
  kind: AnalysisKind
  /** `cached`: kept from an earlier analysis. `skipped`: a file without a text, or a folder of which nothing came. */
  outcome: 'analyzed' | 'cached' | 'skipped' | 'failed'
}

export type AnalysisKind = 'file' | 'directory' | 'project'

export interface AnalysisResult {
  /** What was analysed, from the root; `.` is the root. */
  path: string
  /** Null: not asked for, or among the failed. */
  project: ProjectAnalysis | null
  /** By path, the root first. */
  directories: DirectoryAnalysis[]
  /** By path. */
  files: FileAnalysis[]
  /** Files that were found and not sent, by path. */
  skipped: SkippedFile[]
  /** What was asked for and did not come, by path. What stands above it was made without it. */
  failed: FailedAnalysis[]
  warnings: string[]
  /** Calls made through the pool. */
  requests: number
  /** Files, folders and the project whose result was kept from an earlier time. */
  cached: number
  /** Secrets that were masked. */
  masked: number
  /** Of the answers that were taken. */
  usage: Usage
  /** USD, of the answers that were taken; null: the price of one of them is not known. */
  cost: number | null
}

export interface FileAnalysis {
  /** From the root, with `/` on every system. */
  path: string
  type: 'source' | 'test' | 'configuration' | 'documentation' | 'build' | 'schema' | 'data' | 'other'
  summary: string
  /** Packages, modules and services that it uses. */
  externalDependencies: string[]
  publicInterfaces: CodeInterface[]
}

/** Something that others may use. Classes count as structs; what other languages call an interface or a protocol, as a trait. */
export interface CodeInterface {
  name: string
  kind: 'function' | 'struct' | 'trait' | 'module' | 'api' | 'configuration' | 'data_model'
  description: string
}

export interface DirectoryAnalysis {
  /** From the root; `.` is the root. */
  path: string
  /** How many folders below the root. */
  depth: number
  summary: string
  keyComponents: { name: string; description: string }[]
  /** Of the files and folders right in it, taken from their own results. */
  childSummaries: { path: string; kind: AnalysisKind; summary: string }[]
  /** All that anything in it uses, taken from the results of what is in it. */
  externalDependencies: string[]
  publicInterfaces: CodeInterface[]
}

export interface ProjectAnalysis {
  overview: string
  architecture: string
  coreTechnologies: string[]
  mainInterfaces: CodeInterface[]
  risks: string[]
}

export interface SkippedFile {
  path: string
  reason: 'binary' | 'too_large' | 'empty' | 'unreadable' | 'symlink' | 'lock_file' | 'generated'
  message: string
}

export interface FailedAnalysis {
  path: string
  kind: AnalysisKind
  message: string
  errorClass: ErrorClass | null
}

/** What an analysis would send. Tokens of files are counted; those of answers, folders and the project are what is usual. */
export interface AnalysisEstimate {
  files: {
    path: string
    bytes: number
    /** Pieces it is sent in. */
    parts: number
    promptTokens: number
    /** Its result is kept: nothing is sent for it. */
    cached: boolean
  }[]
  /** Folders, the root included. */
  directories: number
  skipped: SkippedFile[]
  /** Calls that are made when nothing goes wrong. Folders and the project are always counted. */
  requests: number
  /** Files whose result is kept. */
  cached: number
  masked: number
  promptTokens: number
  completionTokens: number
  /** USD, at the provider of the best priority that serves the model; null: its price is not known. */
  cost: number | null
}

/** What goes over the configuration's section `server`, or beside it. */
export interface ServeOptions {
  /** An address and a port; 0 picks a free one. @default the configuration's `server.http`: '127.0.0.1:7071' */
  http?: string
  /**
   * Where gRPC is spoken, likewise; null: nowhere. The address of `http`: one port for both.
   *
   * @default the configuration's `server.grpc`: '127.0.0.1:7070' while HTTP is at its own default, else nowhere
   */
  grpc?: string | null
  /**
   * Keys, or `sha256:` and the digits of their hashes, beside those of the configuration. Where neither keys nor any other
   * way to know callers is set, everybody may call.
   */
  apiKeys?: string[]
  /**
   * Files in PEM that make connections safe, over the configuration's `server.tls`. They are read when it starts, and again
   * with every {@link LLMPool.reload}: files that cannot be used reject it, and nothing changes. @default none
   */
  tls?: {
    /** The service's certificate, then those between it and its root. */
    cert: string
    /** The private key of the certificate, not encrypted. */
    key: string
    /** Callers must have a certificate of this authority. @default they need none */
    clientCa?: string
  }
  /** Origins whose pages may call, beside those of the configuration. */
  corsOrigins?: string[]
  /** Serve everybody on an address that others can reach. @default false */
  insecure?: boolean
  /** Told of every request when its answer is out: nothing that was said, and no key. */
  onRequest?: (entry: ServedRequest) => void
}

/** A pool on a port. */
export interface Gateway {
  /** Such as `http://127.0.0.1:7071`, or `https://…` where there is a certificate; without a path. */
  readonly url: string
  /** Such as `127.0.0.1:7071`. */
  readonly address: string
  /** What clients of gRPC take, such as `127.0.0.1:7070`; null: it is not spoken. */
  readonly grpcAddress: string | null
  /** The same as a URL, for clients that take one. */
  readonly grpcUrl: string | null
  /** Callers needed a key, a token or a signature when it started. */
  readonly needsKey: boolean
  /** Takes no connection any more, gives requests under way so long, then cuts them. May be called again. */
  close(options?: {
    /** ms @default the configuration's `server.drain_timeout_ms`: 10000 */
    drainTimeout?: number
  }): Promise<void>
  /** The same as {@link close}. */
  [Symbol.asyncDispose](): Promise<void>
}

/** A request that came over a socket and is over. */
export interface ServedRequest {
  /** Unix milliseconds at which it came. */
  time: number
  requestId: string
  method: string
  /** Without its query. */
  path: string
  /** 499: the client left before the answer was whole. Of an RPC: the status that its code stands for. */
  status: number
  durationMs: number
  /** As the client calls itself. */
  client?: string
  provider?: string
  /** The model that answered. */
  model?: string
  /** Requests that went out to providers. */
  attempts?: number
  /** Whether the answer was one that was kept, where that was asked for. */
  cached?: boolean
  promptTokens?: number
  completionTokens?: number
  /** USD; `null` or absent when it is not known. */
  cost?: number | null
  /** Labels of work, as the caller gave them. */
  project?: string
  meta?: Record<string, string>
  /** The class of the failure, also of one after the answer had begun. */
  error?: string
}

/** Exactly one of `configPath`, `configUrl` and `config`. */
export type LLMPoolOptions = PoolSettings &
  (
    | ({
        /**
         * An address to fetch the configuration from: `https`, or `http` to this machine. Its content type says the
         * format, else its extension.
         */
        configUrl: string
        configPath?: undefined
        config?: undefined
      } & RemoteSettings)
    | {
        /** A file: `.json` or `.jsonc` (comments are fine in both), `.yaml`, `.yml`, `.toml`. */
        configPath: string
        configUrl?: undefined
        config?: undefined
      }
    | {
        /** The configuration itself. `${VAR}` in its strings is read from the environment, as in a file. */
        config: PoolConfig
        configPath?: undefined
        configUrl?: undefined
      }
  )

/** Options for `configUrl`. */
export interface RemoteSettings {
  /** Sent there and nowhere else; redirects are not followed. */
  configHeaders?: Record<string, string>
  /** The environment variables that its `${VAR}` may read; files it never reads. @default none */
  configUrlEnv?: string[]
  /** The SHA-256 that the text must have, in hexadecimal. @default any */
  configSha256?: string
  /**
   * A file that keeps what was last in force, so that a start works while the server is down. It holds whatever secrets
   * the text holds. @default none
   */
  configCache?: string
}

/** Every number takes 0 as a value; `null` means "no limit". */
export interface PoolSettings {
  /**
   * ms after which a URL is asked again, and a watched file is read besides; files of secrets are read again, too, which
   * is all that can change for an object given as `config`. 0 or `null`: only when `reload()` is called, or a file
   * changes. @default 300000
   */
  checkInterval?: number | null
  /**
   * A file that keeps what the pool came to (requests, tokens, cost, by provider) and what every provider has used of its
   * day, so that the next start goes on from there. One pool writes one file: for a second one `initialize()` rejects. A damaged file is set aside, with a warning.
   * @default none
   */
  statsFile?: string
  /**
   * ms after which that file is written; it is at every shutdown, too. 0 or `null`: only then, and by `saveStats()`.
   * @default 60000
   */
  saveStatsInterval?: number | null
  /** ms for one attempt; in a stream it ends at the first content. A provider's own `timeout` wins. @default 30000 */
  timeout?: number | null
  /** ms for the whole call, waits and retries included. @default `qos.max_deadline_ms` of the configuration */
  deadline?: number | null
  /** Further attempts after every eligible provider was asked once; 0 still fails over. @default 3 */
  maxRetries?: number
  /** ms before the first of them; it doubles. A provider's own hint wins. @default 1000 */
  retryDelay?: number
  /** false: tokens that nobody reports are estimated at four bytes each. @default true */
  useTokenCounting?: boolean
  /** Emit `debug` events. @default false */
  debug?: boolean
  /** Samples kept per provider for percentiles. @default 1000 */
  historyLimit?: number
}

// === a call ===

/** Fields of OpenAI's chat API. What a provider cannot take is not sent and named in `response.warnings`. */
export interface ChatRequestFields {
  /** Picks the providers that serve this model or alias. @default every provider, each with its own model */
  model?: string
  /** 0–2 */
  temperature?: number
  /** 0–1 */
  top_p?: number
  /** The most tokens the answer may have, at least 1. */
  max_tokens?: number
  /** Another name of `max_tokens`. */
  max_completion_tokens?: number
  stop?: string | string[]
  seed?: number
  /** A call has one answer. */
  n?: 1
  /** −2–2 */
  presence_penalty?: number
  /** −2–2 */
  frequency_penalty?: number
  tools?: Tool[]
  tool_choice?: 'auto' | 'none' | 'required' | { type: 'function'; function: { name: string } }
  parallel_tool_calls?: boolean
  /**
   * A `json_schema` is kept at every provider: in its own field, as the arguments of a tool that must be called, or in
   * words; `warnings` names what was said otherwise. The answer fits the schema as it stands here, or the call rejects.
   */
  response_format?:
    | { type: 'text' }
    | { type: 'json_object' }
    | { type: 'json_schema'; json_schema: { name: string; schema: object; strict?: boolean; description?: string } }
  /** `low`, `medium`, `high`, …: which words there are depends on the model. */
  reasoning_effort?: string
  user?: string
  metadata?: Record<string, unknown>
  stream?: boolean
  /** Merged into the wire body as it is, by type of provider: `{ openai: { logit_bias: … } }`. */
  extra_body?: { [type in ProviderType]?: Record<string, unknown> }

  // Sent to providers of the OpenAI family as they are.
  audio?: object | null
  logit_bias?: Record<string, number> | null
  logprobs?: boolean | null
  modalities?: string[] | null
  prediction?: object | null
  prompt_cache_key?: string
  safety_identifier?: string
  service_tier?: string | null
  store?: boolean | null
  top_logprobs?: number | null
  verbosity?: string | null
  web_search_options?: object
}

export interface ChatRequest extends ChatRequestFields {
  /** At least one. */
  messages: ChatMessage[]
}

/** What any call may set for itself. */
export interface RouteOptions {
  /** Ends the call, down to the socket; it then rejects with `signal.reason`. */
  signal?: AbortSignal
  /**
   * ms for one attempt, over the pool's and the provider's; 0 ends the call before anybody is asked. One that is shorter
   * than what is configured, and than the provider usually takes, does not count against the provider when it runs out.
   */
  timeout?: number
  /** ms for the whole call, waits and retries included. */
  deadline?: number
  /** Further attempts after every eligible provider was asked once. */
  maxRetries?: number
  /** false: only the first eligible provider is asked. */
  failover?: boolean
  /** Only these providers, by name. */
  providers?: string[]
  /** How providers of equal priority share the work. @default `routing.behaviour` of the configuration */
  behaviour?: Behaviour
  /**
   * Calls of the same session stay with the same provider of a tier while it is available, so that it finds its prompt
   * cache warm. Never goes over priority.
   */
  session?: string
  /**
   * On whose behalf: kept answers are never shared between tenants. Where the configuration has `tenants`, it is the `id` of
   * one of them, whose limits bind the call; any other is a {@link PermissionDeniedError}.
   */
  tenant?: string
  /** Your own id for this call; shown in events, errors and the response. @default one made by the pool */
  requestId?: string
  /** Further HTTP headers for the provider. */
  headers?: Record<string, string>
}

/** What a chat or a stream may set for itself. */
export interface CallOptions extends RouteOptions {
  /**
   * Whether an answer that was kept will do, and for how long a new one is kept: `ttl` in **milliseconds**. `true`: as long
   * as `cache.ttl_seconds` of the configuration says. `false`: neither. A `ttl` of 0 keeps nothing; then only identical
   * calls that are under way at the same time share one answer.
   *
   * @default `cache.enabled` of the configuration
   */
  cache?: { ttl?: number } | boolean
  /**
   * How several models answer together; `docs/ensembles.md` says how each decides and what it costs. A stream can only be
   * `FASTEST`.
   *
   * @default the task's, or one provider answers
   */
  strategy?: Strategy
  /** A task of the configuration: its providers, strategy, limits, schema and cache hold for this call. */
  task?: string
}

export type Strategy = 'FASTEST' | 'VOTING' | 'WEIGHTED' | 'CONSENSUS' | 'JUDGE'

/** How an answer of several models came about. */
export interface Decision {
  /** What was asked for. */
  strategy: Strategy
  /** What decided in the end; the `warnings` say why it is another one. */
  strategy_used: Strategy
  /** Every model that was sent the question; the judge is not among them. */
  models_queried: string[]
  /** The answers that were compared, in the order of the configuration; empty where none were. */
  votes: Vote[]
  /** null: no judge was wanted. */
  judge: Judgement | null
}

/** One answer among several. */
export interface Vote {
  provider: string
  model: string
  /** Answers of the same group say the same; counted from 1. */
  group: number
  weight: number
  /** The share of earlier decisions that went its way, 0–1; 0.5 before the first. */
  win_rate: number
  /** It is the answer. */
  winner: boolean
}

/** What became of the judge. */
export interface Judgement {
  /** null: nobody was asked. */
  provider: string | null
  model: string | null
  /**
   * `chose`; `unanimous`: all answers said the same; `unreadable`: its words name no answer; `failed`, or did not answer in
   * time; `missing`: the configuration names none.
   */
  outcome: 'chose' | 'unanimous' | 'unreadable' | 'failed' | 'missing'
}

/** What {@link LLMPool.infer} is to do. */
export interface InferRequest {
  /** Of the configuration: an entry of `tasks`, or one that a provider's `tasks` name. */
  task: string
  prompt: string
  /** What the prompt of the task has places for, beside `{{prompt}}`. */
  variables?: Record<string, string>
  /** @default the task's */
  strategy?: Strategy
  /** @default the task's, which is also the most it may be */
  max_tokens?: number
  /** @default the task's, which is also the longest it may be */
  deadline_ms?: number
  /**
   * Two requests of one tenant with the same id are one, for as long as `cache.ttl_seconds` says, 15 minutes where that is 0:
   * the second has the answer of the first, whatever the cache holds. The same id for another request is refused. The pool
   * knows the 100,000 ids used last, with at most 64 MiB of answers.
   */
  request_id?: string
  /** As of a chat. */
  tenant?: string
  /** As of a chat. @default as the task says */
  cache?: { ttl?: number } | boolean
  /** A label, at most 256 bytes: in the event `decision` and in the log of the gateway. It decides nothing. */
  project?: string
  /** Labels, likewise: at most 16, of names up to 64 bytes and values up to 512. */
  meta?: Record<string, string>
}

export interface InferResponse {
  request_id: string
  task: string
  content: string
  /** What the answer says, where the task has a schema. */
  parsed?: unknown
  refusal?: string
  finish_reason: FinishReason
  /** The model whose answer it is. */
  winner_model: string
  provider: string
  /** ms from the call to its answer. */
  duration_ms: number
  from_cache: boolean
  strategy_used: Strategy
  models_queried: string[]
  votes?: Vote[]
  judge?: Judgement
  /** Of all answers together, the judge's included. */
  usage: Usage
  /** USD for the whole decision, those left unfinished (estimated) included; null when a price is unknown. */
  cost: number | null
  warnings: string[]
  attempts: Attempt[]
}

/** What a function of your own is given with each turn. */
export interface ExecuteTurn {
  /** The provider's name in the pool. */
  provider: string
  /** The model to ask for, as this provider spells it. */
  model: string
  /** null where the provider needs none. Yours to keep out of logs. */
  apiKey: string | null
  /** The root of its API: `https://api.openai.com/v1`. */
  baseURL: string
  /** Aborts when the turn takes too long, or the call is left. */
  signal: AbortSignal
  /** Which attempt of the call, counted from 1. */
  attempt: number
}

export interface ExecuteOptions extends Omit<RouteOptions, 'headers'> {
  /** Picks the providers that serve this model or alias. @default every provider, each with its own model */
  model?: string
}

export type ChatRole = 'system' | 'developer' | 'user' | 'assistant' | 'tool'

export interface ChatMessage {
  role: ChatRole
  /** Needed but on an assistant message with `tool_calls` or `refusal`. */
  content?: string | ContentPart[] | null
  name?: string
  tool_calls?: ToolCall[] | null
  /** On `tool` messages: the call this answers. */
  tool_call_id?: string
  refusal?: string | null
  /** Accepted so that an answer can be sent back as it came; never sent to a provider. */
  reasoning?: string | null
  /** As the answer had it: sent to the provider and model that made it, and to nobody else. */
  reasoning_state?: ReasoningState | null
}

/** What a provider wants back to go on thinking where it stopped. Keep it as it is. */
export interface ReasoningState {
  /** The provider's name in the configuration. */
  provider: string
  /** The model that was asked for, as the provider names it. */
  model: string
  /** In the provider's own shape. */
  state: unknown
}

export type ContentPart =
  | { type: 'text'; text: string }
  | {
      type: 'image_url'
      image_url: {
        /** `https:` or `data:` */
        url: string
        detail?: 'auto' | 'low' | 'high'
      }
    }
  | { type: 'input_audio'; input_audio: { data: string; format: string } }
  | { type: 'file'; file: { file_id?: string; filename?: string; file_data?: string } }

export interface Tool {
  type: 'function'
  function: {
    name: string
    description?: string
    /** JSON Schema of the arguments. */
    parameters?: object
    strict?: boolean
  }
}

export interface ToolCall {
  id: string
  type: 'function'
  /** `arguments` is the model's own text: usually JSON, not always valid. */
  function: { name: string; arguments: string }
}

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter' | 'other'

/**
 * An answer. What a {@link Decision} has is there where a strategy or a task was asked for.
 *
 * @typeParam Parsed what `parsed` is: the caller's word for what the schema describes
 */
export interface ChatResponse<Parsed = unknown> extends Partial<Decision> {
  /** The provider's own id; empty when it sent none. */
  id: string
  content: string
  role: 'assistant'
  tool_calls?: ToolCall[]
  refusal?: string
  reasoning?: string
  /** Signatures and encrypted parts of the reasoning, where a provider has such: send them back with the message. */
  reasoning_state?: ReasoningState
  /**
   * What the answer says, where `response_format` is a `json_schema`: it fits the schema. Left out when the model called
   * tools, declined or ran out of tokens.
   */
  parsed?: Parsed
  finish_reason: FinishReason
  /** The provider's own word. */
  raw_finish_reason: string | null
  /** The model that really answered. */
  model: string
  /** The provider that really answered. */
  provider: string
  /** Unix seconds; 0 when the provider sent none. */
  created: number
  usage: Usage
  /**
   * USD, by the configured prices or the catalogue's; null when no price is known, never 0 for unknown. With a strategy or
   * a task: of the whole decision, those that were not chosen or left unfinished and the judge included.
   */
  cost: number | null
  /**
   * The answer was kept, or made for an identical call that was under way: it cost nothing, `cost` is 0 and `attempts` is
   * empty. `usage` is that of the answer when it was made.
   */
  cached: boolean
  /** From the call to its answer. */
  latencyMs: number
  requestId: string
  /** What of the request could not be taken as it was. */
  warnings: string[]
  /** Every try, in order, and every refusal that sent nothing. */
  attempts: Attempt[]
}

export interface Usage {
  /** Includes the cached part. */
  prompt_tokens: number
  /** Includes reasoning. */
  completion_tokens: number
  total_tokens: number
  cached_tokens: number
  cache_write_tokens: number
  reasoning_tokens: number
  /** The provider reported nothing; the pool counted. */
  estimated: boolean
}

/** One line of the trail of a call. */
export interface Attempt {
  provider: string
  model: string
  /** Which of the provider's keys, counted from 0; null where none was used. */
  keyIndex: number | null
  outcome: AttemptOutcome
  errorClass?: ErrorClass
  /** HTTP status, when there was a reply. */
  status?: number
  latencyMs: number
  /** Time spent waiting before it: backoff, or a limit. */
  waitedMs: number
}

/**
 * From `marked` on nothing was sent. `marked`: by {@link LLMPool.markError}. `busy`: `max_concurrent` of the provider or the
 * pool was reached. `budget`: a budget has no room for it, or cannot say whether it has.
 * `model_missing`: the provider said within the last five minutes that it does not have this model.
 */
export type AttemptOutcome =
  | 'success'
  | 'failure'
  | 'cancelled'
  | 'marked'
  | 'breaker_open'
  | 'rate_limited'
  | 'busy'
  | 'key_cooling'
  | 'model_missing'
  | 'retry_budget'
  | 'budget'

/** The row of the failure table that a failure belongs to. */
export type ErrorClass =
  | 'auth'
  | 'permission'
  | 'quota_exhausted'
  | 'rate_limit'
  | 'overloaded'
  | 'server_error'
  | 'timeout'
  | 'model_loading'
  | 'model_not_found'
  | 'unsupported'
  | 'context_length'
  | 'request_too_large'
  | 'content_filter'
  | 'invalid_request'
  | 'model_output_invalid'
  | 'stream_truncated'
  | 'bad_reply'
  | 'network'

// === embeddings ===

export interface EmbeddingRequest {
  /**
   * A text, texts, or tokens where a provider's vocabulary is its own: one list of them or several. None may be empty.
   */
  input: string | string[] | number[] | number[][]
  /** Picks the providers that serve this model or alias. @default every provider that may make embeddings */
  model?: string
  /** Numbers a vector is to have; not asked of a provider that cannot cut them. @default as many as the model makes */
  dimensions?: number
  /** `base64`: 32-bit floats, little-endian, whatever the provider sends. @default 'float' */
  encoding_format?: 'float' | 'base64'
  user?: string
  /** Merged into the wire body as it is, by type of provider: `{ cohere: { input_type: 'search_query' } }`. */
  extra_body?: { [type in ProviderType]?: Record<string, unknown> }
}

/** OpenAI's answer, with what the pool knows of it. */
export interface EmbeddingResponse<Vector extends number[] | string = number[]> {
  object: 'list'
  /** In the order of the inputs. */
  data: { object: 'embedding'; index: number; embedding: Vector }[]
  /** The model that really answered. */
  model: string
  /** The provider that really answered. */
  provider: string
  /** Of all batches. */
  usage: Usage
  /** USD; null when no price is known. */
  cost: number | null
  latencyMs: number
  requestId: string
  /** What of the request could not be taken as it was. */
  warnings: string[]
  /** Every try of every batch, in order. */
  attempts: Attempt[]
}

// === a stream ===

/**
 * An answer as it is written. Iterate it once; leaving the loop early closes the upstream socket. A stream that the
 * provider cuts short rejects with {@link StreamInterruptedError}: it never ends as if it were complete.
 */
export interface ChatStream<Parsed = unknown> extends AsyncIterable<ChatChunk> {
  [Symbol.asyncIterator](): AsyncIterableIterator<ChatChunk>
  /** Ends the call, down to the socket. Whoever reads is told `reason`. @default an `AbortError` */
  abort(reason?: unknown): void
  /**
   * The whole answer, when it is there; works beside an iteration and without one. From the first time it is asked for,
   * the upstream is read to its end at full speed, whatever the pace of the iteration.
   */
  response(): Promise<ChatResponse<Parsed>>
  /** The text of the whole answer. */
  text(): Promise<string>
  /** The chunks as a web stream. The upstream is read at the pace of the reader; cancelling it ends the call. */
  toReadableStream(): ReadableStream<ChatChunk>
}

export interface ChatChunk {
  /** The next piece of the text; empty on a chunk that carries something else. */
  delta: string
  provider: string
  model: string
  reasoning?: string
  refusal?: string
  tool_calls?: ToolCallDelta[]
  finish_reason?: FinishReason
  usage?: Usage
}

/** A piece of a tool call. `id`, `type` and `name` come with the first piece. */
export interface ToolCallDelta {
  index: number
  id?: string
  type?: 'function'
  function: { name?: string; arguments: string }
}

// === what the pool shows ===

export type CircuitState = 'closed' | 'open' | 'half-open'

export interface ProviderListing {
  name: string
  type: ProviderType
  model: string
  priority: number
  enabled: boolean
}

export interface PoolHealth {
  /** At least one provider is available, and the pool's budget has room. */
  healthy: boolean
  totalProviders: number
  availableProviders: number
  /**
   * Who a plain call would be asked of first now, as `explain()` has it, `routing.max_concurrent` aside; null when nobody
   * can be asked. Where chance decides (`adaptive` among three and more) it is who the very next call is asked of.
   */
  bestProvider: string | null
  providers: Record<string, ProviderHealth>
}

/** What a call would do if it came now, and why. */
export interface Explanation {
  /** Somebody is asked at once; or it waits, because what is in the way ends soon enough; or it fails at once. */
  outcome: 'ask' | 'wait' | 'fail'
  /** Who would be asked first; null unless the outcome is `'ask'`. */
  wouldAsk: string | null
  /** The outcome in a sentence. */
  reason: string
  /** Unix ms at which a wait is over at the latest; null where it waits only for other calls to end, or not at all. */
  retryAt: number | null
  behaviour: Behaviour
  /** First those that can be asked, best first; then those that cannot be asked now; then those that cannot answer it. */
  providers: ExplainedProvider[]
}

export interface ExplainedProvider {
  name: string
  type: ProviderType
  /** What it would be asked for; null: it does not serve the model that is asked for. */
  model: string | null
  /**
   * `first`: asked first, as soon as the pool has a slot. `next`: could be asked now, and is when those before it have
   * failed. `blocked`: could answer, and cannot be asked now. `excluded`: not asked by this call at all.
   */
  verdict: 'first' | 'next' | 'blocked' | 'excluded'
  /** 1 is asked first, 2 when that fails, and so on; null for those that are not asked. */
  rank: number | null
  priority: number
  weight: number
  /** How good it has been lately, 0 to 1, as `adaptive` sees it. */
  score: number
  /** What is against it, the first thing first; null: nothing. */
  reason: string | null
  /** Unix ms at which that ends, where that is known. */
  retryAt: number | null
  /** Every rule with what it says for itself; those about how the provider is doing only where it can answer the call. */
  rules: RuleVerdict[]
}

export interface RuleVerdict {
  /** Whether it can answer the call, and whether it can be asked now. */
  rule:
    | 'providers'
    | 'enabled'
    | 'weight'
    | 'model'
    | 'capabilities'
    | 'context_window'
    | 'health'
    | 'budget'
    | 'marked'
    | 'model_exists'
    | 'circuit_breaker'
    | 'keys'
    | 'limits'
    | 'max_concurrent'
    | 'queue'
    | 'remaining'
  ok: boolean
  reason: string | null
  /** Unix ms at which that ends, where that is known. */
  retryAt: number | null
}

export interface ProviderHealth {
  name: string
  type: ProviderType
  /**
   * Enabled, not marked as broken, up as far as active checks say, its breaker lets calls through, no limit is reached, its
   * budget has room, a key is usable, and it has not just said that it does not have its own model.
   */
  available: boolean
  circuitBreakerOpen: boolean
  circuitState: CircuitState
  /**
   * Unix ms at which a mark, its breaker, its keys, its limits, its budget and what it said of its own model let a call
   * through again; null when that is now, or never.
   */
  retryAt: number | null
  /** In the rolling minute, by the configured limit or as the provider says, whichever is less; null where neither is known. */
  requestsRemaining: number | null
  /** In the calendar day of `day_timezone`, likewise. */
  dailyRequestsRemaining: number | null
  /** Tokens that still fit under `tokens_per_minute` and `tokens_per_day`, likewise. */
  tokensRemaining: number | null
  /** Percent of all attempts that ended by themselves, 0–100; 100 before the first. */
  successRate: number
  /**
   * 0–100: the success rate of the last `historyLimit` attempts less a point per second of p95 latency, twenty at most.
   * For people; nothing is routed by it.
   */
  reliabilityScore: number
  /** ms, of the last `historyLimit` answers; 0 before the first. */
  averageResponseTime: number
  /** Attempts that were sent and have ended. */
  totalRequests: number
  /** Attempts that failed, but not by the caller's own fault. */
  errors: number
  /** Unix ms at which the last attempt was sent; null before the first. */
  lastUsed: number | null
  /** Stays after a success. Never shows a key. */
  lastError: string | null
}

export interface ProviderStats {
  type: ProviderType
  model: string
  priority: number
  /** Its part of the calls of its priority, where the behaviour is `weighted`. */
  weight: number
  enabled: boolean
  health: ProviderHealth
  usage: {
    /** Attempts that were sent and have ended. */
    totalRequests: number
    successfulRequests: number
    /** Attempts that failed, but not by the caller's own fault. */
    errors: number
    /** Of answers, of streams that were cut, and of calls that were left. */
    totalTokensUsed: number
    promptTokens: number
    completionTokens: number
    /** USD: the known part; answers without a price are counted in `unpricedRequests`. */
    totalCost: number
    unpricedRequests: number
    requestsRemaining: number | null
    dailyRequestsRemaining: number | null
    /** Attempts under way. */
    inFlight: number
  }
  performance: {
    /** As in {@link ProviderHealth}. */
    successRate: number
    reliabilityScore: number
    averageResponseTime: number
    /** ms, exact, of the last `historyLimit` answers; null before the first. */
    p50: number | null
    p95: number | null
    p99: number | null
    /** Median ms from sending to the first content, of the last `historyLimit` streams; null before the first. */
    timeToFirstToken: number | null
    circuitBreakerOpen: boolean
  }
  /** In the order of the configuration; empty for a provider without keys. */
  keys: KeyStats[]
  /** Its own budget; null: it has none. */
  budget: BudgetStats | null
}

/** The limits of a budget as they stand; null where it has none. */
export interface BudgetStats {
  daily: BudgetPeriodStats | null
  monthly: BudgetPeriodStats | null
}

export interface BudgetPeriodStats {
  /** USD. */
  limit: number
  /** USD of answers, of streams that were cut, and of calls that were left. */
  spent: number
  /** USD set aside for requests under way. */
  reserved: number
  /** Unix ms at which the day or month ends. */
  resetAt: number
}

/** A key is known by its place; its value is never shown. */
export interface KeyStats {
  /** Counted from 0; the `keyIndex` of an attempt. */
  index: number
  /** `resting`: it met a limit. `retired`: it was refused. `probing`: one call tries whether it works again. */
  state: 'ready' | 'resting' | 'retired' | 'probing'
  /** Unix ms at which it is used again. */
  retryAt: number | null
  /** Why it is not used, while it is not. */
  errorClass: ErrorClass | null
}

export interface PoolStats {
  /** Calls begun, those under way included. */
  totalRequests: number
  successfulRequests: number
  failedRequests: number
  /** Calls that their caller left. They lower no rate. */
  cancelledRequests: number
  /** Percent of the calls that succeeded or failed, 0–100; 100 before the first. */
  successRate: number
  /** Attempts under way. */
  activeConnections: number
  /** `routing.max_concurrent`; null: no limit. */
  maxPermits: number | null
  /** How many more could begin now; null: no limit. */
  availablePermits: number | null
  /** Times a breaker opened, since the process began. */
  circuitBreakerTrips: number
  /** Moves of a call to another provider after a failure. */
  failoverCount: number
  /** Attempts at a provider that the same call had asked before. */
  retryCount: number
  /** Second copies of calls that went out (`qos.hedge`), those under way included. */
  hedgeCount: number
  /** Second copies that answered first, since the process began. */
  hedgesWon: number
  /** Second copies that ended in another way, since the process began. */
  hedgesLost: number
  /**
   * USD that the copies which were left may have cost since the process began: estimated, the known part. It is in
   * `totalCost`.
   */
  hedgeCost: number
  /** Calls answered by what was kept, or by an identical call that was under way. They are successful requests, too. */
  cacheHits: number
  /** Calls that looked for a kept answer and asked a provider. */
  cacheMisses: number
  /** ms, of the last `historyLimit` calls that succeeded or failed; 0 before the first. */
  avgRequestDurationMs: number
  /** ms, exact, of the same calls; null before the first. */
  p50: number | null
  p95: number | null
  p99: number | null
  /**
   * Microseconds that a successful call spent in the pool itself: from handing it to the core until its answer was ready,
   * less upstream time and waits. In a stream, until its first content.
   */
  overheadP50Us: number | null
  overheadP99Us: number | null
  totalTokens: number
  /** USD: the known part; answers without a price are counted in `unpricedRequests`. */
  totalCost: number
  unpricedRequests: number
  /** The pool's own budget; null: it has none. */
  budget: BudgetStats | null
  /** Calls of tasks, by name; calls with a strategy and no task stand under the empty name. Since the process began. */
  tasks: Record<string, TaskStats>
  /** The tenants of the configuration, by id. */
  tenants: Record<string, TenantStats>
  /** 1 at the start; one more with every change. 0 before the pool is initialized. */
  configVersion: number
  /** SHA-256 of the configuration's text. */
  configChecksum: string | null
}

/** How a tenant of the configuration stands. Totals survive a restart with `statsFile`. */
export interface TenantStats {
  /** `false`: every call of it is refused. */
  enabled: boolean
  /** Calls that were let in, those answered by what was kept included. */
  totalRequests: number
  /** Calls that one of its limits refused. */
  refusedRequests: number
  /** Of the attempts that ended, those whose answer nobody took included. */
  totalTokens: number
  promptTokens: number
  completionTokens: number
  /** USD; the known part. */
  totalCost: number
  /** Attempts that used tokens at an unknown price. */
  unpricedRequests: number
  /** Calls that would be let in now, one after the other (`rps`, `burst`); null: no limit. */
  requestsRemaining: number | null
  /** Of `tokens_per_day`; null: no limit. */
  tokensRemaining: number | null
  /** Its budget; null: it has none. */
  budget: BudgetStats | null
}

export interface TaskStats {
  answers: number
  failures: number
  /** Answers that were kept, or made for an identical call; they are among the answers. */
  cacheHits: number
  /** Second copies that `FASTEST` sent out. */
  hedges: number
  /** Answers that were made, by the strategy that decided in the end. */
  strategies: Partial<Record<Strategy, number>>
  /** The same answers, by provider. */
  winners: Record<string, number>
}

export type AnalyticsWindow = '1h' | '24h' | '7d'

/** Tokens and money of attempts that ended. */
export interface AnalyticsSpent {
  totalTokens: number
  promptTokens: number
  completionTokens: number
  /** USD: the known part; answers without a price are counted in `unpricedRequests`. */
  totalCost: number
  unpricedRequests: number
}

/** What ended in a window of time. Percentiles are within 6.25 %, everything else is exact. */
export interface Analytics extends AnalyticsSpent {
  window: AnalyticsWindow
  /** Unix ms: the start of the first slot. */
  from: number
  /** Unix ms: now. */
  to: number
  /** ms: the width of a slot of the time series. */
  stepMs: number
  /** Calls that ended. */
  totalRequests: number
  successfulRequests: number
  failedRequests: number
  cancelledRequests: number
  /** 0–100; 100 without a call. */
  successRate: number
  circuitBreakerTrips: number
  failoverCount: number
  retryCount: number
  /** Second copies of calls that went out (`qos.hedge`). */
  hedgeCount: number
  cacheHits: number
  cacheMisses: number
  /** ms; 0 without a call. */
  avgRequestDurationMs: number
  /** ms; null without a call. */
  p50: number | null
  p95: number | null
  p99: number | null
  /** As in {@link PoolStats}. */
  overheadP50Us: number | null
  overheadP99Us: number | null
  /** By name, providers that have left the pool included; only those that did something. */
  providerBreakdown: Record<
    string,
    AnalyticsSpent & {
      totalRequests: number
      successfulRequests: number
      errors: number
      successRate: number
      circuitBreakerTrips: number
      averageResponseTime: number
      p50: number | null
      p95: number | null
      p99: number | null
    }
  >
  /** Every slot of the window, oldest first, the one under way last. */
  timeSeries: (AnalyticsSpent & {
    /** Unix ms of its start. */
    at: number
    totalRequests: number
    successfulRequests: number
    failedRequests: number
    cancelledRequests: number
    failoverCount: number
    retryCount: number
    avgRequestDurationMs: number
    p95: number | null
  })[]
}

// === events ===

/**
 * An event that nobody listens to is never built. Events of a call come before its promise settles. A listener that
 * throws breaks no call: its exception is thrown on the next tick.
 */
export interface PoolEvents {
  ready: []
  shutdown: []
  /** Another configuration is in force: as it was written, every secret masked. */
  configChanged: [config: PoolConfig]
  providersUpdated: [providers: ProviderListing[], change: { added: string[]; removed: string[]; changed: string[] }]
  requestSuccess: [event: RequestSuccessEvent]
  requestError: [event: RequestErrorEvent]
  circuitOpen: [
    event: {
      provider: string
      reason: string
      /** Unix ms of the first probe. */
      retryAt: number
    },
  ]
  circuitHalfOpen: [event: { provider: string }]
  circuitClose: [event: { provider: string }]
  rateLimited: [
    event: {
      provider: string
      /** `upstream`: the provider said so. */
      kind: 'requests_per_minute' | 'requests_per_day' | 'tokens_per_minute' | 'tokens_per_day' | 'upstream'
      /** Unix ms; null when nobody said. */
      resetAt: number | null
    },
  ]
  /** `warn_at` of a budget is spent. Once per day or month, with the call that ends next. */
  budgetWarning: [
    event: {
      scope: 'pool' | 'provider' | 'tenant'
      /** Whose budget it is, where it is a provider's. */
      provider?: string
      /** Whose budget it is, where it is a tenant's. */
      tenant?: string
      period: 'daily' | 'monthly'
      /** USD. */
      spent: number
      /** USD. */
      limit: number
      /** Unix ms at which the day or month ends. */
      resetAt: number
    },
  ]
  /** A limit of its tenant ended a call. */
  tenantRefused: [
    event: {
      /** null: it was refused before it had one. */
      requestId: string | null
      tenant: string
      limit: TenantLimit
      /** Unix ms at which there is room again; null: a wait does not help, or nobody knows how long. */
      resetAt: number | null
    },
  ]
  /**
   * Active checks (`health.active`) found a provider broken, or up again; or {@link LLMPool.markError} or
   * {@link LLMPool.clearError} said so.
   */
  healthChanged: [
    event: {
      provider: string
      healthy: boolean
      /** What the last check failed with, or that it was marked; null when it is up again. */
      reason: string | null
      /** Unix ms at which a mark ends by itself, which no further event tells; null for all else. */
      retryAt: number | null
    },
  ]
  providerPriorityChanged: [event: { provider: string; priority: number }]
  circuitBreakersReset: [event: { providers: string[] }]
  /** A call with a strategy or a task was answered; of a stream at its end. */
  decision: [
    event: {
      requestId: string
      /** null: of no task. */
      task: string | null
      strategy: Strategy
      strategyUsed: Strategy
      provider: string
      model: string
      votes: Vote[]
      judge: Judgement | null
      hedged: boolean
      cached: boolean
      latencyMs: number
      cost: number | null
      /** Labels of an `infer()`. */
      project?: string
      meta?: Record<string, string>
    },
  ]
  /** Only with `debug: true`. */
  debug: [message: string]
  /** Something failed in the background. Without a listener it becomes a process warning, never a crash. */
  error: [error: unknown]
}

export interface RequestSuccessEvent {
  requestId: string
  provider: string
  model: string
  /** Which attempt of the call, counted from 1; 0 when nobody had to be asked. */
  attempt: number
  latencyMs: number
  usage: Usage
  cost: number | null
  /** As in {@link ChatResponse}. */
  cached: boolean
  /** The call's own; left out where it has none. */
  tenant?: string
  /** Failed attempts of this call before it. */
  totalErrors: number
  excludedProviders: string[]
}

export interface RequestErrorEvent {
  requestId: string
  provider: string
  /** Which attempt of the call, counted from 1. */
  attempt: number
  /** The message. */
  error: string
  errorClass: ErrorClass
  status: number | null
  retryable: boolean
  /** The call's own; left out where it has none. */
  tenant?: string
  excludedProviders: string[]
}

/**
 * A limit of a tenant, by its key in the configuration; `enabled`: it is switched off, `id`: there is no such tenant.
 */
export type TenantLimit = 'rps' | 'tokens_per_day' | 'budget' | 'tasks' | 'models' | 'enabled' | 'id'

// === errors ===

/** What every error of the pool is. No message, field or stack of one holds a key. */
export declare class LLMPoolError extends Error {
  constructor(message: string, options?: ErrorOptions)
  /** Is this an error of the class it is asked of? Works across copies of the package, where `instanceof` does not. */
  static isInstance<T extends abstract new (...args: never[]) => LLMPoolError>(
    this: T,
    value: unknown,
  ): value is InstanceType<T>
  /** Never changes its meaning: safe to branch on. */
  code: string
  errorClass: ErrorClass | null
  provider: string | null
  model: string | null
  /** HTTP status of the failure, when there was a reply. */
  status: number | null
  /** The same as `status`. */
  get statusCode(): number | null
  /** The same call has a chance a little later. */
  retryable: boolean
  /** When it has a chance, if anyone said; of a {@link NoProviderError}, when the first of the providers can be asked again. */
  retryAfterMs: number | null
  requestId: string | null
  attempts: Attempt[]
  /** The tenant whose limit ended the call; left out where it was none's. */
  tenant?: string
  /** Which of its limits it was. */
  tenantLimit?: TenantLimit
  toJSON(): { name: string; message: string; code: string; [field: string]: unknown }
}

/** Bad options or configuration. `ERR_LLMPOOL_CONFIG` */
export declare class ConfigurationError extends LLMPoolError {
  constructor(message: string, options?: ErrorOptions)
  /** Every mistake, with its path. */
  problems: { path: string; message: string }[]
}

/**
 * Refused before anything was sent. `ERR_LLMPOOL_INVALID_REQUEST`; `ERR_LLMPOOL_IDEMPOTENCY_MISMATCH` for a `request_id`
 * that was used for another request.
 */
export declare class InvalidRequestError extends LLMPoolError {
  constructor(message: string, field?: string, options?: ErrorOptions)
  /** `messages[2].role`; empty when it is the whole request. */
  field: string
}

/**
 * A provider failed and nothing else was left, or it found the request itself wrong (`retryable` is then false).
 * `ERR_LLMPOOL_PROVIDER`
 */
export declare class ProviderError extends LLMPoolError {
  constructor(message: string, provider?: string | null, statusCode?: number | null, retryable?: boolean)
}

/** Every usable provider is limited, or the `tenant` of the call is. `ERR_LLMPOOL_RATE_LIMITED` */
export declare class RateLimitError extends ProviderError {
  constructor(message: string, provider?: string | null, resetTime?: number | null)
  /** **Seconds** until the soonest is free; null when nobody said. */
  resetTime: number | null
}

/** A timer fired and nothing was left. `ERR_LLMPOOL_TIMEOUT` */
export declare class TimeoutError extends ProviderError {
  constructor(message: string, provider?: string | null, phase?: TimeoutError['phase'])
  /** Which timer. */
  phase: 'connect' | 'first_byte' | 'first_content' | 'attempt' | 'content_idle' | 'deadline' | null
}

/** A stream was cut after content was delivered. `ERR_LLMPOOL_STREAM_INTERRUPTED` */
export declare class StreamInterruptedError extends ProviderError {
  constructor(message: string, provider?: string | null, partial?: StreamInterruptedError['partial'])
  /** What had come. Not printed and not in JSON. */
  partial?: {
    content: string
    tool_calls?: ToolCall[]
    refusal?: string
    reasoning?: string
    finish_reason: FinishReason | null
    usage?: Usage
  }
}

/** Nobody is eligible: none configured, all breakers open, no such model, nobody capable of what the call needs. `ERR_LLMPOOL_NO_PROVIDER` */
export declare class NoProviderError extends LLMPoolError {
  constructor(message: string)
  /** Why each could not be asked. */
  reasons: { provider: string; reason: string }[]
}

/**
 * A spend limit would be passed, and no other provider could be asked. Thrown at once: nothing waits for another day.
 * `provider` is whose budget it is, or `tenant`; neither: the pool's. Of several limits it is the one that has room again first.
 * `ERR_LLMPOOL_BUDGET`
 */
export declare class BudgetExceededError extends LLMPoolError {
  constructor(message: string)
  scope: 'pool' | 'provider' | 'tenant'
  period: 'daily' | 'monthly'
  /** USD. */
  limit: number
  /** USD of answers. */
  spent: number
  /** USD set aside for requests under way. */
  reserved: number
  /**
   * Unix ms at which the day or month ends, `retryAfterMs` from now; null: this request alone asks for more than the limit,
   * or only requests under way (`reserved`) are in the way.
   */
  resetAt: number | null
}

/**
 * The tenant of the call may not do this: there is no such tenant, it is switched off, or the task or the model is none of
 * its own. `tenant` and `tenantLimit` say which; 403 over HTTP. `ERR_LLMPOOL_PERMISSION`
 */
export declare class PermissionDeniedError extends LLMPoolError {}

/** A background processor has no place for one more job: wait, or submit with `{ wait: true }`. `ERR_LLMPOOL_QUEUE_FULL` */
export declare class QueueFullError extends LLMPoolError {
  constructor(message: string)
}

/** The pool was shut down, or the background processor stopped. A call that it ended has its `requestId` and `attempts`. `ERR_LLMPOOL_CLOSED` */
export declare class PoolClosedError extends LLMPoolError {
  constructor(message?: string)
}

// === messages ===

/** A message of plain text. */
export declare function createTextMessage(role: ChatRole, text: string): ChatMessage

/** A message of a text and an image; the image is an `https:` or `data:` URL. */
export declare function createImageMessage(
  role: ChatRole,
  text: string,
  imageUrl: string,
  detail?: 'auto' | 'low' | 'high',
): ChatMessage

/** A message of several parts, in order; a string is a part of text. */
export declare function createMixedMessage(role: ChatRole, parts: (string | ContentPart)[]): ChatMessage

/** Types of providers, as a config file names them. */
export declare const PROVIDERS: {
  readonly OPENAI: 'openai'
  readonly AZURE: 'azure'
  readonly ANTHROPIC: 'anthropic'
  readonly GEMINI: 'gemini'
  readonly COHERE: 'cohere'
  readonly OLLAMA: 'ollama'
  readonly GROQ: 'groq'
  readonly TOGETHER: 'together'
  readonly MISTRAL: 'mistral'
  readonly DEEPSEEK: 'deepseek'
  readonly OPENROUTER: 'openrouter'
  readonly XAI: 'xai'
  readonly FIREWORKS: 'fireworks'
  readonly PERPLEXITY: 'perplexity'
  readonly OPENAI_COMPATIBLE: 'openai-compatible'
}

/** Types of the parts of a message. */
export declare const MESSAGE_TYPES: {
  readonly TEXT: 'text'
  readonly IMAGE: 'image_url'
  readonly AUDIO: 'input_audio'
  readonly FILE: 'file'
}

export type ProviderType = (typeof PROVIDERS)[keyof typeof PROVIDERS]

// === configuration ===

/** What a config file holds. Unknown keys are errors. */
export interface PoolConfig {
  /** For editors; the pool does not read it. */
  $schema?: string
  providers: ProviderConfig[]
  routing?: RoutingConfig
  health?: HealthConfig
  cache?: CacheConfig
  /** How the pool is served over HTTP, where it is. */
  server?: {
    /** An address and a port, 0 for a free one. @default '127.0.0.1:7071' */
    http?: string
    /** Keys, or `sha256:` and the 64 hexadecimal digits of their hashes. @default none */
    api_keys?: string[]
    /** Holders of these tokens may call. `docs/security.md` has all of it. @default none */
    jwt?: {
      /** The only algorithm that is taken. */
      alg:
        | 'HS256'
        | 'HS384'
        | 'HS512'
        | 'RS256'
        | 'RS384'
        | 'RS512'
        | 'PS256'
        | 'PS384'
        | 'PS512'
        | 'ES256'
        | 'ES384'
        | 'EdDSA'
      /** A secret of at least 32, 48 or 64 bytes for `HS…`, else a public key in PEM. Either this or `jwks_url`. */
      key?: string
      /** The issuer's list of keys: `https`, or `http` to this machine. */
      jwks_url?: string
      /** The service's own name. @default none: a token that names an audience is refused */
      aud?: string
      /** Who must have issued a token. @default anybody who has the key */
      iss?: string
      /** A scope that a token must have, in `scope` or `scp`. @default none */
      scope?: string
      /** The claim that says on whose behalf the holder calls; needed where there are tenants. @default 'tenant' */
      tenant_claim?: string
      /** Seconds by which the clocks of issuer and service may differ, 0–300. @default 30 */
      leeway_s?: number
    }
    /** Clients that sign their requests may call. @default none */
    hmac?: {
      clients: {
        /** What it calls itself in `X-Api-Key`. Unique. */
        id: string
        /** At least 32 bytes, and no other client's. */
        secret: string
        /** On whose behalf it calls. @default nobody's in particular */
        tenant?: string
      }[]
      /** Seconds by which the time of a request may differ; at least 1. @default 300 */
      max_skew_s?: number
    }
    /** Files in PEM that make connections safe. @default none */
    tls?: {
      cert: string
      key: string
      /** Callers must have a certificate of this authority. @default they need none */
      client_ca?: string
    }
    /** Serve everybody on an address that others can reach. @default false */
    insecure?: boolean
    /** A longer request is refused; null: no limit. @default 16777216 */
    max_body_bytes?: number | null
    /** For the head of a request, ms; null: no limit. Between requests a connection is kept 5 minutes. @default 10000 */
    header_timeout_ms?: number | null
    /** For the body of a request, ms; null: no limit. @default 60000 */
    body_timeout_ms?: number | null
    /** For a client to take anything of what it is sent, ms; null: no limit. @default 60000 */
    write_timeout_ms?: number | null
    /** Connections at once; null: no limit. @default 10000 */
    max_connections?: number | null
    /** How long requests under way get when it closes, ms. @default 10000 */
    drain_timeout_ms?: number
    /** Origins whose pages may call, or `'*'`. @default none */
    cors_origins?: string[]
  }
  /** On whose behalf calls are made, and within what. @default none: a call's `tenant` is only a label */
  tenants?: TenantConfig[]
  ensemble?: EnsembleConfig
  /** Kinds of work by name. */
  tasks?: Record<string, TaskConfig>
  qos?: {
    /** The longest any call may take; null: no limit. @default 600000 */
    max_deadline_ms?: number | null
    /** What takes long is asked of a second provider as well; the first good answer wins. @default false */
    hedge?: boolean
    /**
     * ms the first is waited for; 0: both at once. `'p95'`: as long as 95 of 100 of its answers took, once 50 are known.
     *
     * @default 300
     */
    hedge_after_ms?: number | 'p95'
    /** Second copies per call, 0–1, saved up to two; 0: none. @default 0.05 */
    hedge_budget?: number
    /** @default 16777216 */
    max_prompt_bytes?: number | null
    /** After decompression. @default 33554432 */
    max_response_bytes?: number | null
  }
  /** What the whole pool may spend. @default no limit */
  budget?: BudgetConfig | null
  /** Images and files that a message names by their address, for providers that fetch nothing themselves. */
  media?: {
    /** Whether anything is fetched. @default false */
    fetch?: boolean
    /** Bytes of one image or file; null: no limit but `qos.max_prompt_bytes`. @default 20971520 */
    max_bytes?: number | null
    /** ms for one image or file; null: no limit but the deadline of the call. @default 10000 */
    timeout_ms?: number | null
    /** Hosts that may have addresses outside the public internet. @default [] */
    allow_hosts?: string[]
  }
  /** Asked before the pool's own failure table; the first that matches counts. */
  failures?: FailureRow[]
}

/**
 * Money in a calendar day and a calendar month. A request goes out while what was spent, what is reserved for requests under
 * way and what it needs itself stay within every limit; without room the call goes to another provider, or fails at once with
 * {@link BudgetExceededError}.
 */
export interface BudgetConfig {
  /** USD in a calendar day; 0: only what costs nothing. @default no limit */
  daily_usd?: number | null
  /** USD in a calendar month; 0: only what costs nothing. @default no limit */
  monthly_usd?: number | null
  /**
   * `soft` reserves what a request is likely to cost, so those under way may pass the limit by what they cost beyond that.
   * `strict` reserves the most it can cost, which needs `max_tokens` (else {@link InvalidRequestError}), and is never passed.
   *
   * @default 'soft'
   */
  mode?: 'soft' | 'strict'
  /** A request whose price nobody knows: refused, or let through and not counted. @default 'deny' */
  on_unknown_price?: 'deny' | 'allow'
  /** The share of a limit that `budgetWarning` tells once; 0: with the first money, null: never. @default 0.8 */
  warn_at?: number | null
  /** Where days and months begin at midnight, as the IANA names it. @default 'UTC' */
  timezone?: string
}

/** At least one of `status`, `code` and `message`; all that is given must hold. */
export interface FailureRow {
  /** Only at providers of this type. */
  type?: ProviderType
  /** Only at this provider. */
  provider?: string
  /** Of the reply, 300 to 599, or what an error inside a 200 claims. */
  status?: number
  /** One of the codes, types and status words in the error; case does not count. */
  code?: string
  /** A piece of what the provider says; case does not count. */
  message?: string
  /** What it means; the docs' failure table says what follows. */
  class: ErrorClass
}

/** Whole answers, kept in the memory of this pool. */
export interface CacheConfig {
  /** Every chat and stream takes a kept answer where there is one. @default false */
  enabled?: boolean
  /** How long an answer is kept, where a call does not say; 0: not at all. @default 900 */
  ttl_seconds?: number
  /** 0: none; null: no limit. @default 10000 */
  max_entries?: number | null
  /** All kept answers together, about; 0: nothing is kept; null: no limit. @default 104857600 */
  max_bytes?: number | null
  /** A larger answer is not kept; null: no limit but `max_bytes`. @default 1048576 */
  max_entry_bytes?: number | null
}

/** How several models answer together. */
export interface EnsembleConfig {
  /** Of tasks that do not say. @default 'FASTEST' */
  default_strategy?: Strategy
  /** Providers that one call asks at once. At least 1. @default 3 */
  max_parallel?: number
  /** Answers without which the call fails. At least 1, at most `max_parallel`. @default 1 */
  min_successes?: number
  /** Share of the answers that is a consensus, 0–1. @default 0.6 */
  agreement?: number
  /** From here on two texts say the same, 0–1; 1: only equal texts. @default 0.9 */
  similarity?: number
  /** ms `FASTEST` waits before it asks a second provider; 0: both at once. @default 300 */
  hedge_after_ms?: number
  /** Who compares answers; without `provider` and `model` nobody does. */
  judge?: {
    provider?: string
    model?: string
    /** Of the call's deadline. Above 0, below 1. @default 0.3 */
    deadline_share?: number
    /** At least 1. @default 128 */
    max_tokens?: number
  }
}

/** A tenant: on whose behalf calls are made, and within what. `docs/tenants.md` says how each limit counts. */
export interface TenantConfig {
  /** Unique; letters, digits, `.`, `_` and `-`, at most 64. The `tenant` of a call. */
  id: string
  /** Keys that a gateway takes as this tenant's, or `sha256:` and the 64 hexadecimal digits of their hashes. @default none */
  api_keys?: string[]
  /** `false`: every call is refused, from the next one on. @default true */
  enabled?: boolean
  /** Calls a second, in the long run, 0.001 to 1000000; 0: none. @default no limit */
  rps?: number | null
  /** Calls at once after a pause, at least 1. @default `rps`, rounded up */
  burst?: number | null
  /** Prompts and answers together, in a calendar day of UTC; 0: none. @default no limit */
  tokens_per_day?: number | null
  /** @default no limit */
  budget?: BudgetConfig
  /** Calls of other tasks, and of none, are refused. @default all, and calls of none */
  tasks?: string[]
  /** By alias or by the service's own name; no other model answers it. @default all */
  models?: string[]
  /** A longer deadline is cut to it, ms. @default `qos.max_deadline_ms` */
  max_deadline_ms?: number | null
  /** Providers that one call asks at once, at least 1; 1: nothing is hedged. @default `ensemble.max_parallel` */
  max_parallel?: number | null
}

/** One kind of work. */
export interface TaskConfig {
  /** @default `ensemble.default_strategy` */
  strategy?: Strategy
  /** By name. @default every provider whose own `tasks` do not exclude it */
  providers?: string[]
  /** Bound of an answer where the call sets none, and the most it may set. */
  max_tokens?: number
  /** The whole call where it sets no deadline, and the longest it may set. @default `qos.max_deadline_ms` */
  deadline_ms?: number
  /** How long answers are kept; 0: not at all. @default as `cache` says */
  cache_ttl_seconds?: number
  /** A file with the words around the caller's: `{{prompt}}` and `{{names}}` of your own. */
  prompt?: string
  /** A file with the JSON Schema of the answer. */
  schema?: string
  /** false: calls of it are refused. @default true */
  enabled?: boolean
}

/** Asking providers whether they are up, beside the calls, by the free list of their models. */
export interface HealthConfig {
  /** @default false */
  active?: boolean
  /** From one check to the next. At least 1. @default 30000 */
  interval_ms?: number
  /** What has not answered by then has failed. At least 1. @default 5000 */
  timeout_ms?: number
  /** Failed checks in a row that put a provider behind the others. At least 1. @default 2 */
  failures?: number
}

export interface ProviderConfig {
  /** Unique in the pool. */
  name: string
  /** May be left out together with key and `base_url`: that is an Ollama on this machine. */
  type?: ProviderType
  /** Asked for unless a call names another. */
  model: string
  /** Alias → the provider's own name, or that name with what is to be known of the model. */
  models?: Record<string, string | ModelConfig>
  /** Tokens of the longest prompt, for all models of the provider; null: no limit. @default the catalogue's, where it is known */
  context_window?: number | null
  /** Everything its models can do. A call that needs another one is not sent there. @default the catalogue's */
  capabilities?: Capability[]
  api_key?: string
  /** Used in turn. */
  api_keys?: string[]
  /** @default the service's own; needed for `openai-compatible` and `azure` */
  base_url?: string
  /** Plain `http` to other hosts than this machine. @default false */
  allow_http?: boolean
  /** Lower is asked first. @default 1 */
  priority?: number
  /** Its part of the calls of its priority, where the behaviour is `weighted`; 0: only when a call names it. @default 1 */
  weight?: number
  /** @default true */
  enabled?: boolean
  /** It answers calls of these tasks, and calls of none. @default all */
  tasks?: string[]
  /** Sent with every request to this provider. */
  headers?: Record<string, string>
  organization?: string
  project?: string
  /** `azure`: the classic address, which names the deployment in its path. Without it the model is the deployment. */
  deployment?: string
  /** `azure`: needed beside `deployment`, for example `2024-10-21`. */
  api_version?: string
  /** What becomes of a field that the provider does not take: named in `warnings`, or an error. @default 'warn' */
  unsupported_params?: 'warn' | 'error'
  /** Fields of a request that are sent although the pool's tables say the provider or the model refuses them. @default [] */
  allow_params?: string[]
  /** Fields of a request that are never sent; the answer's `warnings` name them. @default [] */
  omit_params?: string[]
  /** Sent when a call says nothing; at least 1. */
  max_tokens?: number
  /** Sent when a call says nothing; 0 to 2. */
  temperature?: number
  /**
   * Merged into the body of every chat as it is, where the wire knows more than the pool; a call's own `extra_body` goes
   * over it, field by field. `stream` is the pool's.
   */
  extra_body?: Record<string, unknown>
  /** ms, one attempt; null: no limit. @default the pool's */
  timeout?: number | null
  /** @default 5000 */
  connect_timeout_ms?: number | null
  /** ms from sending to the first byte of the reply. @default no limit */
  first_byte_timeout_ms?: number | null
  /** ms from sending to the first content of a stream; null: no limit. @default 30000 */
  first_content_timeout_ms?: number | null
  /** ms between two contents of a stream; comments and pings do not count. null: no limit. @default 30000 */
  content_idle_timeout_ms?: number | null
  /** 0 keeps no connection. @default 90000 */
  connection_idle_timeout_ms?: number | null
  /** Requests under way to its host at once, each on a connection of its own; more of them wait. @default no limit */
  max_connections?: number | null
  /** Opens a connection when the pool starts, so that the first call need not. @default false */
  warm?: boolean
  /** In any rolling minute; 0: never used. @default no limit */
  requests_per_minute?: number | null
  /** In a calendar day of `day_timezone`; 0: never used. @default no limit */
  requests_per_day?: number | null
  /** Prompts and answers together, in any rolling minute; 0: never used. @default no limit */
  tokens_per_minute?: number | null
  /** Prompts and answers together, in a calendar day of `day_timezone`; 0: never used. @default no limit */
  tokens_per_day?: number | null
  /** Where the day of the daily limits begins at midnight, as the IANA names it. @default 'UTC' */
  day_timezone?: string
  /** Attempts and open streams at once; 0: never used. @default no limit */
  max_concurrent?: number | null
  /** Failures in a row that open the breaker; 0: no breaker. @default 5 */
  circuit_breaker_threshold?: number | null
  /** ms, the first time it opens. @default 60000 */
  circuit_breaker_timeout?: number
  /**
   * USD per **1,000** tokens. As soon as one price of a provider is set, none of the catalogue's holds for it: what is
   * missing then is unknown. The prices hold for all of the provider's models but those with `prices` of their own.
   * @default the catalogue's
   */
  input_token_price?: number
  /** USD per **1,000** tokens. @default the catalogue's */
  output_token_price?: number
  /** USD per **million** tokens: either this or `input_token_price`. */
  input_price_per_million?: number
  /** USD per **million** tokens: either this or `output_token_price`. */
  output_price_per_million?: number
  /** USD per **million** prompt tokens that the provider read from its cache. @default as other prompt tokens */
  cached_input_price_per_million?: number
  /** USD per **million** prompt tokens that the provider wrote to its cache. @default as other prompt tokens */
  cache_write_price_per_million?: number
  /** What this provider may be paid; the pool's budget holds beside it. @default no limit */
  budget?: BudgetConfig | null
  /**
   * What the provider's models count with: `o200k_base`, `cl100k_base`, or the path of a `tokenizer.json`.
   * @default by the model's name
   */
  tokenizer?: string
  /** @default `HTTPS_PROXY` and its siblings */
  proxy?: string
  /** PEM file, trusted beside the platform's roots. */
  ca_file?: string
}

/** One model of a provider. What is left out is as the provider says. */
export interface ModelConfig {
  /** As the provider names it. */
  model: string
  /** Tokens of the longest prompt; null: no limit. */
  context_window?: number | null
  /** Everything it can do. */
  capabilities?: Capability[]
  /**
   * What it costs. As soon as one price is set, neither the provider's prices nor the catalogue's hold for it: what is missing
   * then is unknown.
   */
  prices?: Pick<
    ProviderConfig,
    | 'input_token_price'
    | 'output_token_price'
    | 'input_price_per_million'
    | 'output_price_per_million'
    | 'cached_input_price_per_million'
    | 'cache_write_price_per_million'
  >
}

/** What a model can do. A list that names neither `chat` nor `embeddings` leaves to the catalogue which it is. */
export type Capability =
  | 'chat'
  | 'embeddings'
  | 'tools'
  | 'parallel_tools'
  /** Without it a schema is asked for in another way; the answer is checked all the same. */
  | 'json_schema'
  | 'vision'
  | 'audio'
  | 'files'
/**
 * How providers of equal priority share the work; a lower priority always comes first, but for `distribute`.
 *
 * - `failover`: in the order of the configuration.
 * - `distribute`: in turn over all, whatever their priority.
 * - `combination`: in turn.
 * - `weighted`: in proportion to `weight`, evenly spread.
 * - `adaptive`: by latency, failures and calls under way; the better of two drawn at random.
 */
export type Behaviour = 'failover' | 'distribute' | 'combination' | 'weighted' | 'adaptive'

export interface RoutingConfig {
  /** @default 'adaptive' */
  behaviour?: Behaviour
  /** @default 3 */
  max_retries?: number
  /** @default 1000 */
  retry_delay_ms?: number
  /** @default 2 */
  backoff_multiplier?: number
  /** @default 30000 */
  max_backoff_ms?: number | null
  /** false: only the first eligible provider is asked. @default true */
  enable_failover?: boolean
  /** @default true */
  enable_circuit_breaker?: boolean
  /** Attempts and open streams of the whole pool at once. At least 1; null: no limit. @default 256 */
  max_concurrent?: number | null
  /** The longest a call waits for capacity; 0: never. @default 10000 */
  queue_timeout_ms?: number | null
  /** Calls that may wait at once. @default 10000 */
  max_queue?: number | null
  retry_budget?: {
    /** Retries per first attempt. @default 0.2 */
    ratio?: number
    /** @default 1 */
    per_second?: number
    /** @default 10 */
    burst?: number
  }
  breaker?: {
    /** Share of failed calls that opens it. @default 0.5 */
    failure_ratio?: number
    /** Seconds over which the share is taken. @default 60 */
    window_s?: number
    /** @default 10 */
    min_calls?: number
    /** The open period doubles up to this. @default 300000 */
    max_open_ms?: number | null
  }
  /** What an error that refuses the content does: ends the call, or asks the next provider. @default 'throw' */
  on_content_filter?: 'throw' | 'failover'
  /**
   * ms for which a provider is passed over that {@link LLMPool.markError} named; 0: marking does nothing, null: until
   * {@link LLMPool.clearError}. A mark keeps the time it was made with. @default 60000
   */
  error_cooldown_ms?: number | null
  /** Fixes random choices. */
  seed?: number | null
}
