'use strict'

// Messages in the shape that the OpenAI chat API made common. Plain objects: writing them by hand is just as good.

/** @import { ChatMessage, ChatRole, ContentPart } from '../index' */

/** Provider types, as a config file names them. */
const PROVIDERS = Object.freeze({
  OPENAI: 'openai',
  AZURE: 'azure',
  ANTHROPIC: 'anthropic',
  GEMINI: 'gemini',
  COHERE: 'cohere',
  OLLAMA: 'ollama',
  GROQ: 'groq',
  TOGETHER: 'together',
  MISTRAL: 'mistral',
  DEEPSEEK: 'deepseek',
  OPENROUTER: 'openrouter',
  XAI: 'xai',
  FIREWORKS: 'fireworks',
  PERPLEXITY: 'perplexity',
  OPENAI_COMPATIBLE: 'openai-compatible',
})

/** Types of the parts that a message may have. */
const MESSAGE_TYPES = Object.freeze({
  TEXT: 'text',
  IMAGE: 'image_url',
  AUDIO: 'input_audio',
  FILE: 'file',
})

/** @param {ChatRole} role @param {string} text @returns {ChatMessage} */
function createTextMessage(role, text) {
  return { role, content: text }
}

/**
 * @param {ChatRole} role
 * @param {string} text
 * @param {string} imageUrl
 * @param {'auto' | 'low' | 'high'} [detail]
 * @returns {ChatMessage}
 */
function createImageMessage(role, text, imageUrl, detail) {
  const image = detail === undefined ? { url: imageUrl } : { url: imageUrl, detail }
  return {
    role,
    content: [
      { type: MESSAGE_TYPES.TEXT, text },
      { type: MESSAGE_TYPES.IMAGE, image_url: image },
    ],
  }
}

/** @param {ChatRole} role @param {(string | ContentPart)[]} parts @returns {ChatMessage} */
function createMixedMessage(role, parts) {
  const content = parts.map((part) => (typeof part === 'string' ? { type: MESSAGE_TYPES.TEXT, text: part } : part))
  return { role, content }
}

exports.PROVIDERS = PROVIDERS
exports.MESSAGE_TYPES = MESSAGE_TYPES
exports.createTextMessage = createTextMessage
exports.createImageMessage = createImageMessage
exports.createMixedMessage = createMixedMessage
