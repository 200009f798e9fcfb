/** Times of a gap: of this boot, the same for every process, and not set like a clock. */
import { readFileSync } from 'node:fs'
import type { Gap } from './gap-state.js'

/** CLOCK_MONOTONIC (clock_gettime(2)), in milliseconds. */
const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000_000n)
const boot = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()

export const deadlineIn = (ms: number): Gap['deadline'] => ({ boot: boot(), atMs: monotonicMs() + ms })
/** Not above 0 when the time is over; after a boot it is. */
export const remainingMs = ({ deadline }: Pick<Gap, 'deadline'>): number =>
  deadline.boot === boot() ? deadline.atMs - monotonicMs() : 0
