// What the figures were taken on, and who else was using it.

import { readFileSync } from 'node:fs'
import os from 'node:os'

export function describeMachine() {
  const cpus = os.cpus()
  return {
    cpu: cpus[0]?.model.trim() ?? 'unknown',
    cores: cpus.length,
    memoryGigabytes: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release()} ${process.arch}`,
    node: process.version,
  }
}

export function loadAverage() {
  return os.loadavg().map((load) => Number(load.toFixed(2)))
}

/** CPU time that all cores together have spent on anything, in milliseconds. */
export function busyMillis() {
  return os.cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0)
}

/** CPU time that the host of a virtual machine kept from it, in milliseconds: everything stands still, with nobody to see. */
export function stolenMillis() {
  if (process.platform !== 'linux') return 0
  const ticks = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0].trim().split(/\s+/)[8]
  return Number(ticks ?? 0) * 10 // 100 ticks a second is what Linux shows to programs
}

/** CPU time of another process and of the children it has waited for, in microseconds; Linux tells it in ticks of 10 ms. */
export function processMicros(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The name of the program stands in brackets and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * 10_000
}
