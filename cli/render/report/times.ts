/** Times and spans for people; all in UTC, which the page says once. */

const iso = (ms: number): string => new Date(ms).toISOString()

/** 2026-11-21 12:00:03 */
export const moment = (ms: number): string => iso(ms).slice(0, 19).replace('T', ' ')
/** 12:00:03 */
export const clock = (ms: number): string => iso(ms).slice(11, 19)
/** 12:00 */
const clockShort = (ms: number): string => iso(ms).slice(11, 16)
const dayOf = (ms: number): string => `${iso(ms).slice(8, 10)} ${months[Number(iso(ms).slice(5, 7)) - 1]}`
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** 43 ms, 5.4 s, 3 min 20 s, 2 h 5 min, 3 d 4 h */
export function span(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${(ms / 1000).toFixed(1)} s`
  const two = (big: number, unit: string, small: number, smallUnit: string): string =>
    small > 0 ? `${big} ${unit} ${small} ${smallUnit}` : `${big} ${unit}`
  if (seconds < 3600) return two(Math.floor(seconds / 60), 'min', seconds % 60, 's')
  if (seconds < 86_400) return two(Math.floor(seconds / 3600), 'h', Math.floor((seconds % 3600) / 60), 'min')
  return two(Math.floor(seconds / 86_400), 'd', Math.floor((seconds % 86_400) / 3600), 'h')
}

const [second, minute, hour, day] = [1000, 60_000, 3_600_000, 86_400_000]
const steps = [
  ...[1, 2, 5, 10, 15, 30].map((n) => n * second),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * minute),
  ...[1, 2, 3, 6, 12].map((n) => n * hour),
  ...[1, 2, 7, 14, 30].map((n) => n * day),
]

/** Round moments within a time, for an axis, with what stands at them. */
export function ticks(from: number, to: number, most: number): { at: number; label: string }[] {
  const step = steps.find((each) => (to - from) / each <= most) ?? Math.ceil((to - from) / most / day) * day
  const first = Math.ceil(from / step) * step
  const all: { at: number; label: string }[] = []
  for (let at = first; at <= to; at += step) {
    const label = step < minute ? clock(at) : step < day ? (at % day === 0 ? dayOf(at) : clockShort(at)) : dayOf(at)
    all.push({ at, label })
  }
  return all
}

/** 1,234,567 */
export const number = (value: number): string => Math.round(value).toLocaleString('en-US')
