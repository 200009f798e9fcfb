/** One command that is struck, run again until it has done its work, and judged. */

import type { Ended, Event, Practice } from '../e2e/practice.js'
import { complaints, type Load } from '../load/client-load.js'
import { awaitSomewhere, type Fault, type FaultName, faults, type Host, hosts, type Known, trialMs } from './faults.js'
import { addresses, queuePid, queuePort } from './fleet.js'
import { confirmedKey, kernelState, ledgerOf, runs } from './kernel-state.js'
import type { Random } from './random.js'
import type { Report } from './report.js'

/** What a command leaves when it has done its work. */
export interface Goal {
  stage: 'forwarding' | 'moved' | 'gone'
  active: Host
}

export interface Command {
  words: string
  goal: Goal
  /** Whose addresses clients use while it works: those that answer before it and after it. */
  used: readonly Host[]
  /** The services' host before. */
  from: Host
}

export const commands = {
  up: { words: 'up', goal: { stage: 'forwarding', active: 'old1' }, used: ['old1'], from: 'old1' },
  advance: { words: 'advance --all', goal: { stage: 'moved', active: 'new1' }, used: hosts, from: 'old1' },
  rollback: { words: 'rollback web queue', goal: { stage: 'forwarding', active: 'old1' }, used: hosts, from: 'new1' },
  finalize: { words: 'finalize --force', goal: { stage: 'gone', active: 'new1' }, used: ['new1'], from: 'new1' },
  'down from forwarding': { words: 'down', goal: { stage: 'gone', active: 'old1' }, used: ['old1'], from: 'old1' },
  'down from moved': { words: 'down', goal: { stage: 'gone', active: 'old1' }, used: ['old1'], from: 'new1' },
} as const satisfies Record<string, Command>
export type CommandName = keyof typeof commands

export interface Blow {
  fault: FaultName
  /** As `momentOf` names it. */
  moment: string
  host: Host
}

export interface Surroundings {
  practice: Practice
  random: Random
  report: Report
  known: Known
  /** For whoever wants to see it again. */
  label: string
}

/** Calls come and go in an order that differs from run to run; the third Apply of a host is the third. */
export class Moments {
  private readonly counts = new Map<string, number>()

  /** `old1 Apply sent 3`; undefined where the event is no moment. */
  of({ type, subject, what, state }: Event): string | undefined {
    if (type !== 'call') return undefined
    const kind = `${subject} ${what} ${state}`
    const count = (this.counts.get(kind) ?? 0) + 1
    this.counts.set(kind, count)
    return `${kind} ${count}`
  }
}

/** Of the run that is struck; those after it have all the time that they need. */
const options = `-v --confirm-timeout ${trialMs / 1000}s`
const mostRuns = 6

/** @returns all moments of a run that nobody disturbs, with what the hosts are like between them. */
export async function calibrate({ practice, known }: Surroundings, command: Command): Promise<string[]> {
  const moments = new Moments()
  const seen: string[] = []
  let looking: Promise<void> = Promise.resolve()
  const running = practice.start(`${command.words} -v`, {
    onEvent: (event) => {
      const moment = moments.of(event)
      if (moment) seen.push(moment)
      if (event.what !== 'Confirm' || event.state !== 'answered') return
      running.signal('SIGSTOP')
      looking = looking.then(async () => {
        for (const host of hosts) await remember(practice, known, host)
        running.signal('SIGCONT')
      })
    },
  })
  const ended = await running.ended
  await looking
  if (ended.code !== 0) throw new Error(`fleetmove ${command.words}: ${ended.code}\n${ended.stderr}${ended.stdout}`)
  for (const host of hosts) await remember(practice, known, host)
  return seen
}

/** What a host is while nothing is on trial there; a look during a change says nothing, and is thrown away. */
export async function remember(practice: Practice, known: Known, host: Host): Promise<void> {
  const before = ledgerOf(practice.lab, host)
  if (before?.trial) return
  const key = `${host} ${confirmedKey(before)}`
  if (known.has(key)) return
  const state = await kernelState(practice.lab, host)
  const after = ledgerOf(practice.lab, host)
  if (!after?.trial && after?.generation === before?.generation) known.set(key, state)
}

