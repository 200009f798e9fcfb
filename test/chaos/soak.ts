/** A long time under load, with one switch after another: nobody fails, and the agents don't grow. */
import { readdirSync, readFileSync } from 'node:fs'
import type { Lab } from '../../cli/lab/lab.js'
import { startPractice } from '../e2e/practice.js'
import { complaints, type TargetReport } from '../load/client-load.js'
import { type Host, hosts } from './faults.js'
import { addresses, fleet } from './fleet.js'
import { type Growth, type Sample, slope } from './slope.js'

export interface SoakOptions {
  minutes: number
  /** New connections a second, over all four addresses. */
  rate: number
  say(text: string): void
}

const switchEveryMs = 10_000
const sampleEveryMs = 5000
/** What is still warming up says nothing about the rest. */
const warmUpShare = 0.25
/** A heap that is collected now and then goes up and down by this much. */
const noiseMiB = 10

/** @returns the report, and what must not be */
export async function soak({ minutes, rate, say }: SoakOptions): Promise<{ text: string; violations: string[] }> {
  const practice = await startPractice(`soak-${process.pid}`)
  const stop = (): void => void practice.end().finally(() => process.exit(130))
  process.on('SIGINT', stop).on('SIGTERM', stop)
  const violations: string[] = []
  const codes: number[] = []
  const lasted: number[] = []
  const samples: Record<Host, Sample[]> = { old1: [], new1: [] }
  let reports: TargetReport[] = []
  try {
    await practice.fleet({ ...fleet, services: { web: fleet.services.web } })
    await practice.expect('up')
    const loads = await Promise.all(
      hosts.map((host, i) =>
        practice.load(i === 0 ? 'client1' : 'client2', {
          targets: [...addresses[host]],
          perSecond: rate / 4,
          seconds: minutes * 60 + 300,
        }),
      ),
    )
    const begun = Date.now()
    const sampling = setInterval(() => {
      for (const host of hosts) {
        const sample = look(practice.lab, host)
        if (sample) samples[host].push({ seconds: (Date.now() - begun) / 1000, ...sample })
        else violations.push(`${host}: the agent doesn't run`)
      }
    }, sampleEveryMs)
    try {
      while (Date.now() < begun + minutes * 60_000) {
        const due = Date.now() + switchEveryMs
        const words = codes.length % 2 === 0 ? 'advance web' : 'rollback web'
        const { code, ms, stderr } = await practice.run(words)
        codes.push(code)
        lasted.push(ms)
        if (code !== 0) violations.push(`${words} (${codes.length}): ${code}: ${stderr.slice(-300)}`)
        say(
          `switch ${codes.length}: ${(ms / 1000).toFixed(1)} s; ${hosts.map((host) => told(samples[host])).join('; ')}`,
        )
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - Date.now())))
      }
    } finally {
      clearInterval(sampling)
    }
    reports = (await Promise.all(loads.map((load) => load.stop()))).flat()
  } finally {
    await practice.end()
  }
  violations.push(...complaints(reports))
  const lines = hosts.map((host) => {
    const settled = samples[host].slice(Math.floor(samples[host].length * warmUpShare))
    const growth = slope(settled)
    const span = (settled.at(-1)?.seconds ?? 0) - (settled[0]?.seconds ?? 0)
    if (growth.rss * span > noiseMiB)
      violations.push(`${host}: the agent's memory grows by ${perHour(growth.rss)} MiB/h`)
    // Calls that are under way have some open: a leak has more with every switch.
    if (growth.descriptors * span > codes.length / 2)
      violations.push(`${host}: the agent's descriptors grow by ${perHour(growth.descriptors)}/h`)
    if (growth.processes * span > codes.length / 2)
      violations.push(`${host}: there are ${perHour(growth.processes)} processes more an hour`)
    return `${host}: ${told(samples[host])}; slope over the last ${span.toFixed(0)} s: ${perHour(growth.rss)} MiB/h, ${perHour(growth.descriptors)} descriptors/h, ${perHour(growth.processes)} processes/h`
  })
  const total = (pick: (report: TargetReport) => number): number => reports.reduce((sum, each) => sum + pick(each), 0)
  const sorted = [...lasted].sort((a, b) => a - b)
  const text = [
    `${codes.length} switches in ${minutes} minutes, each ${((sorted[Math.floor(sorted.length / 2)] ?? 0) / 1000).toFixed(1)} s by the median, ${((sorted.at(-1) ?? 0) / 1000).toFixed(1)} s at the longest`,
    `${total(({ connections }) => connections)} new connections (${(total(({ connections }) => connections) / (minutes * 60)).toFixed(0)} a second), failed ${total(({ failed }) => failed)}, not opened ${total(({ held }) => held)}, by a wrong source ${total(({ wrongSource }) => wrongSource)}`,
    `connect time p50 ${Math.max(...reports.map(({ p50 }) => p50))} ms, p99 ${Math.max(...reports.map(({ p99 }) => p99))} ms, longest ${Math.max(...reports.map(({ longest }) => longest))} ms (of the worst address each)`,
    ...lines,
    `${violations.length} violations`,
    ...violations.map((violation) => `  ${violation}`),
    '',
  ].join('\n')
  return { text, violations }
}

const perHour = (perSecond: number): string => (perSecond * 3600).toFixed(1)

function told(samples: readonly Sample[]): string {
  const [first, last] = [samples[0], samples.at(-1)]
  if (!first || !last) return 'no sample'
  const most = Math.max(...samples.map(({ rss }) => rss))
  return `${first.rss.toFixed(0)} → ${last.rss.toFixed(0)} MiB (most ${most.toFixed(0)}), ${first.descriptors} → ${last.descriptors} descriptors, ${first.processes} → ${last.processes} processes`
}

/** From outside: the agent's process as the host's own /proc tells it. */
function look(lab: Lab, host: Host): Growth | null {
  try {
    const root = `/proc/${lab.pid(host)}/root`
    const process = `${root}/proc/${readFileSync(`${root}/run/fleetmove/agent.pid`, 'utf8').trim()}`
    const rss = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`${process}/status`, 'utf8'))
    const processes = readdirSync(`${root}/proc`).filter((name) => /^\d+$/.test(name)).length
    return rss && { rss: Number(rss[1]) / 1024, descriptors: readdirSync(`${process}/fd`).length, processes }
  } catch {
    return null
  }
}
