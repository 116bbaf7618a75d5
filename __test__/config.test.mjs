// Configuration: every mistake at once with its path, and nothing accepted that does nothing.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { ConfigurationError, LLMPool, LLMPoolError, MESSAGE_TYPES, PROVIDERS } from '../index.mjs'
import { Upstream, ok, status } from './support/upstream.mjs'
import { ask, inOrder, provider, rejection } from './support/pool.mjs'
import { folder } from './support/child.mjs'
import { bounded } from './support/wait.mjs'

const good = (more = {}) => ({ name: 'a', type: 'openai', api_key: 'k', model: 'gpt-4o', ...more })

/** The problems of this config, by path. */
async function problems(t, config, options) {
  const pool = new LLMPool({ config, ...options }) // the constructor never throws for a bad config
  t.after(() => pool.shutdown())
  const error = await rejection(pool.initialize())
  assert.ok(error instanceof ConfigurationError && error instanceof LLMPoolError, error.stack)
  assert.equal(error.code, 'ERR_LLMPOOL_CONFIG')
  assert.ok(Array.isArray(error.problems))
  for (const problem of error.problems) {
    assert.equal(typeof problem.path, 'string')
    assert.notEqual(problem.message, '')
    assert.ok(error.message.includes(problem.path))
  }
  return error
}

async function fromFile(t, text, name = 'config.json') {
  const path = join(folder(t), name)
  writeFileSync(path, text)
  const pool = new LLMPool({ configPath: path })
  t.after(() => pool.shutdown())
  return { path, pool }
}

