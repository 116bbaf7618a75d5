// One row per case. A row goes whole to the client and to the upstream:
//
//   concurrency     calls at once
//   needs           what a peer must be able to do to take part (its module says what it does)
//   upstreams       how many there are (1)
//   delayMillis     how long the upstream waits before it answers
//   tls             the upstream speaks TLS
//   promptBytes     text of the question; without it some 300 bytes
//   answerBytes     text of the answer; without it some 600 bytes
//   chunks          the answer is a stream of that many pieces
//   everyMillis     pause before each piece; without it all of them are written at once
//   failEvery       every so many requests to the first upstream is answered with 500
//   same            every request is the same one
//   skips           peers that would need minutes here: their figure is in another row

const SLOW = ['portkey', 'litellm']

export const CASES = [
  { name: 'c1', title: '1 concurrent call, no upstream delay', needs: 'chat', concurrency: 1 },
  { name: 'c16', title: '16 concurrent calls, no upstream delay', needs: 'chat', concurrency: 16 },
  { name: 'c128', title: '128 concurrent calls, no upstream delay', needs: 'chat', concurrency: 128 },
  { name: 'c1000', title: '1000 concurrent calls, no upstream delay', needs: 'chat', concurrency: 1000, skips: SLOW },
  {
    name: 'delay50',
    title: '16 concurrent calls, the upstream takes 50 ms',
    needs: 'chat',
    concurrency: 16,
    delayMillis: 50,
  },
  { name: 'tls', title: '128 concurrent calls over TLS', needs: 'tls', concurrency: 128, tls: true },
  { name: 'prompt', title: 'Prompts of 100 KB, 16 concurrent', needs: 'chat', concurrency: 16, promptBytes: 100_000 },
  { name: 'answer', title: 'Answers of 32 KB, 16 concurrent', needs: 'chat', concurrency: 16, answerBytes: 32_000 },
  {
    name: 'burst',
    title: 'Streams of 200 chunks, written at once, 16 concurrent',
    needs: 'stream',
    concurrency: 16,
    chunks: 200,
  },
  {
    name: 'paced',
    title: 'Streams of 200 chunks, one every 3 ms, 16 concurrent',
    needs: 'stream',
    concurrency: 16,
    chunks: 200,
    everyMillis: 3,
  },
  {
    name: 'failing',
    title: 'Every tenth request fails upstream, a second upstream takes over, 16 concurrent',
    needs: 'failover',
    concurrency: 16,
    upstreams: 2,
    failEvery: 10,
    skips: SLOW,
  },
  {
    name: 'hit',
    title: 'The same question again, 16 concurrent: answered from the cache, against asking again',
    needs: 'cache',
    concurrency: 16,
    same: true,
  },
  {
    name: 'voting',
    title: 'Three upstreams vote on each answer, 16 concurrent',
    needs: 'votes',
    concurrency: 16,
    upstreams: 3,
  },
  {
    name: 'gateway',
    title: 'Through a gateway on a port, 16 concurrent, against asking the upstream itself',
    needs: 'gateway',
    concurrency: 16,
  },
]

/**
 * Ratios are against these in the same round. The first is what a careful hand writes without a library, the second what
 * most programs use; of that only the CPU is compared.
 */
export const REFERENCES = ['undici', 'openai']

/** Who takes part, and in what. */
const DOES = {
  llmpool: ['chat', 'stream', 'tls', 'failover', 'cache', 'votes'],
  undici: ['chat', 'stream', 'tls', 'failover', 'cache', 'votes', 'gateway'],
  'undici-pool': ['chat', 'tls'],
  fetch: ['chat', 'stream', 'tls', 'failover'],
  openai: ['chat', 'stream', 'tls', 'failover'],
  anthropic: ['chat', 'stream', 'tls', 'failover'],
  ai: ['chat', 'stream', 'tls', 'failover'],
  langchain: ['chat', 'stream', 'tls', 'failover'],
  'llmpool-js': ['chat', 'tls', 'failover'],
  'liter-llm': ['chat', 'stream', 'tls'],
  'llmpool-gateway': ['gateway'],
  portkey: ['chat', 'gateway'],
  litellm: ['chat'],
}

export const PEERS = Object.keys(DOES)

/** Enough to see whether a change of this package pays. */
export const MAIN_PEERS = ['llmpool', 'undici', 'openai', 'llmpool-gateway']

export const takesPart = (peer, row) => DOES[peer].includes(row.needs) && !row.skips?.includes(peer)

/** Requests that a call must make, those that failed not counted; `null`: that is what the case is about. */
export function requestsPerCall({ needs, upstreams }) {
  if (needs === 'cache') return null
  return needs === 'votes' ? upstreams : 1
}
