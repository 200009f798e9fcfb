/** One group of listeners → a service as it could stand in fleet.yaml. */
import { type Family, familyOf, type Ip } from '../../../proto/model/address.js'
import type { DraftAddress, DraftEnd, DraftListener, DraftPair, DraftService, Remark } from './draft.js'
import { doubt, remark } from './draft.js'
import { type Lifecycle, lifecycleOf } from './draft-lifecycle.js'
import type { Group } from './group-listeners.js'
import { knownProgram } from './known-programs.js'
import type { Survey, SurveyListener } from './survey.js'

/** @returns undefined where the hosts share no address by which it is reached. */
export function draftService(group: Group, pair: DraftPair, name: string): DraftService | undefined {
  const addresses = addressesOf(group, pair)
  if (addresses === undefined) return undefined
  const lifecycle = lifecycleOf(group, pair.old)
  const known = group.process && knownProgram(group.process)
  const listen = collapse(group.listeners, known?.ftp === true)
  const used = flowsOf(group, pair.old.survey)
  const localhost = used.local > 0 && group.listeners.some(({ bound }) => bound === '4' || bound === 'both')
  return {
    name,
    from: pair.old.name,
    to: pair.new.name,
    listen,
    addresses: addresses.mapped,
    strategy: lifecycle.strategy,
    unit: lifecycle.unit,
    container: lifecycle.container,
    run: lifecycle.run,
    data: lifecycle.data,
    localhost,
    remarks: [
      remark(introduce(group)),
      remark(used.text),
      ...lifecycle.remarks,
      ...(known?.check ? [doubt(known.check)] : []),
      ...addresses.remarks,
      ...(localhost
        ? [doubt('programs of the old host use it too: those that say 127.0.0.1 are sent along', 'localhost')]
        : []),
      ...presenceRemarks(group, lifecycle, pair),
    ],
  }
}

function introduce({ process, unit, containers }: Group): string {
  if (containers.length > 0) return containers.map(({ name, image }) => `container ${name} of ${image}`).join(', ')
  if (process === undefined) return `systemd listens for ${unit}, and starts it when somebody asks`
  const where = process.program || process.name
  return `${where}${unit ? `, unit ${unit}` : ''}${process.user ? `, as ${process.user}` : ''}`
}

function flowsOf({ listeners, containers }: Group, { flows }: Survey): { text: string; local: number } {
  const tcp = [...new Set(listeners.filter(({ protocol }) => protocol === 'tcp').map(({ port }) => port))]
  const inside = containers.flatMap((each) =>
    each.published.flatMap((port) =>
      port.protocol === 'tcp'
        ? each.flows.filter((flow) => flow.port === port.inside).map((flow) => ({ ...flow, port: port.port, local: 0 }))
        : [],
    ),
  )
  // Docker's proxy holds a second connection for each of a container's.
  const all = (containers.length > 0 ? oneAPort(inside) : flows).filter(
    ({ port, connections }) => connections > 0 && tcp.includes(port),
  )
  const local = all.reduce((sum, flow) => sum + flow.local, 0)
  if (all.length === 0)
    return { text: tcp.length > 0 ? 'no connections at the moment' : 'UDP: who uses it was not counted', local }
  const each = all.map(
    ({ port, connections, clients }) =>
      `${connections} ${connections === 1 ? 'connection' : 'connections'} of ${clients} ${clients === 1 ? 'client' : 'clients'} at tcp/${port}`,
  )
  return { text: `now: ${each.join(', ')}`, local }
}

/** A port that is published in both families is told once. */
const oneAPort = <T extends { port: number }>(flows: readonly T[]): T[] => [
  ...new Map(flows.map((flow) => [flow.port, flow])).values(),
]

/** Sorted, each once; three or more in a row are a range. */
function collapse(listeners: readonly SurveyListener[], ftp: boolean): DraftListener[] {
  const result: DraftListener[] = []
  for (const protocol of ['tcp', 'udp'] as const) {
    const ports = [...new Set(listeners.filter((one) => one.protocol === protocol).map(({ port }) => port))]
    const rows: number[][] = []
    for (const port of ports.sort((a, b) => a - b)) {
      if (rows.at(-1)?.at(-1) === port - 1) rows.at(-1)!.push(port)
      else rows.push([port])
    }
    for (const row of rows) {
      const pieces = row.length > 2 ? [row] : row.map((port) => [port])
      for (const piece of pieces) {
        const [from, to] = [piece[0]!, piece.at(-1)!]
        result.push({
          protocol,
          from,
          to,
          helper: ftp && protocol === 'tcp' && from === 21 && to === 21 ? 'ftp' : undefined,
        })
      }
    }
  }
  return result
}