describe('ConfigManager: mistakes', () => {
  it('five of them are five problems, each with its path', bounded, async (t) => {
    const error = await problems(t, {
      providers: [
        good({ name: 'one', type: 'opnai' }),
        good({ name: 'two', model: undefined }),
        good({ name: 'three', requests_per_minute: -5 }),
        good({ name: 'four', priorty: 2 }),
        good({ name: 'one' }),
      ],
    })
    assert.equal(error.problems.length, 5, error.message)
    const at = (pattern) => error.problems.find((problem) => pattern.test(`${problem.path}: ${problem.message}`))
    assert.match(at(/^providers\[0\]\.type/).message, /openai/)
    assert.ok(at(/^providers\[1\].*model/), error.message)
    assert.ok(at(/^providers\[2\]\.requests_per_minute/), error.message)
    assert.match(at(/^providers\[3\].*priorty/).message, /priority/)
    assert.ok(at(/^providers\[4\]\.name.*(one|providers\[0\])/), error.message)
  })

  it('of types, they are all listed too', bounded, async (t) => {
    const error = await problems(t, {
      providers: [
        good({ priority: 'high' }),
        good({ name: 'b', models: ['x'] }),
        good({ name: 'c', enabled: 'yes' }),
        good({ name: 'd', headers: 'x: y' }),
      ],
      routing: { max_retries: 1.5 },
    })
    assert.equal(error.problems.length, 5, error.message)
    for (const path of [
      'providers[0].priority',
      'providers[1].models',
      'providers[2].enabled',
      'providers[3].headers',
      'routing.max_retries',
    ]) {
      assert.ok(
        error.problems.some((problem) => problem.path.startsWith(path)),
        `${path} is not in ${error.message}`,
      )
    }
  })

  const single = {
    'no providers': [{}, /providers/],
    'an empty list of providers': [{ providers: [] }, /providers/],
    'providers not a list': [{ providers: { a: good() } }, /providers/],
    'a provider that is no object': [{ providers: ['openai'] }, /providers\[0\]/],
    'no name': [{ providers: [good({ name: undefined })] }, /providers\[0\].*name/],
    'no key': [{ providers: [good({ api_key: undefined })] }, /providers\[0\].*api_key/],
    'an empty key': [{ providers: [good({ api_key: '' })] }, /providers\[0\].*api_key/],
    'key and keys': [{ providers: [good({ api_keys: ['x'] })] }, /providers\[0\].*api_key/],
    'a base URL that is none': [{ providers: [good({ base_url: 'not a url' })] }, /providers\[0\]\.base_url/],
    'plain HTTP to another machine': [
      { providers: [good({ base_url: 'http://10.0.0.7/v1' })] },
      /providers\[0\]\.base_url[\s\S]*(https|allow_http)/,
    ],
    'another scheme': [{ providers: [good({ base_url: 'ftp://127.0.0.1/v1' })] }, /providers\[0\]\.base_url/],
    'openai-compatible without a base URL': [
      { providers: [good({ type: 'openai-compatible' })] },
      /providers\[0\].*base_url/,
    ],
    'a missing environment variable': [
      { providers: [good({ api_key: `\${LLMPOOL_TEST_NOT_SET}` })] },
      /providers\[0\]\.api_key[\s\S]*LLMPOOL_TEST_NOT_SET/,
    ],
    'a header that HTTP cannot carry': [
      { providers: [good({ headers: { 'x-y': 'a\nb' } })] },
      /providers\[0\]\.headers/,
    ],
    'a negative timeout': [{ providers: [good({ timeout: -1 })] }, /providers\[0\]\.timeout/],
    'a negative price': [{ providers: [good({ input_token_price: -0.1 })] }, /providers\[0\]\.input_token_price/],
    'a threshold that is no number': [
      { providers: [good({ circuit_breaker_threshold: 'never' })] },
      /providers\[0\]\.circuit_breaker_threshold/,
    ],
    'an unknown section': [{ providers: [good()], routng: {} }, /routng[\s\S]*routing/],
    'an unknown behaviour': [{ providers: [good()], routing: { behaviour: 'random' } }, /routing\.behaviour/],
    'an unknown key in routing': [{ providers: [good()], routing: { max_retrys: 1 } }, /max_retrys[\s\S]*max_retries/],
    'a ca_file that is not there': [{ providers: [good({ ca_file: '/no/such/ca.pem' })] }, /providers\[0\]\.ca_file/],
    'a proxy that is no URL': [{ providers: [good({ proxy: '::' })] }, /providers\[0\]\.proxy/],
    __proto__: [
      JSON.parse('{"providers":[{"name":"a","type":"openai","api_key":"k","model":"m","__proto__":{"x":1}}]}'),
      /__proto__/,
    ],
  }
  for (const [what, [config, pattern]] of Object.entries(single)) {
    it(what, bounded, async (t) => {
      const error = await problems(t, config)
      assert.equal(error.problems.length, 1, error.message)
      assert.match(error.message, pattern)
    })
  }

  it('in a file are told with line and column', bounded, async (t) => {
    const text =
      '{\n  // mine\n  "providers": [\n    { "name": "a", "type": "openai",\n      "api_key": "k", "modle": "gpt-4o" }\n  ]\n}\n'
    const { pool } = await fromFile(t, text)
    const error = await rejection(pool.initialize())
    assert.ok(error instanceof ConfigurationError)
    assert.match(error.message, /did you mean.*model/i)
    assert.match(error.message, /\b5\b\D{1,12}\b23\b/, 'line 5, column 23')
  })

  it('a file that is no JSON says where', bounded, async (t) => {
    const { pool } = await fromFile(t, '{\n  "providers": [\n    { "name": }\n  ]\n}')
    const error = await rejection(pool.initialize())
    assert.ok(error instanceof ConfigurationError)
    assert.match(error.message, /\b3\b/)
  })

  it('a file that is not there says its path', bounded, async (t) => {
    const pool = new LLMPool({ configPath: '/no/such/dir/config.json' })
    t.after(() => pool.shutdown())
    const error = await rejection(pool.initialize())
    assert.ok(error instanceof ConfigurationError, error.stack)
    assert.match(error.message, /\/no\/such\/dir\/config\.json/)
  })

  it('chat() on a pool that cannot be initialized rejects with the same error', bounded, async () => {
    const pool = new LLMPool({ config: { providers: [] } })
    assert.ok((await rejection(pool.chat(ask()))) instanceof ConfigurationError)
    assert.ok((await rejection(pool.stream(ask()).response())) instanceof ConfigurationError)
  })
})

