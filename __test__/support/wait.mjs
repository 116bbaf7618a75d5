// Waiting for causes. Nothing here waits for a fixed time; the tests' own `timeout` is the only net below.

import { setTimeout as tick } from 'node:timers/promises'

/** Options of every test: a net below it, far above what it takes. */
export const bounded = { timeout: 30_000 }

/** For the few that move many bytes or many calls. */
export const roomy = { timeout: 120_000 }

/** A promise with its handles outside. */
export function deferred() {
  let resolve
  let reject
  const promise = new Promise((yes, no) => {
    resolve = yes
    reject = no
  })
  promise.catch(() => {}) // whoever awaits it sees the rejection; nobody awaiting it is no crash
  return { promise, resolve, reject }
}

/** A door that stays shut until somebody opens it: `await gate.opened`. */
export function gate() {
  const door = deferred()
  return { opened: door.promise, open: door.resolve }
}

/** Looks again and again until `condition` holds, for states that announce themselves to nobody. */
export async function until(condition, what = condition.toString()) {
  const started = performance.now()
  while (!(await condition())) {
    if (performance.now() - started > 20_000) throw new Error(`never came true: ${what}`)
    await tick(1)
  }
}

/** Settles like `promise`, as data. */
export async function settled(promise) {
  try {
    return { value: await promise }
  } catch (error) {
    return { error }
  }
}

/** A repeatable source of numbers in 0..1, so that "random" tests fail the same way twice. */
export function seeded(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