/** Runs the command, strikes it, runs it again until it is done, and judges what clients and hosts saw. */
export async function phase(around: Surroundings, command: Command, blow: Blow | undefined): Promise<void> {
  const { practice, report, label } = around
  const fault: Fault | undefined = blow && faults[blow.fault]
  const where = `${label} ${command.words}${blow ? `, ${blow.fault} on ${blow.host} at ${blow.moment}` : ''}`
  const violation = (text: string): void => report.violation(blow?.fault, `${where}: ${text}`)
  const loads = await startLoads(practice, command)
  const endLong = (): void => {
    for (const load of loads.values()) load.endLong()
  }
  const onEvent = ({ type, what }: Event): void => {
    if (type === 'begin' && String(what).startsWith('drain on ')) endLong()
  }
  const first = await strike(around, command, blow, onEvent, violation)
  if (blow && !first.struck) report.missed(blow.fault)
  // Nobody but the agents is there, and they reach each other: they bring it back before anybody is asked.
  if (blow && first.controllerDead) await awaitSomewhere(practice, violation, Date.now())
  let again = 0
  let last: Ended = first.ended
  // Nobody but `up` starts an agent again that has died when its work was done.
  const dead = blow?.fault === 'lose agent' && first.struck ? [blow.host] : []
  if (last.code === 0) await judge(around, command, dead, violation)
  while (last.code !== 0 || again === 0) {
    if (again === mostRuns) {
      violation(`not done after ${again} runs: ${last.code} ${told(last)}`)
      for (const host of hosts)
        report.note(`${host}: ${await practice.shell(host, 'tail -n 12 /var/lib/fleetmove/agent.log; true')}`)
      throw new Error('nothing more can be tried')
    }
    // A run that was done has nothing left to do, and says so.
    if (last.code !== 0) await heed(practice, last, first.controllerDead)
    last = await practice.run(command.words, { onEvent })
    again += 1
  }
  if (blow && first.struck) {
    report.struck(blow.fault, first.ended.code, again)
    report.moments.add(`${command.words} ${blow.moment}`)
  }
  if (command.goal.stage !== 'gone') await judge(around, command, command.words === 'up' ? [] : dead, violation)
  for (const host of hosts) await remember(practice, around.known, host)
  for (const [host, load] of loads) {
    const seen = complaints(await load.stop())
    if (mayComplain(fault, command, host, blow?.host)) continue
    for (const complaint of seen) violation(`clients of ${host}'s addresses: ${complaint}`)
  }
}

const told = ({ events, stderr }: Ended): string => {
  const errors = events.filter(({ type }) => type === 'error')
  return errors.length > 0
    ? errors.map(({ host, message }) => `${host ?? ''}: ${message}`).join('; ')
    : stderr.slice(-300)
}

async function startLoads(practice: Practice, { used }: Command): Promise<Map<Host, Load>> {
  const start = async (host: Host, client: string): Promise<[Host, Load]> => [
    host,
    await practice.load(client, { targets: [...addresses[host]], perSecond: 15, keepAlive: 1, downloads: 1 }),
  ]
  return new Map(await Promise.all(used.map((host, i) => start(host, i === 0 ? 'client1' : 'client2'))))
}

/** Connections that the fault itself touched may end; all others must not notice. */
function mayComplain(fault: Fault | undefined, { from, goal }: Command, target: Host, hit: Host | undefined): boolean {
  if (!fault || fault.harms === 'nobody') return false
  // Straight to the active host, all the time, and past the host that was hit.
  const straight = from === target && goal.active === target
  return !straight || (fault.harms === 'host' ? hit === target : false)
}

