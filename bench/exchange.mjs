// What every peer sends and what every peer must find in the answer. Client and upstream read it from here, so that
// neither can drift.

export const PATH = '/v1/chat/completions'
export const API_KEY = 'sk-bench-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH'

const SYSTEM =
  'You are a careful assistant of a small shop. Answer in short and plain sentences, and never invent a price.'
const QUESTION =
  'A customer asks whether the blue kettle can be returned without its box, three weeks after it was bought, when the ' +
  'receipt was lost but the card payment can be shown. What do we say, and who pays the way back?'

/** A request of about 400 bytes. The number makes every one different: nobody can answer from an earlier call. */
export function chatRequest(number) {
  return {
    model: 'gpt-4o-mini',
    messages: [
      { role: 'system', content: SYSTEM },
      { role: 'user', content: `${QUESTION} (${number})` },
    ],
  }
}

/** What the upstream says: about 600 characters, so that the whole answer has the 1.3 KB of an ordinary one. */
export const CONTENT = Array.from(
  { length: 6 },
  (_, line) =>
    `${line + 1}. Yes, a return is fine: the payment on the card proves the purchase, and the box is no condition.\n`,
).join('')

const answer = JSON.stringify({
  id: 'chatcmpl-BenchAnswer0123456789abcdef',
  object: 'chat.completion',
  created: 1795300000,
  model: 'gpt-4o-mini-2024-07-18',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: CONTENT, refusal: null, annotations: [] },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: {
    prompt_tokens: 92,
    completion_tokens: 138,
    total_tokens: 230,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  },
  service_tier: 'default',
  system_fingerprint: 'fp_bench',
})

/**
 * The answer as bytes on the wire. The headers are those a hosted model sends: parsing them is part of everybody's
 * work, and a pool reads the rate limits among them. They never run low, so nobody has to wait.
 */
export const REPLY = Buffer.from(
  [
    'HTTP/1.1 200 OK',
    'date: Sat, 21 Nov 2026 12:00:00 GMT',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(answer)}`,
    'connection: keep-alive',
    'access-control-expose-headers: X-Request-ID',
    'openai-organization: bench',
    'openai-processing-ms: 412',
    'openai-version: 2020-10-01',
    'x-ratelimit-limit-requests: 30000',
    'x-ratelimit-limit-tokens: 150000000',
    'x-ratelimit-remaining-requests: 29999',
    'x-ratelimit-remaining-tokens: 149999868',
    'x-ratelimit-reset-requests: 2ms',
    'x-ratelimit-reset-tokens: 0s',
    'x-request-id: req_0123456789abcdef0123456789abcdef',
    'strict-transport-security: max-age=31536000; includeSubDomains; preload',
    'x-content-type-options: nosniff',
    'cache-control: no-cache',
    '',
    answer,
  ].join('\r\n'),
)
