#!/usr/bin/env node
'use strict'

const { main } = require('../lib/cli')

main(process.argv.slice(2)).then((code) => {
  // Not process.exit(): what was written to a pipe must still get out.
  process.exitCode = code
})
