// What a call needs chooses who is asked, and a pool in which nobody can says why.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { Upstream, ok } from './support/upstream.mjs'
import { ConfigurationError, NoProviderError, createImageMessage } from '../index.mjs'
import { ask, inOrder, openPool, provider, rejection } from './support/pool.mjs'

const image = [createImageMessage('user', 'What is this?', 'data:image/png;base64,AAAA')]
const tools = [{ type: 'function', function: { name: 'f', parameters: { type: 'object', properties: {} } } }]

describe('Capabilities', () => {
  it('send an image to a model that sees', async (t) => {
    const blind = await Upstream.start(t, ok('blind'))
    const seeing = await Upstream.start(t, ok('seeing'))
    const pool = await openPool(
      t,
      inOrder(provider('blind', blind, { capabilities: ['tools'] }), provider('seeing', seeing)),
    )
    assert.equal((await pool.chat(image)).content, 'seeing')
    assert.equal((await pool.chat(ask())).content, 'blind')
    assert.equal(blind.count, 1)
  })

  it('say for each provider why it cannot take a call', async (t) => {
    const upstream = await Upstream.start(t, ok('never'))
    const pool = await openPool(
      t,
      inOrder(
        provider('plain', upstream, { capabilities: [] }),
        provider('short', upstream, { models: { short: { model: 'gpt-4o', context_window: 5 } } }),
        provider('searching', upstream, { type: 'perplexity', model: 'sonar' }),
      ),
    )
    const error = await rejection(pool.chat({ messages: ask('a long question '.repeat(50)), tools }))
    assert.ok(error instanceof NoProviderError, error.stack)
    assert.deepEqual(
      error.reasons.map(({ provider, reason }) => [provider, /tools|tokens/.exec(reason)?.[0]]),
      [
        ['plain', 'tools'],
        ['short', 'tokens'],
        ['searching', 'tools'],
      ],
    )
    assert.equal(upstream.count, 0)
  })

  it('of a wrong name are a mistake in the configuration', async (t) => {
    const upstream = await Upstream.start(t, ok('never'))
    const error = await rejection(openPool(t, [provider('a', upstream, { capabilities: ['images'] })]))
    assert.ok(error instanceof ConfigurationError)
    assert.deepEqual(
      error.problems.map((problem) => problem.path),
      ['providers[0].capabilities[0]'],
    )
  })
})