async function strike(
  { practice, random, known, report }: Surroundings,
  { words }: Command,
  blow: Blow | undefined,
  onEvent: (event: Event) => void,
  violation: (text: string) => void,
): Promise<{ ended: Ended; struck: boolean; controllerDead: boolean }> {
  const moments = new Moments()
  let heal: Promise<() => Promise<void>> | undefined
  const running = practice.start(`${words} ${options}`, {
    onEvent: (event) => {
      onEvent(event)
      if (!blow || heal || moments.of(event) !== blow.moment) return
      const compared = (how: 'equal' | 'different' | 'unknown'): void => {
        report.compared[how] += 1
      }
      heal = faults[blow.fault].strike({ practice, running, host: blow.host, random, known, violation, compared })
      heal.catch(() => {})
    },
  })
  const ended = await running.ended
  await (await heal)?.()
  return { ended, struck: heal !== undefined, controllerDead: ended.code > 128 }
}

/** Does what an operator would who reads what the run said. */
async function heed(practice: Practice, ended: Ended, controllerDead: boolean): Promise<void> {
  const hints = ended.events.filter(({ type }) => type === 'error').map(({ hint }) => String(hint ?? ''))
  const lock = hints.map((hint) => /fleetmove unlock ([0-9a-f]+)/.exec(hint)?.[1]).find(Boolean)
  if (ended.code === 4 && lock && controllerDead) await practice.run(`unlock ${lock}`)
  else if (hints.some((hint) => hint.includes('`fleetmove up`'))) await practice.run('up')
  else if (ended.code === 4) await new Promise((resolve) => setTimeout(resolve, 1000))
}

/** The goal is reached: where services are, and where clients are answered. */
async function judge(
  { practice }: Surroundings,
  { goal, used }: Command,
  mayLack: readonly Host[],
  violation: (text: string) => void,
): Promise<void> {
  const { active, stage } = goal
  const other = active === 'old1' ? 'new1' : 'old1'
  const queues = hosts.filter((host) => runs(practice.lab, host, queuePid))
  if (queues.length !== 1 || queues[0] !== active)
    violation(`the queue runs on ${queues.join(' and ') || 'no host'} in place of ${active}`)
  if (!runs(practice.lab, active, '/run/nginx.pid')) violation(`nginx doesn't run on ${active}`)
  if (stage !== 'gone') {
    const { events, code } = await practice.run('status')
    const found = events[0] as unknown as {
      services?: { stage: string; active: string }[]
      drift?: unknown[]
      absent?: string[]
    }
    const wrong = found?.services?.some((service) => service.stage !== stage || service.active !== active) ?? true
    const absent = (found.absent ?? []).filter((host) => !mayLack.includes(host as Host))
    if (code !== 0 || wrong || found.drift?.length || absent.length > 0)
      violation(`status after success: ${code} ${JSON.stringify(found)}`)
    if (runs(practice.lab, other, '/run/nginx.pid')) {
      const peers = 'ps -o etimes=,args= -C nginx; ss -Htn sport = :80 | head -5; echo from; ss -Htnp dport = :80'
      const said = await Promise.all([other, 'controller'].map((host) => practice.shell(host, `${peers}; true`)))
      // Stopped, and still waiting for connections whose ends got lost in a cut: their next attempt may be a minute away.
      if (!said[0]!.includes('is shutting down'))
        violation(`nginx still runs on ${other}: ${said.join(' controller: ').replace(/\s+/g, ' ')}`)
    }
  }
  const calls = (stage === 'gone' ? [active] : used.length === 2 ? used : hosts).flatMap((host) =>
    addresses[host].map((address) => ({ protocol: 'tcp' as const, address, port: queuePort, timeoutMs: 8000 })),
  )
  for (const [i, answer] of (await practice.ask('client1', calls)).entries()) {
    const client = calls[i]!.address.includes(':') ? '2001:db8:c::11' : '198.18.0.11'
    if (answer.host !== active || answer.source !== client)
      violation(`the queue by ${calls[i]!.address}: ${JSON.stringify(answer)}`)
  }
}
