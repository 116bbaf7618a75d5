'use strict'

// The command line. Data goes to stdout, words go to stderr, and the exit code says how it went.

const { createHash, randomBytes } = require('node:crypto')
const { writeFileSync } = require('node:fs')
const { text } = require('node:stream/consumers')
const { parseArgs } = require('node:util')
const { version } = require('../package.json')

/** 69 and 78 are those of sysexits.h; 130 is what shells give a program that was interrupted. */
const EXIT = Object.freeze({ OK: 0, FAILURE: 1, USAGE: 2, UNAVAILABLE: 69, CONFIG: 78, INTERRUPTED: 130 })

const HELP = `Usage: llmpool <command> [options]

Commands:
  init [file]     write a configuration for the keys that the environment has
  check <file>    say everything that is wrong with a configuration
  chat [prompt]   ask once; the answer goes to stdout
  serve           put a pool on a port, in the APIs of OpenAI and Anthropic
  key             make a key for a caller of it
  analyze <path>  describe a code base: its files, its folders, the project
  demo            watch a pool survive three simulated providers; needs no key
  help [command]  show this, or the help of a command

Options:
  -h, --help      show this, or the help of a command
      --version   show the version
`

const INIT_HELP = `Usage: llmpool init [file] [options]

Looks which keys of known services the environment has, and writes a configuration that uses them: their names, never
what is in them. The format is that of the extension: .json or .jsonc, .yaml or .yml, .toml. Without a file it is
llmpool.jsonc; "-" writes to stdout.

Options:
      --force   write over a file that is there
  -h, --help    show this

Exit codes: 0 written, 1 there is such a file or it cannot be written, 2 wrong usage.
`

const CHECK_HELP = `Usage: llmpool check <file> [options]

Reads a configuration as a pool would, variables of the environment and files of secrets included, and says everything
that is wrong with it, with path, line and column. Starts nothing and sends nothing.

Options:
      --json    print the result as JSON
  -h, --help    show this

Exit codes: 0 good, 2 wrong usage, 78 bad.
`

const CHAT_HELP = `Usage: llmpool chat [prompt] --config <file> [options]

Asks once. The answer goes to stdout; who gave it, how long it took and what it cost go to stderr.
Without a prompt, or with "-", the prompt is read from stdin.

Options:
  -c, --config <file>     configuration: JSON (comments allowed), YAML or TOML
  -m, --model <name>      only providers that serve this model or alias
  -s, --system <text>     system message
      --max-tokens <n>    the most tokens the answer may have
      --json              print the whole response as JSON
  -h, --help              show this

Exit codes: 0 answered, 1 failed, 2 wrong usage, 69 no provider could answer, 78 bad configuration.
`

const SERVE_HELP = `Usage: llmpool serve --config <file> [options]

Serves a pool over HTTP and gRPC until SIGTERM or SIGINT; then requests under way are waited for, and a second signal ends them.
The configuration is watched and taken over while it runs; SIGHUP reads it at once. Its section "server" says where to
listen, who may call and within which bounds.

Every request and every change is a line of JSON on stdout, without anything that was said and without keys.

Options:
  -c, --config <file>   configuration: JSON (comments allowed), YAML or TOML
      --http <address>  where to listen, such as 127.0.0.1:7071; port 0 picks a free one
      --grpc <address>  where gRPC is spoken, such as 127.0.0.1:7070, or "off"; the address of HTTP = one port for both
      --insecure        serve everybody on an address that others can reach
      --stats-file <file>  keeps what was asked and spent today, so that a restart forgets nothing
      --quiet           no lines on stdout
  -h, --help            show this

Exit codes: 0 ended in good order, 1 failed, 2 wrong usage, 78 bad configuration.
`

const KEY_HELP = `Usage: llmpool key [options]

Makes a key for a caller of a pool that is served: 32 random bytes. The first line is the key, for the caller alone; the
second its hash, for server.api_keys of the configuration. Nothing is kept.

Options:
      --json    print both as JSON
  -h, --help    show this
`

