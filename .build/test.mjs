// npm test [-- PART...]: everything that must hold, from a fresh clone on Debian 12 as root with Node alone.
// Installs what is missing, then runs the parts in order; the last line sums the tests: "N passed, N failed".
import { spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const bin = (name) => join(root, 'node_modules', '.bin', name)

/** What the tests on the real kernel and the practice network use, as Debian calls it. */
const packages =
  'nftables wireguard-tools wireguard-go openvpn nginx-light openssh-server openssh-client sudo conntrack iproute2 iputils-ping procps curl socat tcpdump'.split(
    ' ',
  )

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
  { name: 'e2e', jest: ['--runInBand'] },
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

const must = async (what, command, options) => {
  console.log(`# ${what}`)
  if ((await run(command, options)) !== 0) {
    console.error(`could not ${what}`)
    process.exit(1)
  }
}

const isInstalled = (name) =>
  spawnSync('dpkg-query', ['-s', name], { encoding: 'utf8' }).stdout.includes('\nStatus: install ok installed\n')

async function installPackages() {
  const missing = existsSync('/usr/bin/dpkg-query') ? packages.filter((name) => !isInstalled(name)) : []
  if (missing.length === 0) return
  if (process.getuid() !== 0) {
    console.log(`not installed, and only root can: ${missing.join(' ')}; tests that need them are skipped`)
    return
  }
  // A test machine must not get a web server and a VPN for having run tests: no service starts
  // (/usr/share/doc/init-system-helpers/README.policy-rc.d.gz).
  const policy = '/usr/sbin/policy-rc.d'
  const kept = `${policy}.kept-by-fleetmove`
  // One that is there already was kept by a run that was killed.
  if (existsSync(policy) && !existsSync(kept)) renameSync(policy, kept)
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  const restore = () => (existsSync(kept) ? renameSync(kept, policy) : rmSync(policy, { force: true }))
  process.once('exit', restore)
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ])
    process.once(signal, () => process.exit(status))
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  await must('update the list of packages', ['apt-get', 'update', '-q'], { env })
  await must(
    `install ${missing.join(' ')}`,
    ['apt-get', 'install', '-q', '-y', '--no-install-recommends', ...missing],
    { env },
  )
  process.removeListener('exit', restore)
  restore()
}

async function installModules() {
  // npm writes this file when it has installed everything.
  const mark = join(root, 'node_modules', '.package-lock.json')
  const lock = join(root, 'package-lock.json')
  if (existsSync(mark) && statSync(mark).mtimeMs >= statSync(lock).mtimeMs) return
  await must('install packages of npm', ['npm', 'ci'])
}

const hasTests = (name) =>
  existsSync(join(root, 'test', name)) &&
  readdirSync(join(root, 'test', name), { recursive: true }).some((file) => String(file).endsWith('.test.ts'))

/** @returns {Promise<{ passed: number, failed: number, skipped: number }>} */
async function runJest({ name, jest }) {
  if (!hasTests(name)) {
    console.log(`skipped: there is no test in test/${name}`)
    return { passed: 0, failed: 0, skipped: 0 }
  }
  const scratch = mkdtempSync(join(tmpdir(), 'fleetmove-test-'))
  const output = join(scratch, 'result.json')
  try {
    const args = ['-c', '.jest.config.cjs', '--json', `--outputFile=${output}`, '--testPathPatterns', `/test/${name}/`]
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

await installPackages()
await installModules()
// Not in the repository: made from proto/fleetmove.proto, and everything imports it.
await must('generate code from proto/fleetmove.proto', ['npm', 'run', '--silent', 'generate'])

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
