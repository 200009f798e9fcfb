import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Host } from '../../../agent/host.js'
import type { Observed } from '../../../agent/kernel/observed.js'
import type { Step } from '../../../agent/kernel/step.js'
import { Ledger } from '../../../agent/ledger.js'
import { sysctlKeys } from '../../../agent/plan/sysctls.js'
import { FleetmoveError } from '../../../proto/model/error.js'
import type { HostSpec } from '../../../proto/model/host-spec.js'
import { FakeKernel } from '../../fakes/fake-kernel.js'
import { forward, name, new4, new6, old4, old6, serve, service, spec, tunnel } from './plan/specs.js'

const routes = [forward(['tcp', 443], { local: new4, peer: old4 }), forward(['tcp', 443], { local: new6, peer: old6 })]
const forwarding = (generation: number): HostSpec => spec([tunnel(1)], [service('web', routes)], generation)
const moved = (generation: number): HostSpec =>
  spec([tunnel(1)], [service('web', [serve(['tcp', 443], new4)], { stage: 'moved', active: name('new') })], generation)

const longEnough = 600_000
const bootFile = '/proc/sys/kernel/random/boot_id'

describe('Host', () => {
  let directory: string
  let path: string
  let kernel: FakeKernel
  let host: Host
  let log: string[]

  const start = async (): Promise<Host> => {
    host = new Host(kernel, await Ledger.open(path), {
      log: (message, detail) => log.push(`${message} ${JSON.stringify(detail ?? {})}`),
    })
    return host
  }
  const state = async (): Promise<Observed> => {
    const seen = await kernel.observe(sysctlKeys(await kernel.observe([])))
    // Chains stand in the order in which they were added.
    return seen.table ? { ...seen, table: { ...seen.table, chains: seen.table.chains.sort() } } : seen
  }
  const errorOf = async (work: Promise<unknown>): Promise<FleetmoveError> => {
    const caught = await work.then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(caught).toBeInstanceOf(FleetmoveError)
    return caught as FleetmoveError
  }
  /** Work behind a timer goes through real files, so it is waited for by its effect. */
  const until = async (condition: () => boolean): Promise<void> => {
    const deadline = performance.now() + 5_000
    while (!condition()) {
      if (performance.now() > deadline) throw new Error(`nothing happened within 5 s; the log says: ${log.join('\n')}`)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  beforeEach(async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'performance', 'nextTick', 'queueMicrotask'] })
    directory = mkdtempSync(join(tmpdir(), 'host-'))
    path = join(directory, 'ledger')
    log = []
    kernel = new FakeKernel({
      links: [{ name: 'eth0', kind: '', mtu: 1500, up: true, vxlan: null }],
      addresses: [{ device: 'eth0', ip: new4, prefix: 24 }],
      uplinks: [{ family: 4, device: 'eth0' }],
    })
    await start()
  })
  afterEach(() => {
    jest.clearAllTimers()
    jest.useRealTimers()
    rmSync(directory, { recursive: true, force: true })
  })

  it('keeps what is confirmed, also when the time is over', async () => {
    const steps = await host.apply(forwarding(1), 1000)
    expect(steps.length).toBeGreaterThan(5)
    expect(host.trial).toEqual({ spec: forwarding(1), remainingMs: 1000 })
    expect(host.confirmed).toBeNull()
    await host.confirm(1)
    expect([host.trial, host.confirmed, host.spec]).toEqual([null, forwarding(1), forwarding(1)])
    const applied = await state()
    await jest.advanceTimersByTimeAsync(10_000)
    expect(await host.drift()).toEqual([])
    expect(await state()).toEqual(applied)
    expect(host.expired).toBe(0)
  })

  it('undoes alone what nobody confirms', async () => {
    const before = await state()
    await host.apply(forwarding(1), 1000)
    await jest.advanceTimersByTimeAsync(999)
    expect(host.trial?.remainingMs).toBe(1)
    await jest.advanceTimersByTimeAsync(1)
    await until(() => log.some((line) => line.startsWith('undone')))
    expect(await state()).toEqual(before)
    expect([host.trial, host.confirmed, host.expired, host.generation]).toEqual([null, null, 1, 1])
    const error = await errorOf(host.confirm(1))
    expect([error.code, error.hint]).toEqual(['rolled-back', 'run the command again'])
  })

  it('goes back to what was confirmed before', async () => {
    await host.apply(forwarding(1), 1000)
    await host.confirm(1)
    const confirmed = await state()
    await host.apply(moved(2), 1000)
    await jest.advanceTimersByTimeAsync(1000)
    await until(() => log.some((line) => line.startsWith('undone')))
    expect(await state()).toEqual(confirmed)
    expect(host.spec).toEqual(forwarding(1))
  })

  it('undoes in time though the clock is set back meanwhile', async () => {
    await host.apply(forwarding(1), 1000)
    jest.setSystemTime(Date.now() - 3_600_000)
    await jest.advanceTimersByTimeAsync(1000)
    await until(() => log.some((line) => line.startsWith('undone')))
    expect(host.trial).toBeNull()
  })

  it('gives a trial that follows another its own time', async () => {
    await host.apply(forwarding(1), 1000)
    await jest.advanceTimersByTimeAsync(900)
    await host.apply(moved(2), 1000)
    await jest.advanceTimersByTimeAsync(900)
    expect(host.trial?.spec.generation).toBe(2)
    await jest.advanceTimersByTimeAsync(100)
    await until(() => host.trial === null && log.some((line) => line.startsWith('undone')))
    expect(host.expired).toBe(2)
  })

  it('ends a trial early when it is told to, and only that one', async () => {
    const before = await state()
    await host.apply(forwarding(1), longEnough)
    expect(await host.revert(2)).toEqual([])
    expect(host.trial?.spec.generation).toBe(1)
    expect((await host.revert(1)).length).toBeGreaterThan(5)
    expect(await state()).toEqual(before)
  })

  it('does nothing when the same is applied twice', async () => {
    await host.apply(forwarding(1), longEnough)
    expect(await host.apply(forwarding(1), longEnough)).toEqual([])
    await host.confirm(1)
    await host.confirm(1)
    expect(await host.apply(forwarding(1), longEnough)).toEqual([])
    expect(host.trial).toBeNull()
    expect(await host.apply(forwarding(2), longEnough)).toEqual([])
  })

  it('takes changes in the order in which they come, one at a time', async () => {
    const results = await Promise.allSettled([
      host.apply(forwarding(1), longEnough),
      host.confirm(1),
      host.apply(moved(2), longEnough),
      host.apply(forwarding(1), longEnough),
      host.confirm(2),
    ])
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
    ])
    expect(host.confirmed).toEqual(moved(2))
  })

  describe('refuses, with nothing changed,', () => {
    beforeEach(async () => {
      await host.apply(forwarding(5), longEnough)
      await host.confirm(5)
    })
    const refused = async (wanted: HostSpec): Promise<FleetmoveError> => {
      const [before, ledger] = [await state(), readFileSync(path, 'utf8')]
      const error = await errorOf(host.apply(wanted, longEnough))
      expect(await state()).toEqual(before)
      expect(readFileSync(path, 'utf8')).toBe(ledger)
      return error
    }

    it('an older generation', async () => {
      const error = await refused(moved(4))
      expect([error.code, error.message]).toEqual(['stale', expect.stringContaining('generation 4 comes too late')])
      expect(error.hint).toContain('fleetmove status')
    })
    it('the same generation with other content', async () => {
      expect((await refused(moved(5))).message).toContain('here already with other content')
    })
    it('the same generation as a trial with other content', async () => {
      await host.apply(moved(6), longEnough)
      expect((await refused(forwarding(6))).message).toContain('here already with other content')
    })
    it('a generation that was undone', async () => {
      await host.apply(moved(6), longEnough)
      await host.revert(6)
      const error = await refused(moved(6))
      expect(error.code).toBe('stale')
      expect(error.message).toContain('has taken 6 already')
    })
    it('what is confirmed while a younger trial runs', async () => {
      await host.apply(moved(6), longEnough)
      expect((await refused(forwarding(5))).code).toBe('stale')
      expect(host.generation).toBe(6)
    })
    it('another fleet', async () => {
      const error = await refused({ ...moved(9), fleet: name('autumn') })
      expect([error.code, error.message]).toEqual([
        'conflict',
        'this host is "new" of fleet "spring", not "new" of "autumn"',
      ])
    })
    it('another name for this host', async () => {
      expect((await refused({ ...moved(9), host: name('other') })).code).toBe('conflict')
    })
    it('an older leave', async () => {
      const before = await state()
      expect((await errorOf(host.leave(5))).code).toBe('stale')
      expect(await state()).toEqual(before)
    })
  })

  describe('when the disk takes nothing any more', () => {
    const fill = (): void => void mkdirSync(join(`${path}.new`, 'in the way'), { recursive: true })
    const free = (): void => rmSync(`${path}.new`, { recursive: true })
    const undone = (): Promise<void> => until(() => log.some((line) => line.startsWith('undone')))

    it('applies nothing', async () => {
      const before = await state()
      fill()
      expect((await errorOf(host.apply(forwarding(1), 1000))).code).toBe('ledger')
      expect(await state()).toEqual(before)
      expect([host.trial, host.generation]).toEqual([null, 0])
    })

    it('confirms nothing, and undoes in time all the same', async () => {
      const before = await state()
      await host.apply(forwarding(1), 1000)
      fill()
      expect((await errorOf(host.confirm(1))).code).toBe('ledger')
      expect(host.trial?.spec).toEqual(forwarding(1))
      await jest.advanceTimersByTimeAsync(1000)
      await undone()
      expect(await state()).toEqual(before)
      expect([host.trial, host.spec]).toEqual([null, null])
      // A restart knows no better than the disk, on which the trial's time is over.
      jest.setSystemTime(Date.now() + 1000)
      free()
      await (await start()).restore()
      expect(await state()).toEqual(before)
      expect([host.trial, host.confirmed]).toEqual([null, null])
    })

    it('writes what it could not write then with the next change', async () => {
      await host.apply(forwarding(1), 1000)
      fill()
      await jest.advanceTimersByTimeAsync(1000)
      await undone()
      free()
      await host.apply(forwarding(2), longEnough)
      await host.confirm(2)
      const applied = await state()
      await (await start()).restore()
      expect([host.trial, host.confirmed]).toEqual([null, forwarding(2)])
      expect(await state()).toEqual(applied)
    })
  })

  describe('when a step fails', () => {
    const kinds: Step['do'][] = [
      'add-link',
      'set-link',
      'add-address',
      'set-sysctl',
      'add-route',
      'add-rule',
      'load-ruleset',
    ]
    it.each(kinds)('%s: puts everything back and says so', async (kind) => {
      const before = await state()
      kernel.refuseNext((step) => step.do === kind, 'no space left on device')
      const error = await errorOf(host.apply(forwarding(1), longEnough))
      expect(error.code).toBe('rolled-back')
      expect(error.message).toContain(
        `could not ${kind}: no space left on device; everything on this host was put back`,
      )
      expect((error.cause as FleetmoveError).code).toBe('kernel')
      expect(await state()).toEqual(before)
      expect([host.trial, host.confirmed]).toEqual([null, null])
    })

    it('says both when undoing fails too, and goes on undoing after a restart', async () => {
      const before = await state()
      const perform = kernel.perform.bind(kernel)
      kernel.perform = async (step) => {
        if (step.do === 'load-ruleset') throw new FleetmoveError('kernel', { message: 'the first failure' })
        if (step.do === 'delete-rule') throw new FleetmoveError('kernel', { message: 'the second failure' })
        return perform(step)
      }
      const error = await errorOf(host.apply(forwarding(1), longEnough))
      expect(error.message).toContain('the first failure')
      expect(error.message).toContain('the second failure')
      kernel.perform = perform
      await (await start()).restore()
      expect(await state()).toEqual(before)
    })
  })

  describe('after a restart', () => {
    it('puts the kernel back to what is confirmed', async () => {
      await host.apply(forwarding(1), longEnough)
      await host.confirm(1)
      const before = await state()
      kernel.meddle({ deleteTable: true, deleteRules: true, deleteLink: 'fm1' })
      await (await start()).restore()
      const { rules, table, addresses } = await state()
      expect({ rules, table, addresses: addresses.length }).toEqual({
        rules: before.rules,
        table: before.table,
        addresses: before.addresses.length,
      })
      expect(log.at(-1)).toMatch(/^kernel put back to the ledger/)
    })

    it('goes on with a trial, for the rest of its time', async () => {
      const before = await state()
      await host.apply(forwarding(1), 1000)
      jest.clearAllTimers()
      jest.setSystemTime(Date.now() + 600)
      await (await start()).restore()
      expect(host.trial?.remainingMs).toBe(400)
      await jest.advanceTimersByTimeAsync(400)
      await until(() => log.some((line) => line.startsWith('undone')))
      expect(await state()).toEqual(before)
    })

    it('lets a trial be confirmed', async () => {
      await host.apply(forwarding(1), 1000)
      jest.clearAllTimers()
      await (await start()).restore()
      await host.confirm(1)
      expect(host.confirmed).toEqual(forwarding(1))
    })

    it('undoes a trial whose time ran out meanwhile', async () => {
      const before = await state()
      await host.apply(forwarding(1), 1000)
      jest.clearAllTimers()
      jest.setSystemTime(Date.now() + 1001)
      await (await start()).restore()
      expect(await state()).toEqual(before)
      expect([host.trial, host.expired]).toEqual([null, 1])
    })

    it('undoes a trial of another boot, though its time is not over', async () => {
      await host.apply(forwarding(1), longEnough)
      const ledger = await Ledger.open(path)
      const { trial } = ledger.current
      expect(trial!.bootId).toBe(readFileSync(bootFile, 'utf8').trim())
      await ledger.save({ trial: { ...trial!, bootId: '00000000-0000-0000-0000-000000000000' } })
      jest.clearAllTimers()
      await (await start()).restore()
      expect(host.trial).toBeNull()
    })

    it('ends an undoing that was interrupted, also of the very first spec', async () => {
      const before = await state()
      await host.apply(forwarding(1), longEnough)
      // What `undo` writes before its first step.
      await (await Ledger.open(path)).save({ trial: null })
      jest.clearAllTimers()
      await (await start()).restore()
      expect(await state()).toEqual(before)
    })

    it('still knows the sysctls as they were found', async () => {
      const before = await state()
      await host.apply(forwarding(1), longEnough)
      await host.confirm(1)
      await start()
      await host.restore()
      await host.leave(2)
      expect(await state()).toEqual(before)
    })
  })

  describe('leaving', () => {
    it('takes everything back and the ledger with it', async () => {
      const before = await state()
      await host.apply(forwarding(1), longEnough)
      await host.confirm(1)
      expect((await host.leave(2)).length).toBeGreaterThan(5)
      expect(await state()).toEqual(before)
      expect((await Ledger.open(path)).current).toEqual({
        confirmed: null,
        trial: null,
        found: {},
        generation: 0,
        gaps: [],
      })
      expect([host.spec, host.trial, host.confirmed]).toEqual([null, null, null])
    })

    it('lets no trial come back', async () => {
      const before = await state()
      await host.apply(forwarding(1), 1000)
      const leaving = host.leave(2)
      jest.advanceTimersByTime(1000)
      await leaving
      await host.drift()
      expect(await state()).toEqual(before)
      expect((await Ledger.open(path)).current.generation).toBe(0)
    })

    it('that fails leaves a trial its end', async () => {
      const before = await state()
      await host.apply(forwarding(1), 1000)
      kernel.refuseNext((step) => step.do === 'delete-table', 'busy')
      await errorOf(host.leave(2))
      await jest.advanceTimersByTimeAsync(1000)
      await until(() => log.some((line) => line.startsWith('undone')))
      expect(await state()).toEqual(before)
    })
  })
})
