/** What the agent and the process that holds say to each other: one JSON document a line, by its stdin and stdout. */
import type { HoldCounts, HoldLimits } from './waiting-room.js'

/** The only argument of the verb `hold`, as JSON. */
export interface HolderTask extends HoldLimits {
  queue: number
}

/** `begin`: packets come from now on, and are released after so many ms in any case; `release`: let all go, in order and paced; `close`: let the last go, and end. */
export type HolderCommand = { begin: number } | 'counts' | 'release' | 'close'

export type HolderEvent =
  /** It listens to the queue. */
  | { type: 'ready' }
  | { type: 'counts'; counts: HoldCounts }
  /** Nobody waits any more, and whoever comes goes on at once. */
  | { type: 'empty'; why: 'asked' | 'expired' }
  | { type: 'closed'; counts: HoldCounts }

export const encodeLine = (value: HolderCommand | HolderEvent): string => `${JSON.stringify(value)}\n`

/** Calls `each` for every whole line of a stream of text. */
export function readLines<T>(stream: NodeJS.ReadableStream, each: (value: T) => void): void {
  let rest = ''
  stream.setEncoding('utf8')
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()!
    for (const line of lines) each(JSON.parse(line) as T)
  })
}
