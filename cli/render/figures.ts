/** Figures in as few characters as they can be told. */

const bars = '▁▂▃▄▅▆▇█'

/**
 * A bar for each of the last `length` values, the newest last; a space where nothing is known.
 * @param highest what the tallest bar stands for; with 0 all are low
 */
export function sparkLine(values: readonly (number | null)[], length: number, highest: number): string {
  const bar = (value: number | null | undefined): string => {
    if (value === null || value === undefined) return ' '
    // Whatever came shows: only nothing at all is the lowest bar.
    const level = value <= 0 || highest <= 0 ? 0 : Math.max(1, Math.ceil((value / highest) * (bars.length - 1)))
    return bars[Math.min(level, bars.length - 1)]!
  }
  return Array.from({ length }, (_, i) => bar(values[values.length - length + i])).join('')
}

/** 0, 0.3, 12, 1.2k, 34k: for what is counted by the second. */
export function rate(perSecond: number | null): string {
  if (perSecond === null) return '-'
  if (perSecond === 0) return '0'
  if (perSecond < 0.05) return '<0.1'
  if (perSecond < 9.95) return perSecond.toFixed(1)
  if (perSecond < 9950) return perSecond < 1000 ? perSecond.toFixed(0) : `${(perSecond / 1000).toFixed(1)}k`
  return `${(perSecond / 1000).toFixed(0)}k`
}

/** Neither 0 % nor 100 % is said of anything but none and all. */
export function percent(share: number | null): string {
  if (share === null) return '-'
  const value = share * 100
  if (value > 0 && value < 1) return '<1 %'
  if (value > 99 && value < 100) return '>99 %'
  return `${value.toFixed(0)} %`
}

export const milliseconds = (ms: number): string => (ms < 10 ? `${ms.toFixed(1)} ms` : `${ms.toFixed(0)} ms`)

/** 8s, 3m, 5h, 2d */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h`
  return `${Math.floor(seconds / 86_400)}d`
}

/** `3 services`, `1 service` */
export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`
