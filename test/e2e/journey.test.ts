/**
 * A new user's journey: the lines of README's "A first real migration", one after the other and with the file as
 * `init` writes it, under load. What each prints is kept in test/golden/journey. UPDATE_GOLDEN=1 writes it anew.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expectGolden } from '../golden/golden.js'
import { answeredBy, complaints, type Load } from '../load/client-load.js'
import { differences, type Snapshot, takeSnapshot } from './as-found.js'
import { normalised } from './normalised-session.js'
import { addressesOf, endPractices, type Practice, startPractice, until, withRoot } from './practice.js'
import { typed } from './terminal-session.js'

jest.setTimeout(300_000)
afterAll(endPractices)

const readme = readFileSync(join(__dirname, '..', '..', 'README.md'), 'utf8')
/** Without its remarks. README's new host is new2 of the practice network: behind address translation, entered by sudo. */
const lines = (/^## A first real migration\n\n```\n([\s\S]*?)```$/m.exec(readme)?.[1] ?? '')
  .split('\n')
  .map((line) => line.replace(/ +#.*/, ''))
  .filter((line) => line !== '')
const lineOf = (words: string): string => {
  const [line, ...more] = lines.filter((each) => each.includes(words))
  if (line === undefined || more.length > 0) throw new Error(`README has no such line, or several: ${words}`)
  return line
}
const oldAddresses = addressesOf('old1')
const newAddresses = ['198.51.100.20', '2001:db8:b2::20']
const hosts = ['old1', 'new2']
/** In test/golden/journey. */
const golden = [
  ...['ssh.txt', 'init.txt', 'fleet.yaml', 'plan.txt', 'up.txt', 'verify.txt', 'dns-switch.txt', 'dns.txt'],
  ...['advance.txt', 'status.txt', 'watch.txt', 'finalize-refused.txt', 'finalize.txt', 'report.txt'],
]

withRoot('a first real migration', () => {
  let practice: Practice
  let found: Snapshot
  let onOld: Load
  let onNew: Load
  const walked: string[] = []
  /** What each line has printed: looked at when the journey is over. */
  const sessions = new Map<string, string>()

  /** Types a line of README, or another one in its place. */
  async function walk(name: string, words: string, code = 0, line = lineOf(words)): Promise<void> {
    walked.push(lineOf(words))
    const session = await typed(practice, line)
    if (session.code !== code) throw new Error(session.text)
    sessions.set(`${name}.txt`, session.text)
  }

  beforeAll(async () => {
    practice = await startPractice(`journey-${process.pid}`, async (lab) => {
      await lab.shell('controller', 'rm /root/fleet.yaml')
    })
    found = await takeSnapshot(practice.lab, hosts)
    onOld = await practice.load('client1', { targets: oldAddresses, perSecond: 30, seconds: 900 })
  })

  test('init writes a file that is good as it stands', async () => {
    await walk('ssh', 'ssh ')
    await walk('init', 'fleetmove init')
    sessions.set('fleet.yaml', await practice.shell('controller', 'cat fleet.yaml'))
  })

  test('plan, up and verify', async () => {
    await walk('plan', 'fleetmove plan', 2)
    await walk('up', 'fleetmove up')
    onNew = await practice.load('client2', { targets: newAddresses, perSecond: 30, seconds: 900 })
    await walk('verify', 'fleetmove verify')
  })

  test('names: there are none, and dns says so', async () => {
    await walk('dns-switch', 'fleetmove dns switch', 64)
    const session = await typed(practice, 'fleetmove dns')
    expect(session.code).toBe(0)
    sessions.set('dns.txt', session.text)
  })

  test('advance, status and watch', async () => {
    await walk('advance', 'fleetmove advance web', 0, 'fleetmove advance --all')
    await walk('status', 'fleetmove status')
    const session = await typed(practice, 'fleetmove watch --count 2')
    expect(session.code).toBe(0)
    sessions.set('watch.txt', session.text)
  })

  test('finalize refuses while somebody comes, then cleans up; the report is there', async () => {
    const reports = await onOld.stop()
    expect(complaints(reports)).toEqual([])
    expect(Object.keys(answeredBy(reports)).sort()).toEqual(['new2', 'old1'])
    await walk('finalize-refused', 'fleetmove finalize', 6)
    const line = 'fleetmove finalize --quiet 1s'
    let session = await typed(practice, line)
    await until('the gate', async () => {
      if (session.code === 6) session = await typed(practice, line)
      return session.code !== 6
    })
    expect(session.code).toBe(0)
    sessions.set('finalize.txt', session.text)
    await walk('report', 'fleetmove report')
    expect(await practice.shell('controller', 'cat report.html')).toMatch(
      /^<!doctype html>[\s\S]*nginx[\s\S]*<\/html>\s*$/i,
    )
    const last = await onNew.stop()
    expect(complaints(last)).toEqual([])
    expect(Object.keys(answeredBy(last)).sort()).toEqual(['new2', 'old1'])
    expect(differences(found, await takeSnapshot(practice.lab, hosts))).toEqual([])
  })

  test.each(golden)('what was printed: %s', (name) =>
    expectGolden(`journey/${name}`, normalised(sessions.get(name) ?? '')),
  )

  test('no line of README was left out but the editor, and the way back', () => {
    expect(lines.filter((line) => !walked.includes(line))).toEqual([lineOf('$EDITOR'), lineOf('fleetmove down')])
  })
})
