// Who is asked first: `routing.behaviour`, `weight`, `session` and `seed`, from the configuration and from a call.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { Upstream, ok, status } from './support/upstream.mjs'
import { ask, openPool, provider, rejection, trail } from './support/pool.mjs'
import { bounded, deferred } from './support/wait.mjs'

/** A pool of equal providers, each with an upstream of its own. */
async function tier(t, names, routing, more = () => ({})) {
  const upstreams = {}
  const providers = []
  for (const name of names) {
    upstreams[name] = await Upstream.start(t)
    providers.push(provider(name, upstreams[name], more(name)))
  }
  const pool = await openPool(t, providers, { config: { routing } })
  const answered = async (calls, options) => {
    const names = []
    for (let call = 0; call < calls; call++) names.push((await pool.chat(ask(), options)).provider)
    return names.join('')
  }
  return { pool, upstreams, answered }
}

describe('LLMPool behaviours', () => {
  const expected = { failover: 'aaaaaa', distribute: 'abcabc', combination: 'ababab', weighted: 'bbabbb' }
  for (const [behaviour, order] of Object.entries(expected)) {
    const more = (name) => ({ weight: name === 'b' ? 4 : 1, priority: name === 'c' ? 2 : 1 })

    it(`${behaviour} from the configuration`, bounded, async (t) => {
      const { answered } = await tier(t, ['a', 'b', 'c'], { behaviour }, more)
      assert.equal(await answered(6), order)
    })

    it(`${behaviour} for one call`, bounded, async (t) => {
      const { answered } = await tier(t, ['a', 'b', 'c'], {}, more)
      assert.equal(await answered(6, { behaviour }), order)
    })
  }

  it('adaptive is the default and leaves a provider that is slow', bounded, async (t) => {
    const { upstreams, answered } = await tier(t, ['a', 'b'], {})
    upstreams.a.always(async (exchange) => {
      await new Promise((resolve) => setTimeout(resolve, 1000))
      await ok()(exchange)
    })
    assert.equal(await answered(12), 'abbbbbbbbbbb')
  })

  it('a priority goes over every behaviour but distribute', bounded, async (t) => {
    for (const behaviour of ['failover', 'combination', 'weighted', 'adaptive']) {
      const { answered } = await tier(t, ['a', 'b'], { behaviour }, (name) => ({ priority: name === 'a' ? 2 : 1 }))
      assert.equal(await answered(3), 'bbb', behaviour)
    }
  })

  it('a weight of 0 is for calls that name the provider', bounded, async (t) => {
    const { pool, upstreams, answered } = await tier(t, ['a', 'b'], {}, (name) => ({ weight: name === 'a' ? 0 : 1 }))
    upstreams.b.always(status(500))
    await rejection(pool.chat(ask(), { maxRetries: 0 }))
    assert.equal(upstreams.a.count, 0)
    assert.equal(await answered(1, { providers: ['a'] }), 'a')
  })

  it('a session stays where it is, and moves alone when its provider is down', bounded, async (t) => {
    const { pool, upstreams, answered } = await tier(t, ['a', 'b', 'c'], { behaviour: 'combination' }, () => ({
      circuit_breaker_threshold: 1,
    }))
    const home = {}
    for (const session of ['s1', 's2', 's3', 's4', 's5', 's6', 's7', 's8', 's9']) {
      const names = await answered(3, { session })
      assert.match(names, /^(a+|b+|c+)$/)
      home[session] = names[0]
    }
    assert.equal(new Set(Object.values(home)).size, 3, JSON.stringify(home))
    upstreams.b.always(status(500))
    for (const [session, name] of Object.entries(home)) {
      const response = await pool.chat(ask(), { session })
      if (name === 'b') assert.notEqual(response.provider, 'b')
      else assert.equal(response.provider, name, `${session}: ${trail(response)}`)
    }
  })

  it('the same seed draws the same, another one another', bounded, async (t) => {
    const drawn = async (seed) => {
      const names = ['a', 'b', 'c', 'd', 'e']
      const { pool, upstreams } = await tier(t, names, { seed })
      // Nobody is answered before everybody has asked: what tells the calls apart is their draws alone.
      const asked = deferred()
      let count = 0
      for (const upstream of Object.values(upstreams)) {
        upstream.always(async (exchange) => {
          if (++count === names.length) asked.resolve()
          await asked.promise
          await ok()(exchange)
        })
      }
      const responses = await Promise.all(names.map(() => pool.chat(ask())))
      return responses.map((response) => response.provider).join('')
    }
    assert.equal(await drawn(7), await drawn(7))
    const others = new Set()
    for (let seed = 0; seed < 8; seed++) others.add(await drawn(seed))
    assert.ok(others.size > 1)
  })

  it('a behaviour that does not exist is refused, in a call and in a configuration', bounded, async (t) => {
    const { pool } = await tier(t, ['a'], {})
    const error = await rejection(pool.chat(ask(), { behaviour: 'best' }))
    assert.equal(error.field, 'behaviour')
    const config = await rejection(tier(t, ['a'], { behaviour: 'roundrobin' }))
    assert.equal(config.problems[0].path, 'routing.behaviour')
  })
})