describe('ConfigManager: files', () => {
  it('JSONC: comments, trailing commas and a byte order mark', bounded, async (t) => {
    const a = await Upstream.start(t)
    const { pool } = await fromFile(
      t,
      `\uFEFF{
      // a comment
      "providers": [ /* another, with "quotes" and // slashes */
        { "name": "a", "type": "openai", "api_key": "k//not-a-comment", "model": "gpt-4o", "base_url": "${a.base}", },
      ],
    }`,
    )
    assert.equal((await pool.chat(ask())).content, 'pong')
    assert.equal(a.last.headers.authorization, 'Bearer k//not-a-comment')
  })

  const texts = {
    'config.yaml': (base) =>
      `# a comment\nproviders:\n  - name: a\n    type: openai\n    api_key: \${LLMPOOL_TEST_FORMAT:-from-yaml}\n    model: gpt-4o\n    base_url: ${base}\n`,
    'config.yml': (base) =>
      `providers: [{ name: a, type: openai, api_key: from-yml, model: gpt-4o, base_url: "${base}" }]\n`,
    'config.toml': (base) =>
      `# a comment\n[[providers]]\nname = "a"\ntype = "openai"\napi_key = "from-toml"\nmodel = "gpt-4o"\nbase_url = "${base}"\n`,
  }
  for (const [name, text] of Object.entries(texts)) {
    it(`${name} is read by its extension`, bounded, async (t) => {
      const a = await Upstream.start(t)
      const { pool } = await fromFile(t, text(a.base), name)
      assert.equal((await pool.chat(ask())).content, 'pong')
      assert.equal(a.last.headers.authorization, `Bearer from-${name.split('.')[1]}`)
    })
  }

  it('a mistake in YAML or TOML has line and column, too', bounded, async (t) => {
    for (const [name, text, place] of [
      ['config.yaml', 'providers:\n  - name: a\n    modle: m\n', 'line 3, column 5'],
      ['config.yaml', 'providers:\n  - name: a\n   model: m\n', 'line 3'],
      ['config.toml', '[[providers]]\nname = "a"\nmodle = "m"\n', 'line 3, column 1'],
      ['config.toml', '[[providers]]\nname = a\n', 'line 2, column 8'],
    ]) {
      const { pool } = await fromFile(t, text, name)
      assert.ok((await rejection(pool.initialize())).message.includes(place), text)
    }
  })

  it('a key may stand in a file of its own', bounded, async (t) => {
    const a = await Upstream.start(t)
    const path = join(folder(t), 'openai_key')
    writeFileSync(path, 'from-a-file\n')
    const pool = new LLMPool({ config: { providers: [provider('a', a, { api_key: `\${file:${path}}` })] } })
    t.after(() => pool.shutdown())
    assert.equal((await pool.chat(ask())).content, 'pong')
    assert.equal(a.last.headers.authorization, 'Bearer from-a-file')
  })

  it('the schema is part of the package', () => {
    const schema = createRequire(import.meta.url)('../schema/config.schema.json')
    assert.deepEqual(schema.required, ['providers'])
    const { exports, files } = createRequire(import.meta.url)('../package.json')
    assert.equal(exports['./schema.json'], './schema/config.schema.json')
    assert.ok(files.includes('schema'))
  })

  it('variables and their defaults', bounded, async (t) => {
    const a = await Upstream.start(t)
    process.env.LLMPOOL_TEST_KEY = 'from-the-environment'
    t.after(() => delete process.env.LLMPOOL_TEST_KEY)
    const { pool } = await fromFile(
      t,
      JSON.stringify({
        providers: [
          good({ name: 'env', base_url: a.base, api_key: `\${LLMPOOL_TEST_KEY}`, priority: 1 }),
          good({ name: 'default', base_url: a.base, api_key: `\${LLMPOOL_TEST_NOT_SET:-by-default}`, priority: 2 }),
          good({ name: 'inside', base_url: a.base, api_key: `<\${LLMPOOL_TEST_KEY}>`, priority: 3 }),
        ],
      }),
    )
    for (const name of ['env', 'default', 'inside']) await pool.chat(ask(), { providers: [name] })
    assert.deepEqual(
      a.exchanges.map((exchange) => exchange.headers.authorization),
      ['Bearer from-the-environment', 'Bearer by-default', 'Bearer <from-the-environment>'],
    )
  })

  it('a relative configPath is taken from the working directory', bounded, async (t) => {
    const a = await Upstream.start(t)
    const path = join(folder(t), 'config.json')
    writeFileSync(path, JSON.stringify({ providers: [provider('a', a)] }))
    const before = process.cwd()
    process.chdir(join(path, '..'))
    t.after(() => process.chdir(before))
    const pool = new LLMPool({ configPath: './config.json' })
    t.after(() => pool.shutdown())
    await pool.initialize()
    assert.equal((await pool.chat(ask())).content, 'pong')
  })
})

