// The text that is nearest to a question: OPENAI_API_KEY=… node examples/embeddings.mjs

import { LLMPool } from 'llmpool'
import { config } from './openai-config.mjs'

const texts = ['A recipe for bread', 'How engines work', 'Winter in Norway']
const pool = await LLMPool.create({ config })
const { data } = await pool.embed({ model: 'embed', input: ['Where is it cold?', ...texts] })
const [question, ...others] = data.map(({ embedding }) => embedding)
const likeness = (other) => question.reduce((sum, number, at) => sum + number * other[at], 0)
const nearest = others.map(likeness).reduce((best, score, at, scores) => (score > scores[best] ? at : best), 0)
console.log(texts[nearest])
await pool.shutdown()
