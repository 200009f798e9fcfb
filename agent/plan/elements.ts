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

/** The parts of a key. */
export const partsOf = (key: string): string[] => key.split(' . ')

/** One command of 65,535 ports would be a line of megabytes. */
const batch = 1000

/** As commands for `nft -f`; '' for no change. */
export function elementsText({ remove, add }: ElementChange): string {
  return [...commands('delete', remove), ...commands('add', add)].map((command) => `${command}\n`).join('')
}

function commands(verb: 'add' | 'delete', elements: readonly Element[]): string[] {
  const sets = new Map<string, string[]>()
  for (const { table, set, key, verdict, timeoutMs } of elements) {
    const name = `inet ${table} ${set}`
    const timeout = timeoutMs === undefined ? '' : ` timeout ${Math.ceil(timeoutMs)}ms`
    const words = `${key}${timeout}${verdict === undefined ? '' : ` : ${verdict}`}`
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
