// How long one `require` takes in a process that has loaded nothing else. CommonJS, because an empty ES module already
// brings the loader's own start-up.

const { performance } = require('node:perf_hooks')

const started = performance.now()
require(process.argv[2])
process.send({ type: 'imported', millis: performance.now() - started }, () => process.exit())
