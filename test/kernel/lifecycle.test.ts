import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttp, type Server } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { awaitHealthy } from '../../agent/health.js'
import { runLifecycle } from '../../agent/lifecycle.js'
import type { Ip } from '../../proto/model/address.js'
import type { Name } from '../../proto/model/names.js'
import { inOwnNamespace } from './netns.js'

const web = 'web' as Name
const options = { timeoutMs: 10_000, environment: {} }
const start = (command: string) => ({ kind: 'run' as const, start: command, stop: '' })

const isAlive = (pid: number): boolean => {
  try {
    // A zombie answers signals too.
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return false
  }
}
async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`)
    await delay(20)
  }
}

inOwnNamespace(__filename, () => {
  let directory: string
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'lifecycle-'))
  })
  afterAll(() => rmSync(directory, { recursive: true }))
  afterEach(() => {
    // The output's file is gone by name, whatever the end.
    expect(readdirSync('/run/fleetmove')).toEqual([])
  })

  test('a command gets its environment, and its output is kept', async () => {
    const environment = { FLEETMOVE_FROM: 'old', FLEETMOVE_TO: 'new' }
    const command = 'echo "$FLEETMOVE_SERVICE $FLEETMOVE_ACTION $FLEETMOVE_FROM $FLEETMOVE_TO"; echo oops >&2'
    expect(await runLifecycle(web, 'start', start(command), { ...options, environment })).toEqual({
      ...{ ok: true, ended: '0', output: 'web start old new\noops' },
    })
  })

  test("a command has the soft limit of open files that a login has, not Node's own", async () => {
    const { output } = await runLifecycle(web, 'start', start('ulimit -S -n; ulimit -H -n'), options)
    const [soft, hard] = output.split('\n').map(Number)
    expect(hard).toBeGreaterThan(1024)
    expect(soft).toBe(1024)
  })

  test('a failure tells its exit code and the last 8 KiB', async () => {
    const end = await runLifecycle(web, 'start', start('seq 1 5000; echo the end; exit 3'), options)
    expect(end).toMatchObject({ ok: false, ended: '3' })
    expect(end.output.endsWith('5000\nthe end')).toBe(true)
    expect(Buffer.byteLength(end.output)).toBeLessThanOrEqual(8192)
    expect(await runLifecycle(web, 'start', start('kill -9 $$'), options)).toMatchObject({
      ok: false,
      ended: 'SIGKILL',
    })
  })

  test('an empty command is nothing to do', async () => {
    expect(await runLifecycle(web, 'stop', start('exit 1'), options)).toMatchObject({ ok: true })
  })

  test('a daemon that keeps the output open is not waited for, and lives on', async () => {
    const began = performance.now()
    const command = `(trap "" HUP; sleep 0.3; echo "still writing" && echo yes > ${directory}/wrote; exec sleep 60) & echo $! > ${directory}/pid; echo started`
    const end = await runLifecycle(web, 'start', start(command), options)
    expect(end).toEqual({ ok: true, ended: '0', output: 'started' })
    expect(performance.now() - began).toBeLessThan(5000)
    const pid = Number(readFileSync(`${directory}/pid`, 'utf8'))
    try {
      await until('the daemon writes', () => existsSync(`${directory}/wrote`))
      expect(isAlive(pid)).toBe(true)
    } finally {
      process.kill(pid, 'SIGKILL')
    }
  })

  test('at the limit the whole process group dies, also what ignores SIGTERM', async () => {
    const command = `trap "" TERM; (trap "" TERM; echo $$ > ${directory}/parent; sleep 60; sleep 60) & echo $! > ${directory}/child; wait; wait`
    const end = await runLifecycle(web, 'start', start(command), { ...options, timeoutMs: 300 })
    expect(end).toMatchObject({ ok: false, ended: 'timeout' })
    const child = Number(readFileSync(`${directory}/child`, 'utf8'))
    await until('the group is dead', () => !isAlive(child))
  })

  describe('containers, by an engine’s command', () => {
    // In this mount namespace alone: the machine may have an engine of its own.
    const tools = '/usr/local/sbin'
    const saying = (name: string, script: string): void =>
      writeFileSync(`${tools}/${name}`, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    const told = 'echo "$0 $* ($FLEETMOVE_SERVICE $FLEETMOVE_ACTION $FLEETMOVE_TO)"'
    const environment = { FLEETMOVE_TO: 'new' }
    const compose = { kind: 'compose' as const, file: '/srv/app/compose.yaml', composeService: 'web' }
    beforeAll(() => {
      execFileSync('mount', ['-t', 'tmpfs', 'none', tools])
    })
    afterAll(() => {
      execFileSync('umount', [tools])
    })

    test('a container is started and stopped by its name', async () => {
      saying('docker', told)
      for (const action of ['start', 'stop'] as const) {
        const end = await runLifecycle(
          web,
          action,
          { kind: 'container', container: 'web-1' },
          { ...options, environment },
        )
        expect(end).toEqual({ ok: true, ended: '0', output: `${tools}/docker ${action} -- web-1 (web ${action} new)` })
      }
    })

    test('a service of Compose is made and started, and stopped by itself; its file may use FLEETMOVE_*', async () => {
      saying('docker', told)
      const at = (action: 'start' | 'stop') => runLifecycle(web, action, compose, { ...options, environment })
      expect((await at('start')).output).toBe(
        `${tools}/docker compose --file /srv/app/compose.yaml up --detach web (web start new)`,
      )
      expect((await at('stop')).output).toBe(
        `${tools}/docker compose --file /srv/app/compose.yaml stop web (web stop new)`,
      )
    })

    test('where Compose is a program of its own, that is used', async () => {
      saying('docker', 'test "$1" != compose')
      saying('docker-compose', told)
      expect((await runLifecycle(web, 'start', compose, { ...options, environment })).output).toBe(
        `${tools}/docker-compose --file /srv/app/compose.yaml up --detach web (web start new)`,
      )
    })

    test('what the engine says of a failure is told, and one that hangs is given up', async () => {
      saying('docker', 'echo "Error: No such container: web-1" >&2; exit 1')
      const container = { kind: 'container' as const, container: 'web-1' }
      expect(await runLifecycle(web, 'start', container, options)).toEqual({
        ...{ ok: false, ended: '1', output: 'Error: No such container: web-1' },
      })
      saying('docker', 'echo pulling; exec sleep 60')
      expect(await runLifecycle(web, 'start', container, { ...options, timeoutMs: 300 })).toEqual({
        ...{ ok: false, ended: 'timeout', output: 'pulling' },
      })
    })
  })

  test('a means that the host lacks is named', async () => {
    const absent = { kind: 'container' as const, container: 'no-such-container' }
    const end = await runLifecycle(web, 'start', absent, options).catch((error: Error) => error)
    // With docker installed its own words, without it ours.
    if (end instanceof Error) expect(end.message).toMatch(/(docker|podman) is not installed/)
    else expect(end).toMatchObject({ ok: false, output: expect.stringMatching(/docker|container/i) })
  })

  describe('health', () => {
    const address = '127.0.0.1' as Ip
    let server: Server | undefined
    afterAll(() => {
      server?.closeAllConnections()
      server?.close()
    })

    test('tcp: retried until something listens', async () => {
      const pending = awaitHealthy(web, { kind: 'tcp', address, port: 4001 }, 10_000)
      await delay(250)
      const server = createServer((socket) => socket.destroy()).listen(4001, address)
      expect(await pending).toEqual({ healthy: true, detail: '127.0.0.1:4001 takes connections' })
      server.close()
      const failed = await awaitHealthy(web, { kind: 'tcp', address, port: 4002 }, 500)
      expect(failed).toMatchObject({ healthy: false, detail: expect.stringContaining('refuses connections (') })
    })

    test('http: 2xx and 3xx, anything else is named', async () => {
      let code = 503
      server = createHttp((request, response) => {
        if (request.url === '/hang') return
        response.writeHead(code, { location: 'http://127.0.0.1:1/' }).end('x'.repeat(100_000))
      }).listen(4003, address)
      const url = 'http://127.0.0.1:4003/healthz'
      expect(await awaitHealthy(web, { kind: 'http', url }, 300)).toMatchObject({
        ...{ healthy: false, detail: expect.stringContaining('answered 503 Service Unavailable') },
      })
      const pending = awaitHealthy(web, { kind: 'http', url }, 10_000)
      code = 302
      expect(await pending).toMatchObject({ healthy: true, detail: `${url} answered 302 Found` })
      expect(await awaitHealthy(web, { kind: 'http', url: 'http://127.0.0.1:4003/hang' }, 300)).toMatchObject({
        ...{ healthy: false, detail: expect.stringContaining('did not answer within') },
      })
      expect(await awaitHealthy(web, { kind: 'http', url: 'http://127.0.0.1:4004/' }, 100)).toMatchObject({
        ...{ healthy: false, detail: expect.stringContaining('ECONNREFUSED') },
      })
    })

    test('command: retried, the last output is the reason', async () => {
      const counter = `${directory}/tries`
      const command = `echo try >> ${counter}; [ $(wc -l < ${counter}) -ge 3 ] || { echo "not yet"; exit 1; }`
      expect(await awaitHealthy(web, { kind: 'command', command }, 10_000)).toMatchObject({ healthy: true })
      expect(readFileSync(counter, 'utf8').trim().split('\n')).toHaveLength(3)
      expect(await awaitHealthy(web, { kind: 'command', command: 'echo broken; exit 7' }, 100)).toMatchObject({
        ...{ healthy: false, detail: expect.stringContaining('the health command ended with 7: broken') },
      })
    })

    test('an abort ends the waiting', async () => {
      const abort = new AbortController()
      const pending = awaitHealthy(web, { kind: 'tcp', address, port: 4005 }, 60_000, abort.signal)
      abort.abort()
      expect(await pending).toMatchObject({ healthy: false })
    })
  })
})
