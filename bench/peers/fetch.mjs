// The fetch that comes with Node.

/** Nothing to import: Node loads it with the first call. */
export const entry = null
export const version = `built in (undici ${process.versions.undici})`

export async function open({ origin, path, apiKey }) {
  const url = origin + path
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${apiKey}` }
  return {
    async chat(request) {
      const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(request) })
      if (!response.ok) throw new Error(`status ${response.status}: ${await response.text()}`)
      const answer = await response.json()
      return answer.choices[0].message.content
    },
    async close() {},
  }
}
