/** Sets of our table whose elements switch rules on and off (agent/plan/unreachable.ts). */
import { FleetmoveError } from '../../proto/model/error.js'
import { paths, table } from '../plan/own.js'
import { loadText } from './nft.js'

/** Set again before it is over; an agent that dies leaves nothing switched on. */
export const switchedForMs = 30_000

/**
 * Puts these elements in, and takes all others out, in one transaction.
 * @returns false where there is no such set: no table of ours, or somebody has just taken it away
 */
export async function switchSet(set: string, elements: readonly string[]): Promise<boolean> {
  const list = elements.map((element) => `${element} timeout ${switchedForMs / 1000}s`).join(', ')
  const adding = elements.length === 0 ? '' : `add element inet ${table} ${set} { ${list} }\n`
  try {
    await loadText(paths.run, `flush set inet ${table} ${set}\n${adding}`)
    return true
  } catch (error) {
    if (error instanceof FleetmoveError && /No such file or directory/.test(error.message)) return false
    throw error
  }
}
