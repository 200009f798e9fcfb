/** What options may hold: each returns the value, or says what is needed. */
import { InvalidArgumentError } from 'commander'

/** A whole number within these bounds, which an error names. */
export function numberFrom(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    if (value >= least && value <= most) return value
    throw new InvalidArgumentError(`A whole number from ${least} to ${most} is needed`)
  }
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

const msOf = (text: string): number => {
  const [, digits, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? []
  return unit === undefined ? Number.NaN : Number(digits) * units[unit]!
}

/** A time such as `500ms` or `10m`, in ms, within these bounds, which an error names. */
export function timeFrom(least: string, most: string): (text: string) => number {
  return (text) => {
    const value = msOf(text)
    if (value >= msOf(least) && value <= msOf(most)) return value
    throw new InvalidArgumentError(`A time from ${least} to ${most} is needed, such as 500ms, 30s, 10m or 1h`)
  }
}
