'use strict'

// What the demo prints: plain lines, so that it reads the same in a terminal, in a pipe and in a log. Colour only helps.

const { styleText } = require('node:util')

/** @typedef {Parameters<typeof styleText>[0]} Style */

class Screen {
  #output
  #colour

  /** @param {NodeJS.WriteStream} output */
  constructor(output) {
    this.#output = output
    // NO_COLOR counts when it is set and not empty, whatever it says.
    this.#colour = Boolean(output.isTTY) && !process.env.NO_COLOR && process.env.TERM !== 'dumb'
  }

  /** @param {string} [words] @param {Style} [style] */
  line(words = '', style) {
    this.#output.write(`${this.#styled(words, style)}\n`)
  }

  /** @param {string} words */
  heading(words) {
    this.line()
    this.line(words, 'bold')
  }

  /** Something the pool told of by an event. @param {string} words */
  note(words) {
    this.line(`      * ${words}`, 'yellow')
  }

  /**
   * @param {object} call
   * @param {number} call.number
   * @param {string} call.provider
   * @param {number} call.ms
   * @param {string} call.cost
   * @param {string} call.because
   */
  call({ number, provider, ms, cost, because }) {
    const who = this.#styled(provider.padEnd(8), because === '' ? 'green' : 'cyan')
    const head = `${String(number).padStart(4)}  ${who} ${String(ms).padStart(4)} ms  ${cost}`
    this.line(because === '' ? head : `${head}  ${this.#styled(because, 'gray')}`)
  }

  /** @param {string[]} header @param {string[][]} rows */
  table(header, rows) {
    const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column].length)))
    // Names to the left, numbers to the right.
    const layout = (/** @type {string[]} */ cells) =>
      cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('   ')
    this.line(layout(header), 'bold')
    this.line(widths.map((width) => '-'.repeat(width)).join('   '))
    for (const row of rows) this.line(layout(row))
  }

  /** @param {string} words @param {Style} [style] */
  #styled(words, style) {
    return this.#colour && style !== undefined ? styleText(style, words) : words
  }
}

/** @param {number} usd */
function dollars(usd) {
  return `$${usd.toFixed(6)}`
}

exports.Screen = Screen
exports.dollars = dollars