/** The pairs by which it is reached, where those are not simply all of them. */
function addressesOf(
  { listeners }: Group,
  { old, new: after }: DraftPair,
): { mapped: { old: Ip; new: Ip }[] | undefined; remarks: Remark[] } | undefined {
  const pairs = ([4, 6] as const).flatMap((family) => {
    const of = (end: DraftEnd) => end.addresses.filter((address) => familyOf(address.public) === family)
    return of(old).map((address, i) => ({ old: address, new: of(after)[i], family }))
  })
  const reached = ({ old: { public: open, local }, family }: { old: DraftAddress; family: Family }): boolean =>
    listeners.some(({ bound }) => bound === 'both' || bound === String(family) || bound === open || bound === local)
  const wanted = pairs.filter(reached)
  const possible = wanted.flatMap((pair) => (pair.new === undefined ? [] : [{ ...pair, new: pair.new }]))
  if (possible.length === 0) return undefined
  const remarks = wanted
    .filter((pair) => pair.new === undefined)
    .map(({ old: { public: open } }) =>
      doubt(`${open} has no counterpart on ${after.name}: who uses it stays with ${old.name}`, 'addresses'),
    )
  const bound = [...new Set(listeners.map((one) => one.bound).filter((one) => /[.:]/.test(one)))]
  if (bound.length > 0)
    remarks.push(doubt(`it listens at ${bound.join(', ')}: on ${after.name} at the address there`, 'addresses'))
  const whole = pairs.filter((pair) => pair.new !== undefined).length === possible.length
  const mapped = possible.map((pair) => ({ old: pair.old.public, new: pair.new.public }))
  // Also where something is to be said about them.
  return { mapped: whole && remarks.length === 0 ? undefined : mapped, remarks }
}

/** What the new host has of it already, and what stands in the way there. */
function presenceRemarks(
  { listeners, process, containers }: Group,
  { unit, data, strategy }: Lifecycle,
  { new: after, presence }: DraftPair,
): Remark[] {
  const remarks: Remark[] = []
  if (process?.program && containers.length === 0 && !presence.programs.has(process.program))
    remarks.push(doubt(`${process.program} is not on ${after.name}: install it there`))
  if (unit !== undefined && !presence.units.has(unit))
    remarks.push(doubt(`${after.name} has no ${unit}`, after.systemd ? 'unit' : undefined))
  for (const { name } of containers)
    if (!presence.containers.has(name))
      remarks.push(doubt(`${after.name} has no container ${name}: create it there, stopped`))
  const ports = new Set(listeners.map(({ protocol, port }) => `${protocol}/${port}`))
  const taken = after.survey.listeners.filter(
    ({ protocol, port, bound }) => ports.has(`${protocol}/${port}`) && !/^127\.|^::1$/.test(bound),
  )
  const takers = new Map(
    taken.map(({ protocol, port, pids }) => {
      const taker = pids.map((pid) => after.survey.processes.get(pid)?.name).find(Boolean)
      return [`${protocol}/${port}`, taker ?? 'somebody']
    }),
  )
  for (const [port, taker] of takers) {
    if (process !== undefined && taker === process.name)
      remarks.push(
        strategy === 'recreate'
          ? doubt(
              `${taker} runs on ${after.name} already: it must not run twice; stop and disable it there`,
              'strategy',
            )
          : remark(`${taker} runs on ${after.name} already, at ${port}`),
      )
    else remarks.push(doubt(`${port} is taken on ${after.name} by ${taker}`, 'listen'))
  }
  for (const directory of data)
    if (presence.full.has(directory))
      remarks.push(
        doubt(`${directory} is not empty on ${after.name}: advance replaces it with --overwrite-data only`, 'data'),
      )
  return remarks
}