describe('LLMPool constructor', () => {
  const wrong = {
    'two sources': { configPath: './a.json', config: { providers: [] } },
    'an unknown option': { configPath: './a.json', maxRetry: 3 },
    'a timeout that is a string': { configPath: './a.json', timeout: '30s' },
    'a negative timeout': { configPath: './a.json', timeout: -1 },
    'maxRetries NaN': { configPath: './a.json', maxRetries: Number.NaN },
    'maxRetries a fraction': { configPath: './a.json', maxRetries: 1.5 },
    'a configPath that is a number': { configPath: 7 },
    'a config that is a string': { config: '{}' },
    'debug as a word': { configPath: './a.json', debug: 'yes' },
    'options that are a string': 'config.json',
    'options that are null': null,
  }
  for (const [what, options] of Object.entries(wrong)) {
    it(`throws ConfigurationError for ${what}`, () => {
      assert.throws(
        () => new LLMPool(options),
        (error) => error instanceof ConfigurationError && error.code === 'ERR_LLMPOOL_CONFIG',
      )
    })
  }

  it('says what was meant', () => {
    assert.throws(() => new LLMPool({ configPath: 'x', maxRetry: 3 }), /maxRetry[\s\S]*maxRetries/)
  })

  it('does no I/O and does not throw for a bad config', bounded, async () => {
    for (const options of [{ configPath: '/no/such/file' }, { config: {} }, { config: { providers: 'none' } }]) {
      const pool = new LLMPool(options)
      assert.ok((await rejection(pool.initialize())) instanceof ConfigurationError)
    }
  })

  it('without any source there is a ConfigurationError, at the latest from initialize', bounded, async () => {
    for (const options of [{}, undefined]) {
      const error = await rejection((async () => new LLMPool(options).initialize())())
      assert.ok(error instanceof ConfigurationError, error.stack)
      assert.match(error.message, /config/)
    }
  })

  it('LLMPool.create gives a ready pool, or rejects', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await LLMPool.create({ config: { providers: [provider('a', a)] } })
    t.after(() => pool.shutdown())
    assert.ok(pool instanceof LLMPool)
    assert.equal(pool.getPoolHealth().totalProviders, 1)
    assert.ok((await rejection(LLMPool.create({ config: {} }))) instanceof ConfigurationError)
    assert.ok((await rejection(LLMPool.create({ nonsense: 1 }))) instanceof ConfigurationError)
  })

  it('takes zero as a value', bounded, async (t) => {
    const a = await Upstream.start(t, status(500))
    const pool = new LLMPool({ config: { providers: [provider('a', a)] }, maxRetries: 0, retryDelay: 0 })
    t.after(() => pool.shutdown())
    await rejection(pool.chat(ask()))
    assert.equal(a.count, 1)
    await rejection(pool.chat(ask(), { maxRetries: 2 })) // with a delay of 0
    assert.equal(a.count, 4)
  })
})