const ANALYZE_HELP = `Usage: llmpool analyze <path> --config <file> [options]

Describes a folder of code by models: its files first, then each folder from what is in it, the project last. What
.gitignore leaves out and what is hidden stays out; secrets are masked before anything is sent. Without --out and --json
the project's description goes to stdout; what was done goes to stderr.

Options:
  -c, --config <file>       configuration: JSON (comments allowed), YAML or TOML
  -o, --out <dir>           write Markdown: a page for the project, each folder and each file
      --json                print the whole result as JSON
      --dry-run             say which files, how many tokens and about what cost, and send nothing
      --depth <word>        surface, standard or deep; standard is the default
      --audience <word>     llm, developer or documentation; developer is the default
      --project-type <text> what kind of project it is
      --include <pattern>   only these, as in a .gitignore; may be given again
      --exclude <pattern>   none of these; may be given again
      --concurrency <n>     files and folders that are worked on at a time; 8 is the default
      --max-file-bytes <n>  larger files are skipped; 1048576 is the default
      --cache-dir <dir>     keep results there; the next run sends only what has changed
  -m, --model <name>        only providers that serve this model or alias
  -h, --help                show this

Exit codes: 0 all described, 1 something failed (the rest is there), 2 wrong usage, 69 no provider could answer, 78 bad
configuration.
`

const DEMO_HELP = `Usage: llmpool demo [story]

Runs a pool over three simulated providers on this machine: one fails and recovers, one limits its rate, one is healthy
and dearer. Needs no key and sends nothing anywhere. Takes ten seconds at the most.

Stories:
  (none)   40 calls, one after another
  jobs     40 background jobs of four priorities
  analyze  this package described by a simulated model that answers well, badly or half
`

/** @type {Record<string, () => Promise<boolean>>} */
const STORIES = {
  calls: () => require('./demo').demo(),
  jobs: () => require('./demo/jobs').demoJobs(),
  analyze: () => require('./demo/analyze').demoAnalyze(),
}

/** A mistake in how the program was called. */
class UsageError extends Error {}

/** @type {Record<string, (argv: string[]) => Promise<number>>} */
const COMMANDS = { init, check, chat, serve, key, analyze, demo }

/**
 * @param {string[]} argv without node and script
 * @returns {Promise<number>} the exit code
 */
async function main(argv) {
  // A reader that had enough (`| head`) is no failure of ours.
  process.stdout.on('error', (error) => {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EPIPE') throw error
    process.exit(EXIT.OK)
  })
  const [name, ...rest] = argv
  try {
    if (name === '--version') return print(version)
    if (name === '--help' || name === '-h') return print(HELP)
    if (name === 'help') return await help(rest)
    if (name === undefined) throw new UsageError('a command is missing')
    if (!Object.hasOwn(COMMANDS, name)) throw new UsageError(`there is no command "${name}"`)
    return await COMMANDS[name](rest)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`llmpool: ${error.message}\nTry "llmpool --help".\n`)
    return EXIT.USAGE
  }
}

/** All of it, or that of one command. @param {string[]} names */
async function help([name, ...more]) {
  if (name === undefined) return print(HELP)
  if (more.length > 0) throw new UsageError('help takes one command')
  if (!Object.hasOwn(COMMANDS, name)) throw new UsageError(`there is no command "${name}"`)
  return await COMMANDS[name](['--help'])
}

/** @param {string} words */
function print(words) {
  process.stdout.write(words.endsWith('\n') ? words : `${words}\n`)
  return EXIT.OK
}

/**
 * @template {import('node:util').ParseArgsConfig} T
 * @param {T} config
 */
function parse(config) {
  try {
    return parseArgs(config)
  } catch (error) {
    throw new UsageError(/** @type {Error} */ (error).message)
  }
}

// === init and check ===

