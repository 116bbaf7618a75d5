// The configuration of the examples. A key of your own is all it needs; the address is there for those who ask somebody else.

const { OPENAI_API_KEY, OPENAI_BASE_URL } = process.env

export const config = {
  providers: [
    {
      name: 'openai',
      type: 'openai',
      api_key: OPENAI_API_KEY,
      base_url: OPENAI_BASE_URL,
      model: 'gpt-4o-mini',
      models: { embed: 'text-embedding-3-small' },
    },
  ],
}