describe('ConfigManager: what a setting does', () => {
  it("timeout: of the call over the provider's over the pool's", bounded, async (t) => {
    const slow = await Upstream.start(t, () => {}) // never answers
    const b = await Upstream.start(t, ok('from b'))
    const pool = new LLMPool({
      config: { providers: inOrder(provider('slow', slow, { timeout: 40 }), provider('b', b)) },
      timeout: 3_600_000,
    })
    t.after(() => pool.shutdown({ drainTimeout: 0 }))
    assert.equal((await pool.chat(ask())).content, 'from b')
    const other = new LLMPool({
      config: { providers: inOrder(provider('slow', slow, { timeout: 3_600_000 }), provider('b', b)) },
      timeout: 3_600_000,
    })
    t.after(() => other.shutdown({ drainTimeout: 0 }))
    assert.equal((await other.chat(ask(), { timeout: 40 })).content, 'from b')
  })

  it('allow_http lets a private network be named', bounded, async (t) => {
    const pool = new LLMPool({ config: { providers: [good({ base_url: 'http://10.0.0.7/v1', allow_http: true })] } })
    t.after(() => pool.shutdown())
    await pool.initialize()
    assert.equal(pool.getPoolHealth().totalProviders, 1)
  })

  it('a high price is warned about, not refused', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = new LLMPool({
      config: { providers: [provider('a', a, { input_token_price: 3, output_token_price: 15 })] },
    })
    t.after(() => pool.shutdown())
    assert.equal((await pool.chat(ask())).cost, 0.03 + 0.075)
  })

  it('one half of a price gives no cost', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = new LLMPool({
      config: { providers: [provider('a', a, { model: 'no-such-model', input_token_price: 0.01 })] },
    })
    t.after(() => pool.shutdown())
    assert.equal((await pool.chat(ask())).cost, null)
  })

  it('a price of zero is a price', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = new LLMPool({
      config: { providers: [provider('a', a, { input_token_price: 0, output_token_price: 0 })] },
    })
    t.after(() => pool.shutdown())
    assert.equal((await pool.chat(ask())).cost, 0)
  })
})

describe('LLMPool constants', () => {
  it('name the provider types and message types', () => {
    const types = Object.values(PROVIDERS)
    for (const type of ['openai', 'anthropic', 'groq', 'together', 'azure', 'mistral', 'deepseek', 'perplexity'])
      assert.ok(types.includes(type), `${type} in ${types}`)
    const kinds = Object.values(MESSAGE_TYPES)
    for (const kind of ['text', 'image_url'])
      assert.ok(
        kinds.some((each) => each === kind || kind.startsWith(each)),
        `${kind} in ${kinds}`,
      )
  })
})

describe('LLMPool types', () => {
  it('know every key that a configuration may have', () => {
    const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
    const declared = new Set([...read('index.d.ts').matchAll(/^ +([\w$]+)\??:/gm)].map(([, name]) => name))
    const keys = []
    const walk = (schema, path) => {
      for (const [key, inner] of Object.entries(schema.properties ?? {})) {
        keys.push(`${path}${key}`)
        walk(inner, `${path}${key}.`)
      }
      for (const inner of [schema.items, schema.additionalProperties, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])])
        if (typeof inner === 'object') walk(inner, path)
    }
    walk(JSON.parse(read('schema/config.schema.json')), '')
    assert.ok(keys.includes('providers.models.prices.input_token_price'), `${keys}`)
    assert.deepEqual(
      keys.filter((key) => !declared.has(key.split('.').at(-1))),
      [],
    )
  })
})
