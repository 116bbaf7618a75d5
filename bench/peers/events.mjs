// Server-sent events by hand, for the peers that bring no reader of their own: lines, one parse per event, nothing else.

/** The text of a stream of chat chunks. @param {AsyncIterable<Uint8Array>} body @param {() => void} first */
export async function textOfEvents(body, first) {
  const decoder = new TextDecoder()
  let rest = ''
  let text = ''
  for await (const bytes of body) {
    rest += decoder.decode(bytes, { stream: true })
    let from = 0
    for (let end = rest.indexOf('\n', from); end >= 0; end = rest.indexOf('\n', from)) {
      const line = rest.slice(from, end)
      from = end + 1
      if (!line.startsWith('data: ') || line === 'data: [DONE]') continue
      const delta = JSON.parse(line.slice('data: '.length)).choices[0]?.delta.content
      if (!delta) continue
      if (text === '') first()
      text += delta
    }
    rest = rest.slice(from)
  }
  return text
}
