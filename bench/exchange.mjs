// What every peer sends and what every peer must find in the answer. Client and upstream read it from here, so that
// neither can drift.

export const PATH = '/v1/chat/completions'
export const MESSAGES_PATH = '/v1/messages'
export const API_KEY = 'sk-bench-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH'
export const MODEL = 'gpt-4o-mini'

const SYSTEM =
  'You are a careful assistant of a small shop. Answer in short and plain sentences, and never invent a price.'
const QUESTION =
  'A customer asks whether the blue kettle can be returned without its box, three weeks after it was bought, when the ' +
  'receipt was lost but the card payment can be shown. What do we say, and who pays the way back?'
const LINE = 'Yes, a return is fine: the payment on the card proves the purchase, and the box is no condition.\n'
const ANSWER_MODEL = 'gpt-4o-mini-2024-07-18'

/**
 * Makes the requests of a case: about 400 bytes, or with the prompt that the case asks for. The number makes every one
 * different, unless the case is about the same one: nobody can answer from an earlier call.
 */
export function requestsOf({ promptBytes, same }) {
  const question = promptBytes ? longText(`${QUESTION}\n`, promptBytes) : QUESTION
  return (number) => ({
    model: MODEL,
    messages: [
      { role: 'system', content: SYSTEM },
      { role: 'user', content: `${question} (${same ? 0 : number})` },
    ],
  })
}

/** What the upstream says in a case: some 600 characters, so that the whole answer has the 1.3 KB of an ordinary one. */
export function contentOf({ answerBytes, chunks }) {
  if (chunks) return piecesOf({ chunks }).join('')
  if (answerBytes) return longText(LINE, answerBytes)
  return Array.from({ length: 6 }, (_, line) => `${line + 1}. ${LINE}`).join('')
}

const WORDS = LINE.trim().split(' ')
const piecesOf = ({ chunks }) => Array.from({ length: chunks }, (_, at) => `${WORDS[at % WORDS.length]} `)

function longText(part, bytes) {
  return part.repeat(Math.ceil(bytes / part.length)).slice(0, bytes)
}

/**
 * The answers of a case as bytes on the wire, by the API they belong to: `whole`, or the `pieces` of a stream of
 * which the first carries the head. The headers are those a hosted model sends: parsing them is part of everybody's work, and
 * a pool reads the rate limits among them. They never run low, so nobody has to wait.
 */
export function repliesOf(row) {
  if (row.chunks) {
    const openai = openaiEvents(row)
    const anthropic = anthropicEvents(row)
    return { [PATH]: { pieces: streamed(openai) }, [MESSAGES_PATH]: { pieces: streamed(anthropic) } }
  }
  return {
    [PATH]: { whole: plain(200, openaiAnswer(contentOf(row))) },
    [MESSAGES_PATH]: { whole: plain(200, anthropicAnswer(contentOf(row))) },
  }
}

const HEADERS = [
  'date: Sat, 21 Nov 2026 12:00:00 GMT',
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
]

function plain(status, answer) {
  const text = JSON.stringify(answer)
  const line = status === 200 ? 'HTTP/1.1 200 OK' : `HTTP/1.1 ${status} Internal Server Error`
  const length = `content-length: ${Buffer.byteLength(text)}`
  return Buffer.from([line, 'content-type: application/json', length, ...HEADERS, '', text].join('\r\n'))
}

/** One piece per event, each a chunk of HTTP; the head comes with the first, the end with the last. */
function streamed(events) {
  const pieces = events.map((event) => `${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`)
  const type = 'content-type: text/event-stream; charset=utf-8'
  const head = ['HTTP/1.1 200 OK', type, 'transfer-encoding: chunked', ...HEADERS, '', ''].join('\r\n')
  pieces[0] = head + pieces[0]
  pieces[pieces.length - 1] += '0\r\n\r\n'
  return pieces.map((piece) => Buffer.from(piece))
}

function openaiAnswer(content) {
  return {
    id: 'chatcmpl-BenchAnswer0123456789abcdef',
    object: 'chat.completion',
    created: 1795300000,
    model: ANSWER_MODEL,
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content, refusal: null, annotations: [] },
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
  }
}

/** As many events as there are pieces of text: the first carries the role too, the last also says why it ended. */
function openaiEvents(row) {
  const event = (delta, finish_reason) =>
    `data: ${JSON.stringify({
      id: 'chatcmpl-BenchAnswer0123456789abcdef',
      object: 'chat.completion.chunk',
      created: 1795300000,
      model: ANSWER_MODEL,
      service_tier: 'default',
      system_fingerprint: 'fp_bench',
      choices: [{ index: 0, delta, logprobs: null, finish_reason }],
      obfuscation: 'a1b2c3d4e5',
    })}\n\n`
  const pieces = piecesOf(row)
  return pieces.map((content, at) => {
    const delta = at === 0 ? { role: 'assistant', content } : { content }
    if (at < pieces.length - 1) return event(delta, null)
    return `${event(delta, null)}${event({}, 'stop')}data: [DONE]\n\n`
  })
}

function anthropicAnswer(text) {
  return {
    id: 'msg_01BenchAnswer0123456789ab',
    type: 'message',
    role: 'assistant',
    model: MODEL,
    content: [{ type: 'text', text }],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage: {
      input_tokens: 92,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      output_tokens: 138,
      service_tier: 'standard',
    },
  }
}

function anthropicEvents(row) {
  const event = (data) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`
  const message = { ...anthropicAnswer(''), content: [], stop_reason: null }
  const before =
    event({ type: 'message_start', message }) +
    event({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } })
  const after =
    event({ type: 'content_block_stop', index: 0 }) +
    event({
      type: 'message_delta',
      delta: { stop_reason: 'end_turn', stop_sequence: null },
      usage: { output_tokens: 138 },
    }) +
    event({ type: 'message_stop' })
  const pieces = piecesOf(row)
  return pieces.map((text, at) => {
    const delta = event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })
    return (at === 0 ? before : '') + delta + (at === pieces.length - 1 ? after : '')
  })
}

/** What an upstream says that is out of order. */
export const FAILURE = plain(500, { error: { message: 'The server had an error', type: 'server_error', code: null } })
