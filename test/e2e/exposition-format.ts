/**
 * A strict reader of Prometheus's text format 0.0.4, by its documentation ("Exposition formats"): stricter than
 * Prometheus itself, which forgives e.g. a family without TYPE.
 */

export interface Family {
  type: 'counter' | 'gauge'
  help: string
  samples: Sample[]
}

export interface Sample {
  /** Sorted by name. */
  labels: Readonly<Record<string, string>>
  value: number
}

const metricName = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const helpLine = new RegExp(`^# HELP (${metricName}) ((?:[^\\\\]|\\\\\\\\|\\\\n)+)$`)
const typeLine = new RegExp(`^# TYPE (${metricName}) (counter|gauge)$`)
const sampleLine = new RegExp(`^(${metricName})(?:\\{(.*)\\})? (\\S+)(?: (-?\\d+))?$`)
/** No name of a label begins with two underscores: those are Prometheus's own. */
const label = /^(?!__)([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)/
const number = /^(NaN|[+-]?Inf|[+-]?\d+(\.\d+)?([eE][+-]?\d+)?)$/

/** @throws at the first line that is not as it must be */
export function parseExposition(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line has no end')
  const families = new Map<string, Family>()
  const series = new Set<string>()
  let current = ''
  let help: [string, string] | undefined
  for (const line of text.slice(0, -1).split('\n')) {
    const refuse = (why: string): never => {
      throw new Error(`${why}: ${line}`)
    }
    if (line.startsWith('#') && !/^#\s+(HELP|TYPE)\b/.test(line)) continue
    if (line.startsWith('# HELP')) {
      const [, name = '', words = ''] = helpLine.exec(line) ?? refuse('no HELP')
      if (help) refuse(`${help[0]} has a HELP and no TYPE`)
      if (families.has(name)) refuse('told of twice')
      help = [name, words]
      continue
    }
    if (line.startsWith('# TYPE')) {
      const [, name = '', type] = typeLine.exec(line) ?? refuse('no TYPE')
      if (help?.[0] !== name) refuse('its HELP does not stand before it')
      families.set(name, { type: type as Family['type'], help: help![1], samples: [] })
      help = undefined
      current = name
      continue
    }
    const [, name = '', inside = '', value = ''] = sampleLine.exec(line) ?? refuse('no sample')
    // All of a family stand together, below its TYPE.
    if (help || name !== current) refuse(`not below its own TYPE but ${current}'s`)
    if (!number.test(value)) refuse('no number')
    const labels = parseLabels(inside, refuse)
    const key = `${name} ${JSON.stringify(labels)}`
    if (series.has(key)) refuse('the same series twice')
    series.add(key)
    const family = families.get(name)!
    if (family.type === 'counter' && !(Number(value) >= 0)) refuse('a counter below 0')
    family.samples.push({ labels, value: Number(value) })
  }
  if (help) throw new Error(`${help[0]} has a HELP and no TYPE`)
  for (const [name, { samples }] of families) if (samples.length === 0) throw new Error(`${name} has no sample`)
  return families
}

function parseLabels(text: string, refuse: (why: string) => never): Record<string, string> {
  const labels: [string, string][] = []
  for (let rest = text; rest !== ''; ) {
    const [whole = '', name = '', value = ''] = label.exec(rest) ?? refuse('no label')
    if (labels.some(([known]) => known === name)) refuse('the same label twice')
    labels.push([name, value])
    rest = rest.slice(whole.length)
  }
  return Object.fromEntries(labels.sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The sum of all series of a family that have these labels; undefined where there is none. */
export function sumOf(
  families: ReadonlyMap<string, Family>,
  name: string,
  wanted: Readonly<Record<string, string>> = {},
): number | undefined {
  const found = families
    .get(name)
    ?.samples.filter(({ labels }) => Object.entries(wanted).every(([key, value]) => labels[key] === value))
  return found?.length ? found.reduce((sum, { value }) => sum + value, 0) : undefined
}

/** Counters that have fallen, or gone. */
export function fallen(before: ReadonlyMap<string, Family>, now: ReadonlyMap<string, Family>): string[] {
  return [...before].flatMap(([name, { type, samples }]) =>
    type !== 'counter'
      ? []
      : samples.flatMap(({ labels, value }) => {
          const then = now
            .get(name)
            ?.samples.find((sample) => JSON.stringify(sample.labels) === JSON.stringify(labels))?.value
          return then === undefined || then < value ? [`${name} ${JSON.stringify(labels)}: ${value}, then ${then}`] : []
        }),
  )
}
