/**
 * Elements of sets and maps whose keys are the listeners that opening packets are for: as nft writes them
 * (nft(8), "ELEMENTS"), and as what is to become of them. Pure.
 */
import type { Ip } from '../../proto/model/address.js'
import type { Protocol } from '../../proto/model/host-spec.js'

/** One element; by its key and its set alone where it is to be taken out. */
export interface Element {
  /** Of the family inet. */
  table: string
  set: string
  /** `address . protocol . port`, or `protocol . port`, in canonical text. */
  key: string
  /** Of a verdict map: `drop`, `accept`, or `goto CHAIN`. */
  verdict?: string
  /** The kernel takes it out by itself, in ms. */
  timeoutMs?: number
}

/**
 * All or none of it. What is removed must be there, and goes first: so an element can take the place of another one
 * with its key. What is added may be there already in the same form.
 */
export interface ElementChange {
  remove: readonly Element[]
  add: readonly Element[]
}

/** The key of one port of a listener. */
export const listenerKey = (address: Ip, protocol: Protocol, port: number): string =>
  `${address} . ${protocol} . ${port}`
/** The parts of a key. */
export const partsOf = (key: string): string[] => key.split(' . ')

/** One command of 65,535 ports would be a line of megabytes. */
const batch = 1000

/** As commands for `nft -f`; '' for no change. */
export function elementsText({ remove, add }: ElementChange): string {
  return [...commands('delete', remove), ...commands('add', add)].map((command) => `${command}\n`).join('')
}

const commands = (verb: 'add' | 'delete', elements: readonly Element[]): string[] =>
  bySet(elements, batch).map(
    ({ table, set, elements: some }) => `${verb} element inet ${table} ${set} { ${some.map(words).join(', ')} }`,
  )

function words({ key, verdict, timeoutMs }: Element): string {
  const timeout = timeoutMs === undefined ? '' : ` timeout ${Math.ceil(timeoutMs)}ms`
  return `${key}${timeout}${verdict === undefined ? '' : ` : ${verdict}`}`
}

/** Those of each set together, in their order, at most so many at once. */
export function bySet(
  elements: readonly Element[],
  most: number,
): (Pick<Element, 'table' | 'set'> & { elements: Element[] })[] {
  const sets = new Map<string, Element[]>()
  for (const element of elements) {
    const name = `${element.table} ${element.set}`
    const known = sets.get(name)
    if (known) known.push(element)
    else sets.set(name, [element])
  }
  return [...sets.values()].flatMap((own) =>
    Array.from({ length: Math.ceil(own.length / most) }, (_, i) => ({
      table: own[0]!.table,
      set: own[0]!.set,
      elements: own.slice(i * most, (i + 1) * most),
    })),
  )
}