/** @param {string[]} args */
async function init(args) {
  const { values, positionals } = parse({
    args,
    allowPositionals: true,
    options: { force: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) return print(INIT_HELP)
  if (positionals.length > 1 || positionals[0] === '') throw new UsageError('init takes one file')
  const file = positionals[0] ?? 'llmpool.jsonc'
  const { text, providers } = require('./init').init(file, process.env)
  if (file === '-') return print(text)
  try {
    writeFileSync(file, text, { flag: values.force ? 'w' : 'wx' })
  } catch (error) {
    const { code, message } = /** @type {NodeJS.ErrnoException} */ (error)
    const why = code === 'EEXIST' ? `${file} is there already; --force writes over it` : message
    process.stderr.write(`llmpool: ${why}\n`)
    return EXIT.FAILURE
  }
  const found = providers.map(({ name, variable }) => (variable === null ? name : `${name} (${variable})`))
  process.stderr.write(`${file}: ${found.join(', ')}\nNext: llmpool chat "Hello" --config ${file}\n`)
  return EXIT.OK
}

/** @param {string[]} args */
async function check(args) {
  const { values, positionals } = parse({
    args,
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) return print(CHECK_HELP)
  if (positionals.length !== 1 || positionals[0] === '') throw new UsageError('check takes one file')
  const result = await require('./check').check(positionals[0])
  const { ok, file, providers, problems, warnings } = result
  if (values.json) print(JSON.stringify(result, null, 2))
  else {
    for (const { path, message } of problems) process.stderr.write(`${path === '' ? '' : `${path}: `}${message}\n`)
    for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`)
    if (ok)
      print(`${file}: good; ${providers.map(({ name, type, model }) => `${name} (${type}, ${model})`).join(', ')}`)
    else process.stderr.write(`${file}: ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}\n`)
  }
  return ok ? EXIT.OK : EXIT.CONFIG
}

// === chat ===

/** @param {string[]} args */
async function chat(args) {
  const { values, positionals } = parse({
    args,
    allowPositionals: true,
    options: {
      config: { type: 'string', short: 'c' },
      model: { type: 'string', short: 'm' },
      system: { type: 'string', short: 's' },
      'max-tokens': { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) return print(CHAT_HELP)
  if (values.config === undefined) throw new UsageError('--config <file> is missing')
  const maxTokens = wholeNumber('--max-tokens', values['max-tokens'])
  const prompt = await readPrompt(positionals)

  const { LLMPool, createTextMessage } = require('../index.js')
  const messages = [createTextMessage('user', prompt)]
  if (values.system !== undefined) messages.unshift(createTextMessage('system', values.system))

  const interrupt = new AbortController()
  const onInterrupt = () => interrupt.abort()
  process.once('SIGINT', onInterrupt)
  let pool
  try {
    pool = new LLMPool({ configPath: values.config })
    const request = { messages, model: values.model, max_tokens: maxTokens }
    const response = await pool.chat(request, { signal: interrupt.signal })
    if (values.json) return print(JSON.stringify(response, null, 2))
    process.stderr.write(trail(response.attempts))
    print(response.content)
    process.stderr.write(`${footer(response)}\n`)
    return EXIT.OK
  } catch (error) {
    if (interrupt.signal.aborted) return EXIT.INTERRUPTED
    return report(/** @type {any} */ (error), values.json)
  } finally {
    process.off('SIGINT', onInterrupt)
    await pool?.shutdown({ drainTimeout: 0 })
  }
}

/** @param {string} option @param {string | undefined} value */
function wholeNumber(option, value) {
  if (value === undefined) return undefined
  if (!/^\d+$/.test(value)) throw new UsageError(`${option} takes a whole number, found "${value}"`)
  return Number(value)
}

/** @param {string[]} words */
async function readPrompt(words) {
  const piped = words.length === 0 && !process.stdin.isTTY
  const prompt = piped || (words.length === 1 && words[0] === '-') ? await text(process.stdin) : words.join(' ')
  if (prompt.trim() === '') throw new UsageError('the prompt is empty')
  return prompt
}

/** One line for everything that did not answer. @param {any[]} attempts */
function trail(attempts) {
  const lines = attempts
    .filter(({ outcome }) => outcome !== 'success')
    .map(({ provider, outcome, errorClass, status }) => {
      const why = errorClass ?? outcome.replaceAll('_', ' ')
      return `${provider}: ${why}${status === undefined ? '' : ` (${status})`}\n`
    })
  return lines.join('')
}

/** @param {any} response */
function footer({ provider, model, latencyMs, usage, cost }) {
  const tokens = `${usage.estimated ? '~' : ''}${usage.prompt_tokens}+${usage.completion_tokens} tokens`
  const price = cost === null ? 'price unknown' : `$${Number(cost.toPrecision(3))}`
  return [provider, model, `${Math.round(latencyMs)} ms`, tokens, price].join(' · ')
}

/** Says what went wrong, and returns the exit code for it. @param {any} error @param {boolean} asJson */
function report(error, asJson) {
  const { LLMPoolError, ConfigurationError, NoProviderError } = require('../index.js')
  if (!(error instanceof LLMPoolError)) throw error
  if (asJson) {
    process.stderr.write(`${JSON.stringify(error)}\n`)
  } else {
    process.stderr.write(`llmpool: ${error.message}\n${trail(error.attempts)}`)
  }
  if (error instanceof ConfigurationError) return EXIT.CONFIG
  return error.retryable || error instanceof NoProviderError ? EXIT.UNAVAILABLE : EXIT.FAILURE
}

// === serve ===

/** @param {string[]} args */
async function serve(args) {
  const { values } = parse({
    args,
    options: {
      config: { type: 'string', short: 'c' },
      http: { type: 'string' },
      grpc: { type: 'string' },
      insecure: { type: 'boolean', default: false },
      'stats-file': { type: 'string' },
      quiet: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) return print(SERVE_HELP)
  if (values.config === undefined) throw new UsageError('--config <file> is missing')
  const { config, http, insecure, quiet, 'stats-file': statsFile } = values
  const grpc = values.grpc === 'off' ? null : values.grpc
  try {
    await require('./serve').serve({ config, http, grpc, insecure, quiet, statsFile })
    return EXIT.OK
  } catch (error) {
    return report(/** @type {any} */ (error), false)
  }
}

// === key ===

/** @param {string[]} args */
async function key(args) {
  const { values } = parse({
    args,
    options: { json: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) return print(KEY_HELP)
  // Its beginning tells scanners of leaked secrets, and people, what it is.
  const made = `llmp_${randomBytes(32).toString('base64url')}`
  const hash = `sha256:${createHash('sha256').update(made).digest('hex')}`
  return print(values.json ? JSON.stringify({ key: made, hash }) : `${made}\n${hash}`)
}

// === analyze ===

/** @param {string[]} args */
async function analyze(args) {
  const { values, positionals } = parse({
    args,
    allowPositionals: true,
    options: {
      config: { type: 'string', short: 'c' },
      out: { type: 'string', short: 'o' },
      json: { type: 'boolean', default: false },
      'dry-run': { type: 'boolean', default: false },
      depth: { type: 'string' },
      audience: { type: 'string' },
      'project-type': { type: 'string' },
      include: { type: 'string', multiple: true },
      exclude: { type: 'string', multiple: true },
      concurrency: { type: 'string' },
      'max-file-bytes': { type: 'string' },
      'cache-dir': { type: 'string' },
      model: { type: 'string', short: 'm' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) return print(ANALYZE_HELP)
  if (positionals.length !== 1 || positionals[0] === '') throw new UsageError('analyze takes one path')
  if (values.config === undefined) throw new UsageError('--config <file> is missing')
  const { config, out, json, model, include, exclude } = values
  if (out !== undefined && values['dry-run']) throw new UsageError('--dry-run writes no pages; leave --out out')
  const interrupt = new AbortController()
  const options = /** @type {import('../index').AnalysisOptions} */ ({
    depth: values.depth,
    audience: values.audience,
    projectType: values['project-type'],
    include,
    exclude,
    concurrency: wholeNumber('--concurrency', values.concurrency),
    maxFileBytes: wholeNumber('--max-file-bytes', values['max-file-bytes']),
    cacheDir: values['cache-dir'],
    model,
    signal: interrupt.signal,
  })

  const { LLMPool, InvalidRequestError } = require('../index.js')
  const { analyze, dryRun } = require('./analyze')
  const onInterrupt = () => interrupt.abort()
  process.once('SIGINT', onInterrupt)
  let pool
  try {
    pool = new LLMPool({ configPath: config })
    if (values['dry-run']) {
      await dryRun(pool, positionals[0], { options, json })
      return EXIT.OK
    }
    return (await analyze(pool, positionals[0], { options, out, json })) ? EXIT.OK : EXIT.FAILURE
  } catch (error) {
    if (interrupt.signal.aborted) return EXIT.INTERRUPTED
    const code = report(/** @type {any} */ (error), json)
    return error instanceof InvalidRequestError ? EXIT.USAGE : code
  } finally {
    process.off('SIGINT', onInterrupt)
    await pool?.shutdown({ drainTimeout: 0 })
  }
}

// === demo ===

/** @param {string[]} args */
async function demo(args) {
  const { values, positionals } = parse({
    args,
    allowPositionals: true,
    options: { help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) return print(DEMO_HELP)
  const [story = 'calls', ...more] = positionals
  if (more.length > 0) throw new UsageError('demo takes one story')
  if (!Object.hasOwn(STORIES, story)) throw new UsageError(`there is no story "${story}"`)
  return (await STORIES[story]()) ? EXIT.OK : EXIT.FAILURE
}

exports.main = main
