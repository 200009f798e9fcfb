/** A whole move, back and forth, in which any command may be struck; then the hosts as they were found. */
import type { Practice } from '../e2e/practice.js'
import { type FaultName, faults, type Host, hosts, type Known } from './faults.js'
import { queuePid, startQueue } from './fleet.js'
import { type Blow, type CommandName, calibrate, commands, phase, remember, type Surroundings } from './phase.js'
import { Random } from './random.js'
import type { Report } from './report.js'
import { Watch } from './watch.js'

export interface Torment {
  practice: Practice
  report: Report
  known: Known
  /** By command, in a fixed order. */
  moments: Map<CommandName, string[]>
}

/** Runs each command once without a blow, and notes its moments. */
export async function prepare(practice: Practice, report: Report): Promise<Torment> {
  const torment: Torment = { practice, report, known: new Map(), moments: new Map() }
  const around: Surroundings = { ...torment, random: new Random(''), label: 'calibration' }
  for (const host of hosts) await remember(practice, torment.known, host)
  const note = async (...names: CommandName[]): Promise<void> => {
    for (const name of names) {
      const seen = await calibrate(around, commands[name])
      torment.moments.set(name, [...new Set([...(torment.moments.get(name) ?? []), ...seen])].sort())
    }
  }
  await note('up', 'advance', 'rollback', 'down from forwarding', 'up', 'advance', 'down from moved')
  await note('up', 'advance', 'finalize')
  await reset(practice)
  return torment
}

/** The operator's own doing: services as they were before the move that was finished. */
async function reset(practice: Practice): Promise<void> {
  await practice.reset()
  await practice.shell('new1', `[ ! -e ${queuePid} ] || kill $(cat ${queuePid}); rm -f ${queuePid}`)
  await practice.shell('old1', startQueue)
}

/** The way of a round: each ends as it began. */
const ways: readonly (readonly CommandName[])[] = [
  ['up', 'advance', 'finalize'],
  ['up', 'down from forwarding'],
  ['up', 'advance', 'rollback', 'down from forwarding'],
  ['up', 'advance', 'down from moved'],
]

export interface RoundOptions {
  seed: string
  number: number
  faults: readonly FaultName[]
  only: readonly CommandName[]
}

/** @throws when a command can't be brought to its goal: then the practice network is of no use any more. */
export async function round(torment: Torment, { seed, number, faults: allowed, only }: RoundOptions): Promise<void> {
  const random = new Random(`${seed}/${number}`)
  const fitting = ways.filter((way) => only.some((name) => way.includes(name)))
  const blows = random.pick(fitting).map((name): [CommandName, Blow | undefined] => {
    const blow: Blow = {
      fault: random.pick(allowed),
      moment: random.pick(torment.moments.get(name)!),
      host: random.pick(hosts),
    }
    return [name, only.includes(name) ? blow : undefined]
  })
  await walk(torment, random, `seed ${seed} round ${number}:`, blows)
}

export async function walk(
  { practice, report, known }: Torment,
  random: Random,
  label: string,
  blows: readonly (readonly [CommandName, Blow | undefined])[],
): Promise<void> {
  const around: Surroundings = { practice, report, known, random, label }
  const watch = new Watch(practice.lab, () => report.violation(undefined, `${label} the queue runs on both hosts`))
  try {
    for (const [name, blow] of blows) await phase(around, commands[name], blow)
  } finally {
    watch.end()
    report.longestGapMs = Math.max(report.longestGapMs, watch.longestGapMs)
  }
  await reset(practice)
  const left = await practice.leftovers()
  if (left.length > 0)
    report.violation(blows.at(-1)?.[1]?.fault, `${label} left behind: ${left.slice(0, 8).join(' | ')}`)
  report.rounds += 1
}

/**
 * Every moment of every command, each once: one blow a round and command, by one fault after another.
 * @param options `from`: the number of the first round, for a run that goes on where another has ended
 * @returns each round's number
 */
export async function* everyMoment(
  torment: Torment,
  { faults: allowed, only, from }: { faults: readonly FaultName[]; only: readonly CommandName[]; from: number },
): AsyncGenerator<number> {
  let turn = 0
  let number = 0
  const blowFor = (name: CommandName, i: number): Blow | undefined => {
    const moment = torment.moments.get(name)?.[i]
    if (moment === undefined || !only.includes(name)) return undefined
    const fault = allowed[turn++ % allowed.length]!
    return { fault, moment, host: moment.split(' ')[0] as Host }
  }
  const most = Math.max(...only.map((name) => torment.moments.get(name)!.length))
  for (let i = 0; i < most; i++) {
    for (const way of [
      ['up', 'advance', 'rollback', 'down from forwarding'],
      ['up', 'advance', 'down from moved'],
      ['up', 'advance', 'finalize'],
    ] as CommandName[][]) {
      const [last] = way.slice(-1)
      // Only the first way strikes what all have in common.
      const blows = way.map(
        (name) => [name, name === last || way.includes('rollback') ? blowFor(name, i) : undefined] as const,
      )
      if (blows.every(([, blow]) => blow === undefined)) continue
      if (number >= from) {
        await walk(torment, new Random(`${i}`), `round ${number}, moment ${i}:`, blows)
        yield number
      }
      number += 1
    }
  }
}

export const allFaults = Object.keys(faults) as FaultName[]
