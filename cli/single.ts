/**
 * Where the single executable begins: it is fleetmove, and it is Node for the agent's program, which fleetmove also runs on this
 * machine. That program's path is then the first word, as it would be behind `node`.
 */
import { createRequire } from 'node:module'
import { runProgram } from './program.js'

const first = process.argv[2] ?? ''
if (first.endsWith('/agent.cjs')) {
  process.argv.splice(1, 1)
  createRequire(first)(first)
} else void runProgram(process.argv)
