#!/usr/bin/env node
import { print } from './render/print.js'
import { version } from './version.js'

const [word, ...more] = process.argv.slice(2)
// Scripts ask for it often, and all else that a command needs takes longer to load than Node to start.
if ((word === '--version' || word === '-V') && more.length === 0) print(`${version}\n`)
else await (await import('./program.js')).runProgram(process.argv)
