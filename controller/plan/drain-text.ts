/** Who is still connected where nobody new comes. Pure. */

/** As an agent tells of it. */
export interface Remaining {
  /** The most connections first. */
  clients: readonly { client: string; connections: number }[]
  oldest?: OldestConnection | undefined
}

export interface OldestConnection {
  client: string
  ageMs: number
  /** False: it is at least that old. */
  exact: boolean
}

const mostNamed = 3

/** e.g. `198.18.0.11 (9), 198.18.0.12 (3); the oldest, of 198.18.0.12, stands for at least 2m5s` */
export function drainText({ clients, oldest }: Remaining): string {
  const named = clients.slice(0, mostNamed).map(({ client, connections }) => `${client} (${connections})`)
  const more = clients.length > mostNamed ? ', …' : ''
  const age = oldest ? `; the oldest, of ${oldest.client}, stands for ${ageText(oldest)}` : ''
  return `${named.join(', ')}${more}${age}`
}

/** e.g. `2m5s`, `at least 2m5s` */
export const ageText = ({ ageMs, exact }: Pick<OldestConnection, 'ageMs' | 'exact'>): string =>
  `${exact ? '' : 'at least '}${lasting(ageMs)}`

/** Two units at most: `12s`, `2m5s`, `3h20m`, `2d4h`. */
function lasting(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  const units: [number, string][] = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'm'],
    [1, 's'],
  ]
  const first = Math.max(
    0,
    units.findIndex(([size]) => seconds >= size),
  )
  if (seconds < 60) return `${seconds}s`
  const [size, unit] = units[first]!
  const [next, nextUnit] = units[first + 1]!
  const rest = Math.floor((seconds % size) / next)
  return `${Math.floor(seconds / size)}${unit}${rest > 0 ? `${rest}${nextUnit}` : ''}`
}
