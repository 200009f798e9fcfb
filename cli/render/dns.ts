import type { Decay, DnsReport, RecordReport, ServiceArrivals } from '../../controller/dns.js'
import type { Estimate } from '../../controller/plan/decay.js'
import type { Side } from '../../controller/plan/dns-verdict.js'
import type { StragglerCause } from '../../controller/plan/straggler-cause.js'
import { type Style, styleFor } from './style.js'
import { table } from './table.js'

/** More scroll away; --json has all. */
const mostStragglers = 15

const causes: Record<StragglerCause, string> = {
  cached: 'its cached answer may still be valid',
  'mail-exchanger': 'a mail exchanger: they ask seldom',
  monitor: 'a monitor: tell its owner',
  'literal-address': 'knows the address by heart: a configuration somewhere',
  'ttl-ignored': 'its resolver ignores the time to live, or it knows the address by heart',
  unknown: 'unknown: the record has not changed',
}

export function dnsText(report: DnsReport): string {
  const style = styleFor(process.stdout)
  const records =
    report.records.length === 0
      ? ['No names: in fleet.yaml, so no name server was asked.\n']
      : report.records.map((record) => recordText(record, style))
  const arrivals = report.arrivals.map((each) => arrivalsText(each))
  const unasked = report.unasked === null ? [] : [`\nWho arrives isn't known: ${report.unasked}\n`]
  return [...records, ...arrivals, ...unasked].join('')
}

function recordText(record: RecordReport, style: Style): string {
  const alias = record.owner === record.name ? '' : ` (${record.owner})`
  const rows = [
    ...record.servers.map((each) => ['zone', each] as const),
    ...record.resolvers.map((each) => [each.name, each] as const),
  ].map(([what, { name, ip, answer, side }]) => [
    `  ${what}`,
    what === 'zone' ? `${name} (${ip})` : ip,
    answer.kind === 'addresses' ? answer.addresses.join(', ') : answer.kind === 'none' ? '-' : answer.reason,
    answer.kind === 'addresses' ? `${answer.ttlSeconds} s` : '',
    side,
  ])
  const text = table(rows).replace(/ (old|new|mixed|other|failed)$/gm, (_, side: Side) => ` ${coloured(side, style)}`)
  return `${style('bold', record.name)}${alias} ${record.type}: ${record.changes.map((c) => `${c.old} → ${c.new}`).join(', ')}\n${text}  ${cacheText(record)}\n`
}

const coloured = (side: Side, style: Style): string =>
  side === 'new' ? style('green', side) : side === 'failed' ? style('red', side) : style('yellow', side)

function cacheText({ side, ttlSeconds, cachesGoneAt, resolvers }: RecordReport): string {
  if (side === 'old') return `the old address is given; whoever asks now keeps it for up to ${ttlSeconds} s`
  if (side === 'mixed') return 'both addresses are given'
  if (side !== 'new') return 'neither the old address nor the new one is given'
  const late = resolvers.filter((each) => each.side === 'old' || each.side === 'mixed').length
  const still =
    late === 0
      ? 'none of these resolvers has the old one'
      : `${late} of ${resolvers.length} resolvers still give the old one`
  if (cachesGoneAt === null) return `the new address is given, it isn't known since when; ${still}`
  const gone = Date.parse(cachesGoneAt) <= Date.now()
  const when = `${cachesGoneAt.slice(0, 19)}Z`
  return `the new address is given; ${gone ? `caches that obey have been without the old one since ${when}` : `the last cache that obeys drops the old one at ${when}`}; ${still}`
}

function arrivalsText({ service, stage, viaOld, viaNew, stragglers, stragglersTotal, decay }: ServiceArrivals): string {
  const total = viaOld + viaNew
  const share = total === 0 ? '' : `, ${((100 * viaOld) / total).toFixed(1)} % by the old address`
  const head = `\n${service} (${stage}): ${viaOld} connections by the old address, ${viaNew} by the new one since up${share}\n`
  const told = `${head}${decayText(decay)}`
  if (stragglers.length === 0) return told
  const rows = stragglers
    .slice(0, mostStragglers)
    .map(({ client, names, port, count, lastSeen, cause }) => [
      `  ${client}`,
      names[0] ?? '-',
      String(port),
      String(count),
      `${lastSeen.slice(0, 19)}Z`,
      causes[cause],
    ])
  const more = stragglersTotal > rows.length ? `  and ${stragglersTotal - rows.length} more\n` : ''
  return `${told}${table([['  CLIENT', 'NAME', 'PORT', 'COUNT', 'LAST SEEN', 'LIKELY'], ...rows])}${more}`
}

const bars = '▁▂▃▄▅▆▇█'

function decayText({ curve, moved99, moved999 }: Decay): string {
  if (curve.length === 0) return ''
  const line = curve.map(({ share }) => bars[Math.min(7, Math.floor(share * 8))]).join('')
  const [first, last] = [curve[0]!, curve.at(-1)!]
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
  return `  by the old address ${percent(first.share)} ${line} ${percent(last.share)}, since ${minute(first.at)}
  99 % by the new one: ${estimateText(moved99)}; 99.9 %: ${estimateText(moved999)}
`
}

const minute = (at: string | number): string => `${new Date(at).toISOString().slice(0, 16)}Z`

function estimateText(estimate: Estimate): string {
  if (estimate.kind === 'reached') return `since ${minute(estimate.atMs)}`
  if (estimate.kind === 'not-falling') return 'not to be expected: the share is not falling'
  if (estimate.kind === 'too-little') return `can't be said (${estimate.why})`
  const { fromMs, atMs, toMs } = estimate
  return `about ${minute(atMs)} (${minute(fromMs)} to ${toMs === null ? 'much later' : minute(toMs)})`
}
