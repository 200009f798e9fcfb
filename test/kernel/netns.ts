/**
 * Tests on the real kernel, in namespaces of their own. A process can't change its network namespace from
 * JavaScript, so the file's tests run in a second jest that `unshare` starts: new network, mount and
 * process namespaces, an empty /run, and all of it dies with the first.
 */
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'

const marker = 'FLEETMOVE_TEST_NAMESPACE'
const root = join(dirname(__filename), '..', '..')

/** Why tests on the kernel can't run here; null where they can. */
export const whyNoNamespace = (): string | null =>
  process.getuid?.() === 0 ? null : 'it needs root, to make a network namespace'

/** What isn't tested here, and why, where a person sees it (jest keeps the console's output for itself). */
export const saySkipped = (what: string, reason: string): void => {
  process.stderr.write(`skipped: ${what}: ${reason}\n`)
}

/** Whether this process is the inner one. */
export const isInOwnNamespace = process.env[marker] !== undefined

const timeout = 300_000

/**
 * Defines the tests of a file so that they run in a network namespace of their own, with lo up.
 * @param file `__filename` of the test file, which must hold nothing but this call's tests beside those
 *   that it guards with `isInOwnNamespace` itself
 * @param define calls describe and test; runs in the inner process only
 */
export function inOwnNamespace(file: string, define: () => void): void {
  if (isInOwnNamespace) {
    define()
    return
  }
  const reason = whyNoNamespace()
  if (reason !== null) {
    saySkipped(file, reason)
    test.skip(`on the real kernel (skipped: ${reason})`, () => {})
    return
  }
  test(
    'on the real kernel, in a network namespace of its own',
    async () => {
      const { status, output } = await runInside(file)
      if (status !== 0) throw new Error(`the tests in the namespace failed:\n${output}`)
      // What was left out, and what was measured, must be seen from outside too.
      for (const line of output.split('\n').filter((l) => /^(skipped|measured): /.test(l)))
        process.stderr.write(`${line}\n`)
    },
    timeout,
  )
}

function runInside(file: string): Promise<{ status: number | null; output: string }> {
  // sh stays as process 1 and reaps what tests leave behind; /run is private since pid files,
  // wireguard-go's sockets and ip's namespaces are found by path.
  const script = 'mount -t tmpfs tmpfs /run && mkdir -p /run/netns && ip link set lo up && "$@"; exit $?'
  const jest = [process.execPath, join(root, 'node_modules/jest/bin/jest.js'), '-c', join(root, '.jest.config.cjs')]
  const args = [
    ...['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'],
    ...['sh', '-c', script, 'sh', ...jest, '--runInBand', '--colors=false', '--verbose', '--runTestsByPath', file],
  ]
  return new Promise((resolve, reject) => {
    const child = spawn('unshare', args, {
      cwd: root,
      env: { ...process.env, [marker]: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout,
      killSignal: 'SIGKILL',
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)))
    child.once('error', reject)
    child.once('close', (status) => resolve({ status, output }))
  })
}
