'use strict'

// `llmpool init`: looks which keys the environment has and writes a configuration that uses them. It writes the names of
// variables, never what is in them.

/**
 * Services by the variable that usually holds their key, in the order in which they are asked. The models are cheap and
 * general ones, to start with.
 *
 * @type {{ type: string, variables: string[], model: string }[]}
 */
const KNOWN = [
  { type: 'openai', variables: ['OPENAI_API_KEY'], model: 'gpt-4o-mini' },
  { type: 'anthropic', variables: ['ANTHROPIC_API_KEY'], model: 'claude-sonnet-4-5' },
  { type: 'gemini', variables: ['GEMINI_API_KEY', 'GOOGLE_API_KEY'], model: 'gemini-2.5-flash' },
  { type: 'groq', variables: ['GROQ_API_KEY'], model: 'llama-3.3-70b-versatile' },
  { type: 'mistral', variables: ['MISTRAL_API_KEY'], model: 'mistral-small-latest' },
  { type: 'deepseek', variables: ['DEEPSEEK_API_KEY'], model: 'deepseek-chat' },
  { type: 'openrouter', variables: ['OPENROUTER_API_KEY'], model: 'openai/gpt-4o-mini' },
  { type: 'xai', variables: ['XAI_API_KEY'], model: 'grok-3-mini' },
  { type: 'together', variables: ['TOGETHER_API_KEY'], model: 'meta-llama/Llama-3.3-70B-Instruct-Turbo' },
  { type: 'fireworks', variables: ['FIREWORKS_API_KEY'], model: 'accounts/fireworks/models/llama-v3p3-70b-instruct' },
  { type: 'cohere', variables: ['COHERE_API_KEY', 'CO_API_KEY'], model: 'command-r-08-2024' },
  { type: 'perplexity', variables: ['PERPLEXITY_API_KEY'], model: 'sonar' },
]

const SCHEMA = './node_modules/llmpool/schema/config.schema.json'
const ORDER = 'Lower is asked first; the next one takes over when it fails.'
const LOCAL = 'A model of this machine. No key was found in the environment, so it is the only one.'
const MORE = 'Every key there is: docs/configuration.md'

/**
 * @param {Record<string, string | undefined>} environment
 * @returns {{ name: string, type: string, variable: string | null, model: string, priority: number }[]}
 */
function providersOf(environment) {
  const found = KNOWN.flatMap(({ type, variables, model }) => {
    const variable = variables.find((name) => (environment[name] ?? '').trim() !== '')
    return variable === undefined ? [] : [{ name: type, type, variable, model }]
  })
  if (found.length === 0) return [{ name: 'local', type: 'ollama', variable: null, model: 'llama3.2', priority: 1 }]
  return found.map((provider, index) => ({ ...provider, priority: index + 1 }))
}

/** The keys of a provider as they are written. @param {ReturnType<typeof providersOf>[number]} provider */
function fields({ name, type, variable, model, priority }) {
  return Object.entries({ name, type, ...(variable ? { api_key: `\${${variable}}` } : {}), model, priority })
}

/** @type {Record<string, (providers: ReturnType<typeof providersOf>) => string>} */
const WRITERS = {
  json(providers) {
    const written = providers.map((provider) => {
      const lines = fields(provider).map(([key, value]) => {
        const comment = key === 'priority' && provider.priority === 1 ? ` // ${ORDER}` : ''
        return `      ${JSON.stringify(key)}: ${JSON.stringify(value)},${comment}`
      })
      const local = provider.variable === null ? `    // ${LOCAL}\n` : ''
      return `${local}    {\n${lines.join('\n')}\n    },`
    })
    return `{\n  "$schema": ${JSON.stringify(SCHEMA)},\n\n  // ${MORE}\n  "providers": [\n${written.join('\n')}\n  ],\n}\n`
  },

  yaml(providers) {
    const written = providers.map((provider) => {
      const lines = fields(provider).map(([key, value], index) => {
        const comment = key === 'priority' && provider.priority === 1 ? ` # ${ORDER}` : ''
        return `${index === 0 ? '  - ' : '    '}${key}: ${JSON.stringify(value)}${comment}`
      })
      return `${provider.variable === null ? `  # ${LOCAL}\n` : ''}${lines.join('\n')}`
    })
    return `# yaml-language-server: $schema=${SCHEMA}\n# ${MORE}\n\nproviders:\n${written.join('\n\n')}\n`
  },

  toml(providers) {
    const written = providers.map((provider) => {
      const lines = fields(provider).map(([key, value]) => {
        const comment = key === 'priority' && provider.priority === 1 ? ` # ${ORDER}` : ''
        return `${key} = ${JSON.stringify(value)}${comment}`
      })
      return `${provider.variable === null ? `# ${LOCAL}\n` : ''}[[providers]]\n${lines.join('\n')}\n`
    })
    return `#:schema ${SCHEMA}\n# ${MORE}\n\n${written.join('\n')}`
  },
}

/** The format that a file's name asks for. @param {string} file */
function formatOf(file) {
  if (/\.ya?ml$/i.test(file)) return 'yaml'
  return /\.toml$/i.test(file) ? 'toml' : 'json'
}

/** @param {string} file @param {Record<string, string | undefined>} environment */
function init(file, environment) {
  const providers = providersOf(environment)
  return { text: WRITERS[formatOf(file)](providers), providers }
}

exports.init = init
