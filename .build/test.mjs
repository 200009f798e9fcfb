// npm test [-- PART...]: what must hold, from a fresh clone on Debian 12 as root with Node alone; FLEETMOVE_LONG=1
// tries the longer half of the end-to-end tests as well.
// Installs what is missing, then runs the parts in order; the last line sums the tests: "N passed, N failed".
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { installPackages, installPrograms, root, testPrograms } from './prepare.mjs'

const bin = (name) => join(root, 'node_modules', '.bin', name)

/**
 * End-to-end tests that only FLEETMOVE_LONG=1 runs, so that all the others are done in half an hour on two processors.
 * Most are single features whose decisions have tests of their own (unit, golden, contract, kernel); the main job,
 * the switch and the promises stay.
 */
const long = [
  ...['address-move', 'bad-input', 'balancer', 'boot', 'dns', 'egress', 'explain', 'firewalls', 'forwarding-many'],
  ...['forwarding-path', 'forwarding-verdict', 'ftp', 'init', 'local-clients', 'plan', 'programs-bind'],
  ...['programs-postfix', 'programs-postgresql', 'programs-redis', 'record', 'redirect', 'taken-back', 'udp-switch'],
]

/** Each with what it needs: a command, or the directories of a jest run. */
const parts = [
  { name: 'lint', command: [bin('biome'), 'check', '--config-path', '.biome.json', '.'] },
  { name: 'types', command: [bin('tsc'), '--noEmit', '-p', 'tsconfig.json'] },
  {
    name: 'imports',
    command: [bin('depcruise'), '-c', '.dependency-cruiser.cjs', 'proto', 'agent', 'controller', 'cli'],
  },
  { name: 'build', command: ['npm', 'run', '--silent', 'build'] },
  // Two workers for two cores; what shares the machine's kernel or measures time runs alone.
  { name: 'unit', jest: ['--maxWorkers=2'] },
  { name: 'golden', jest: ['--maxWorkers=2'] },
  { name: 'house', jest: ['--maxWorkers=2'] },
  { name: 'contract', jest: ['--runInBand'] },
  { name: 'kernel', jest: ['--runInBand'] },
  // Practice networks keep out of each other's way, and mostly wait.
  { name: 'e2e', jest: ['--maxWorkers=2'], leaves: long },
  // On booted hosts; where those can't be, it says why and passes. It counts as one test.
  {
    name: 'scenarios',
    command: ['node', '.build/vagrant.mjs', '--no-build', '--substrate', 'nspawn', 'main-job', 'docker'],
  },
]

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !parts.some((part) => part.name === name))
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(', ')}; there are ${parts.map(({ name }) => name).join(', ')}`)
  process.exit(64)
}
const chosen = wanted.length === 0 ? parts : parts.filter(({ name }) => wanted.includes(name))

/** @returns {Promise<number>} the exit status; 1 where it ended otherwise. Its output goes where ours does. */
const run = ([program, ...args], options = {}) =>
  new Promise((resolve) => {
    const child = spawn(program, args, { cwd: root, stdio: 'inherit', ...options })
    child.once('error', (error) => {
      console.error(`${program}: ${error.message}`)
      resolve(1)
    })
    child.once('close', (status) => resolve(status ?? 1))
  })

const hasTests = (name) =>
  existsSync(join(root, 'test', name)) &&
  readdirSync(join(root, 'test', name), { recursive: true }).some((file) => String(file).endsWith('.test.ts'))

/** @returns {Promise<{ passed: number, failed: number, skipped: number }>} */
async function runJest({ name, jest, leaves = [] }) {
  if (!hasTests(name)) {
    console.log(`skipped: there is no test in test/${name}`)
    return { passed: 0, failed: 0, skipped: 0 }
  }
  const scratch = mkdtempSync(join(tmpdir(), 'fleetmove-test-'))
  const output = join(scratch, 'result.json')
  try {
    const args = ['-c', '.jest.config.cjs', '--json', `--outputFile=${output}`, '--testPathPatterns', `/test/${name}/`]
    if (leaves.length > 0 && !process.env.FLEETMOVE_LONG) {
      console.log(`skipped, FLEETMOVE_LONG=1 runs them: ${leaves.join(', ')}`)
      args.push('--testPathIgnorePatterns', '/node_modules/', `/test/${name}/(${leaves.join('|')})\\.test\\.ts$`)
    }
    // jest's own JSON goes to standard output too; its report to people goes to standard error.
    const status = await run([bin('jest'), ...args, ...jest], { stdio: ['ignore', 'ignore', 'inherit'] })
    const result = existsSync(output) ? JSON.parse(readFileSync(output, 'utf8')) : undefined
    const failed = (result?.numFailedTests ?? 0) + (result?.numRuntimeErrorTestSuites ?? 0)
    return {
      passed: result?.numPassedTests ?? 0,
      // A run that failed without a failed test (it crashed, or found none) is one failure.
      failed: failed === 0 && status !== 0 ? 1 : failed,
      skipped: (result?.numPendingTests ?? 0) + (result?.numTodoTests ?? 0),
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

const say = (sentence) => console.log(`# ${sentence}`)
if (process.getuid() === 0) installPrograms(testPrograms, say)
else say('not root: tests that need it are skipped, each with its reason')
installPackages(say)
// Not in the repository: made from proto/fleetmove.proto, and everything imports it.
if ((await run(['npm', 'run', '--silent', 'generate'])) !== 0) process.exit(1)

const total = { passed: 0, failed: 0, skipped: 0 }
const failures = []
for (const part of chosen) {
  console.log(`\n# ${part.name}`)
  const start = performance.now()
  let good
  if (part.jest) {
    const result = await runJest(part)
    for (const key of Object.keys(total)) total[key] += result[key]
    good = result.failed === 0
  } else {
    good = (await run(part.command)) === 0
    // Lint, types, imports and build count as one test each.
    total[good ? 'passed' : 'failed'] += 1
  }
  if (!good) failures.push(part.name)
  console.log(`# ${part.name}: ${good ? 'passed' : 'FAILED'} in ${((performance.now() - start) / 1000).toFixed(1)} s`)
}
if (failures.length > 0) console.log(`\nfailed: ${failures.join(', ')}`)
console.log(`\n${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`)
process.exitCode = total.failed > 0 ? 1 : 0
