import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Served, serveData } from '../../agent/data/serve-data.js'
import { ip, name } from '../unit/agent/plan/specs.js'
import { inOwnNamespace } from './netns.js'

inOwnNamespace(__filename, () => {
  let directory: string
  const tunnel = { peer: name('new'), local4: ip('10.89.0.1'), peer4: ip('10.89.0.2') }
  const options = { live: false, tunnel, signal: new AbortController().signal, onReady: () => {} }

  beforeAll(() => {
    execFileSync('mount', ['-t', 'tmpfs', 'none', '/var/lib'])
    for (const address of [tunnel.local4, tunnel.peer4])
      execFileSync('ip', ['addr', 'add', `${address}/32`, 'dev', 'lo'])
    directory = mkdtempSync(join(tmpdir(), 'data-serve-'))
    writeFileSync(join(directory, 'large'), Buffer.alloc(3_000_000))
    mkdirSync('/run/fleetmove')
  })
  afterAll(() => rmSync(directory, { recursive: true }))
  afterEach(() => {
    expect(readdirSync('/run/fleetmove')).toEqual([])
    expect(execFileSync('ss', ['-Hltn'], { encoding: 'utf8' })).toBe('')
  })

  test('without anybody who copies it ends by itself; a slow copy keeps it', async () => {
    const target = mkdtempSync(join(tmpdir(), 'data-target-'))
    const idleMs = 600
    const begun = performance.now()
    let copied = 0
    const onReady = ({ port, user, secret }: Served): void => {
      const from = `rsync://${user}@${tunnel.local4}:${port}/d0/`
      // Three times as long as it would wait for nobody.
      const argv = ['-a', '--bwlimit=1600', `--address=${tunnel.peer4}`, from, `${target}/`]
      execFile('rsync', argv, { env: { ...process.env, RSYNC_PASSWORD: secret } }, (error) => {
        if (!error) copied = performance.now() - begun
      })
    }
    await expect(serveData({ ...options, directories: [directory], idleMs, onReady })).rejects.toMatchObject({
      code: 'timeout',
    })
    expect(copied).toBeGreaterThan(2 * idleMs)
    expect(performance.now() - begun - copied).toBeLessThan(10 * idleMs)
    rmSync(target, { recursive: true })
  })

  test('what an agent that was killed with all its processes has left is removed', async () => {
    mkdirSync('/run/fleetmove/rsync-0123456789ab')
    writeFileSync('/run/fleetmove/rsync-0123456789ab/secrets', 'user:secret')
    const abort = new AbortController()
    await serveData({ ...options, directories: [directory], signal: abort.signal, onReady: () => abort.abort() })
  })

  test('a tunnel that is gone is named', async () => {
    const gone = { ...tunnel, local4: ip('10.89.0.9') }
    await expect(serveData({ ...options, tunnel: gone, directories: [directory] })).rejects.toMatchObject({
      ...{ code: 'tunnel', message: expect.stringContaining('10.89.0.9') },
    })
  })
})
