/**
 * What `npm test` leaves to FLEETMOVE_LONG=1, to be done in half an hour on two processors: variants of what other
 * tests show on the same path. Says what it passes over.
 */
export const isLong = Boolean(process.env.FLEETMOVE_LONG)

/** The cases that are tried now. @param what that is, for who reads the log */
export function shortened<T>(all: readonly T[], short: readonly T[], what: string): readonly T[] {
  if (isLong) return all
  if (short.length < all.length)
    console.warn(`Skipped: ${all.length - short.length} of ${all.length} ${what}; FLEETMOVE_LONG=1 tries them`)
  return short
}

/** `describe` or `test` where all is wanted, else its `skip`. */
export function whenLong<T extends { skip: unknown }>(run: T, what: string): T | T['skip'] {
  if (isLong) return run
  console.warn(`Skipped: ${what}; FLEETMOVE_LONG=1 tries it`)
  return run.skip
}
