// One row per case. A case goes whole to the client (which reads `concurrency`) and to the upstream (which reads what a
// later case adds about the way it answers).

export const CASES = [
  { name: 'c1', title: '1 concurrent call, no upstream delay', concurrency: 1 },
  { name: 'c128', title: '128 concurrent calls, no upstream delay', concurrency: 128 },
]

/** Everything is a ratio against this peer in the same round: it is what a careful hand writes without a library. */
export const REFERENCE = 'undici'

export const PEERS = ['llmpool', 'undici', 'undici-pool', 'fetch', 'openai']
