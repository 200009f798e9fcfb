/**
 * Elements of sets and maps whose keys are the listeners that opening packets are for: as nft writes them
 * (nft(8), "ELEMENTS"), and as what is to become of them. Pure.
 */

/** One element; by its key and its set alone where it is to be taken out. */
export interface Element {
  /** Of the family inet. */
  table: string
  set: string
  /** `address . protocol . port`, or `protocol . port`, in canonical text. */
  key: string
  /** Of a verdict map: the chain to which it sends. */
  goto?: string
  /** The kernel takes it out by itself, in ms. */
  timeoutMs?: number
}

/** All or none of it. What is added may be there already; what is removed must be. */
export interface ElementChange {
  add: readonly Element[]
  remove: readonly Element[]
}

/** The parts of a key. */
export const partsOf = (key: string): string[] => key.split(' . ')

/** One command of 65,535 ports would be a line of megabytes. */
const batch = 1000

/** As commands for `nft -f`; '' for no change. */
export function elementsText({ add, remove }: ElementChange): string {
  return [...commands('add', add), ...commands('delete', remove)].map((command) => `${command}\n`).join('')
}

function commands(verb: 'add' | 'delete', elements: readonly Element[]): string[] {
  const sets = new Map<string, string[]>()
  for (const { table, set, key, goto, timeoutMs } of elements) {
    const name = `inet ${table} ${set}`
    const words = `${key}${timeoutMs === undefined ? '' : ` timeout ${Math.ceil(timeoutMs)}ms`}${goto === undefined ? '' : ` : goto ${goto}`}`
    const known = sets.get(name)
    if (known) known.push(words)
    else sets.set(name, [words])
  }
  return [...sets].flatMap(([name, list]) =>
    Array.from(
      { length: Math.ceil(list.length / batch) },
      (_, i) => `${verb} element ${name} { ${list.slice(i * batch, (i + 1) * batch).join(', ')} }`,
    ),
  )
}
