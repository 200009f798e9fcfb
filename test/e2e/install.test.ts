/** What an operator installs: the npm package into an empty prefix, and the single executable, which does the whole job alone. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isLong, whenLong } from './long.js'
import { endPractices, type Practice, startPractice, withRoot } from './practice.js'

jest.setTimeout(300_000)
afterAll(endPractices)

const root = join(__dirname, '..', '..')
const { version } = require(join(root, 'package.json')) as { version: string }
// Builds of their own: the one in dist is in use. Not in /tmp, of which practice hosts have their own.
const builds = join(root, 'node_modules', '.cache', `fleetmove-install-${process.pid}`)
afterAll(() => rmSync(builds, { recursive: true, force: true }))

describe('the npm package', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'fleetmove-install-'))
  afterAll(() => rmSync(scratch, { recursive: true, force: true }))
  const npm = (...args: string[]): string =>
    execFileSync('npm', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

  test('installs without fetching or building anything, and runs', () => {
    // What prepack would build is what the tests before have used.
    npm('pack', '--silent', '--ignore-scripts', '--pack-destination', scratch)
    const tarball = join(scratch, readdirSync(scratch).find((name) => name.endsWith('.tgz'))!)
    npm('install', '--global', '--offline', '--foreground-scripts', '--prefix', join(scratch, 'prefix'), tarball)
    const installed = join(scratch, 'prefix', 'lib', 'node_modules', 'fleetmove')
    expect(existsSync(join(installed, 'node_modules'))).toBe(false)
    expect(readdirSync(join(installed, 'dist', 'agent')).sort()).toEqual([
      'agent.cjs',
      'netlink-arm64.node',
      'netlink-x64.node',
    ])
    expect(existsSync(join(scratch, 'prefix', 'share', 'man', 'man1', 'fleetmove.1'))).toBe(true)
    const run = (...args: string[]) =>
      spawnSync(join(scratch, 'prefix', 'bin', 'fleetmove'), args, { cwd: scratch, encoding: 'utf8' })
    expect(run('--version')).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: '' })
    expect(JSON.parse(run('schema').stdout)).toMatchObject({ title: 'fleet.yaml of fleetmove' })
    expect(run('status')).toMatchObject({ status: 64 })
  })
})

withRoot('the single executable', () => {
  const long = whenLong(test, 'the single executable, which takes a minute')
  let practice: Practice
  beforeAll(async () => {
    if (isLong) practice = await startPractice(`single-${process.pid}`)
  })

  long('moves a service from a host without fleetmove, Node or anything beside it', async () => {
    execFileSync('npm', ['run', '--silent', 'package', '--', process.arch], {
      cwd: root,
      env: { ...process.env, FLEETMOVE_DIST: builds },
    })
    const executable = join(builds, 'package', `fleetmove-linux-${process.arch}`)
    await practice.shell('controller', `install -m 0755 ${executable} /usr/local/bin/fm`)
    const fleetmove = (words: string) =>
      practice.lab.exec('controller', ['sh', '-c', `cd /root; PATH=/usr/local/bin:/bin fm ${words}`], {
        timeoutMs: 60_000,
      })
    expect(await fleetmove('--version')).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' })
    // It runs the agent's program here.
    expect(await fleetmove('plan')).toMatchObject({
      code: 2,
      stdout: expect.stringContaining('load table inet fleetmove'),
    })
    for (const words of ['up', 'verify', 'advance --all', 'down']) {
      const { code, stderr } = await fleetmove(words)
      expect({ words, code, stderr: code === 0 ? '' : stderr }).toEqual({ words, code: 0, stderr: '' })
      // Node tells of modules that it can't load from inside.
      expect(stderr).not.toContain('Warning')
    }
  })
})
