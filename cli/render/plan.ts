/** A plan as text: what is there, what would be done in which order, and with -v every line that would change. */
import type {
  FleetPlan,
  PlannedHost,
  PlannedHostSteps,
  PlannedPath,
  PlannedPhase,
  PlannedService,
} from '../../controller/plan/fleet-plan.js'
import { lineDiff } from './line-diff.js'
import type { Style } from './style.js'
import { wrap } from './wrap.js'

export interface PlanLook {
  style: Style
  /** Columns; 80 at least. */
  width: number
  /** With every line of rulesets and files. */
  verbose: boolean
  /** The file that it is saved in. */
  saved: string | undefined
}

/** TIME_WAIT holds an entry for 120 s (nf_conntrack_tcp_timeout_time_wait): so many a second fill the table for good. */
const timeWaitSeconds = 120

export function planText(plan: FleetPlan, look: PlanLook): string {
  const say = sayer(look)
  return [
    say.head('Hosts'),
    ...plan.hosts.map((host) => hostText(host, say)),
    ...section(
      say,
      'Paths between them',
      plan.paths.map((path) => say.entry(`${path.a} ↔ ${path.b}`, [pathText(path)])),
    ),
    ...section(
      say,
      'Tunnels',
      plan.tunnels.map(({ a, b, index, port, mtu, why }) =>
        say.entry(`${a} ↔ ${b}`, [`tunnel ${index}, UDP port ${port}, MTU ${mtu}`, why]),
      ),
    ),
    ...section(
      say,
      'Services',
      plan.services.map((service) => serviceText(service, say)),
    ),
    ...plan.phases.map((phase, i) => phaseText(phase, i + 1, say, look)),
    verdict(plan, say, look.saved),
  ].join('')
}

/** A tool and its version stay in one line. */
const noBreak = '\u00a0'
const together = (texts: readonly string[]): string[] => texts.map((text) => text.replaceAll(' ', noBreak))

type Say = ReturnType<typeof sayer>

function sayer({ style, width }: PlanLook) {
  const pad = '    '
  const line = (text: string, indent: string): string =>
    `${wrap(text, width, indent, `${indent}  `).replaceAll(noBreak, ' ')}\n`
  return {
    head: (text: string): string => `${style('bold', text)}\n`,
    /** A name, and what there is to say of it below. */
    entry: (name: string, lines: readonly string[]): string =>
      [`  ${style('bold', name)}\n`, ...lines.map((text) => line(text, pad))].join(''),
    warn: (text: string): string => style('yellow', line(`! ${text}`, pad)),
    line,
    style,
  }
}

const section = (say: Say, title: string, entries: readonly string[]): string[] =>
  entries.length === 0 ? [] : [`\n${say.head(title)}`, ...entries]

function hostText(host: PlannedHost, say: Say): string {
  const tools = Object.entries(host.tools).map(([name, version]) => (version === '' ? name : `${name} ${version}`))
  const features = Object.entries(host.features).map(([name, value]) => `${name} ${value}`)
  const clock = `clock: ${clockText(host)}`
  const warnings = host.warnings.map((text) => say.warn(text)).join('')
  const lines = [
    `${host.os}, ${host.kernel}, ${host.systemd ? 'systemd' : 'no systemd'}`,
    `agent: ${agentText(host)}`,
    `tools: ${together(tools).join(', ')}`,
    `kernel: ${together(features).join(', ')}`,
    clock,
    `connection tracking: ${conntrackText(host)}`,
    `disk: ${Object.entries(host.diskKib)
      .map(([directory, kib]) => `${gigabytes(kib)} GB free in ${directory}`)
      .join(', ')}`,
    ...(host.firewalls.length > 0 ? [`firewalls: ${host.firewalls.join('; ')}`] : []),
  ]
  // Of a vantage only that matters on which an agent runs and what its reports say.
  if (host.vantage) return say.entry(`${host.name} (probes only)`, [lines[0]!, lines[1]!, clock]) + warnings
  return say.entry(host.name, lines) + warnings
}

const agentText = ({ agent, generation }: PlannedHost): string =>
  agent === 'none'
    ? 'none yet'
    : agent === 'stopped'
      ? "installed, but it doesn't run"
      : generation === 0
        ? agent
        : `${agent}, at generation ${generation}`

function clockText({ clock }: PlannedHost): string {
  if (clock === null) return 'not known'
  const { offsetMs, errorMs } = clock
  if (Math.abs(offsetMs) <= Math.max(errorMs, 50)) return "as this machine's"
  return `${(Math.abs(offsetMs) / 1000).toFixed(1)} s ${offsetMs > 0 ? 'ahead of' : 'behind'} this machine's`
}

function conntrackText({ conntrack }: PlannedHost): string {
  if (conntrack === null) return 'nothing tracks connections yet'
  const { count, max } = conntrack
  const rate = Math.max(0, Math.floor((max - count) / timeWaitSeconds))
  return `${count} of ${max} entries, room for about ${rate} new connections/s`
}

const gigabytes = (kib: number): string => ((kib * 1024) / 1e9).toFixed(1)

function pathText({ port, mtu, how, a, b }: PlannedPath): string {
  if (mtu === null) return `UDP port ${port}: not measured, for ${how}`
  const { aToB, bToA } = mtu
  if (aToB > 0 && bToA > 0) {
    const sizes = aToB === bToA ? `${aToB} bytes pass both ways` : `${aToB} bytes pass to ${b}, ${bToA} to ${a}`
    return `UDP port ${port}: packets of ${sizes} (${how})`
  }
  const way = (size: number, to: string): string => (size > 0 ? `open to ${to}` : `shut to ${to}`)
  return `UDP port ${port}: ${way(aToB, b)}, ${way(bToA, a)}`
}

function serviceText({ name, from, to, stage, listen, strategy, now, later }: PlannedService, say: Say): string {
  const shown = listen.length > 6 ? [...listen.slice(0, 5), `${listen.length - 5} more`] : listen
  return say.entry(name, [
    `${shown.join(', ')}, from ${from} to ${to}, ${strategy}, ${stage}`,
    `now: ${now}`,
    ...later.map((text) => `later: ${text}`),
  ])
}

const titles: Record<PlannedPhase['what'], string> = {
  agents: 'Agents',
  tunnels: 'Tunnels, and the routes and rules that lead into them',
  forwarding: 'Forwarding',
}

function phaseText({ what, hosts, last }: PlannedPhase, number: number, say: Say, look: PlanLook): string {
  return [
    `\n${say.head(`Step ${number}: ${titles[what]}`)}`,
    ...hosts.map((host) => say.entry(host.host, host.steps) + (look.verbose ? diffs(host, look.style) : '')),
    ...(last.length > 0 ? [say.entry('then', last)] : []),
  ].join('')
}

function diffs({ ruleset, files }: PlannedHostSteps, style: Style): string {
  const changed = [
    ...files.map(({ path, present, content }) => ({ title: path, lines: lineDiff(present, content) })),
    ...(ruleset ? [{ title: 'table inet fleetmove', lines: lineDiff(ruleset.present, ruleset.planned) }] : []),
  ].filter(({ lines }) => lines.length > 0)
  const colour = { '+': 'green', '-': 'red', '@': 'dim' } as const
  return changed
    .map(({ title, lines }) => {
      const shown = lines.map((text) => {
        const format = colour[text[0] as keyof typeof colour]
        return `      ${format ? style(format, text) : text}\n`
      })
      return `    ${style('bold', `${title}:`)}\n${shown.join('')}`
    })
    .join('')
}

function verdict(plan: FleetPlan, say: Say, saved: string | undefined): string {
  if (plan.problems.length > 0)
    return `\n${say.style('red', 'Not like this')}: ${plan.problems.length === 1 ? 'one thing stands' : `${plan.problems.length} things stand`} in the way. Nothing was changed.\n`
  if (!plan.pending)
    return `\nNothing to do: ${plan.services.length === 0 ? 'every service has been moved and finalized' : 'everything stands as fleet.yaml says'}.\n`
  const open =
    plan.unknown.length > 0
      ? `\n${wrap(`What comes after that is in the ledger of the agent on ${plan.unknown.join(' and ')}, which doesn't run: \`up\` starts it, and it goes on where it was.`, 80, '', '')}\n`
      : ''
  return `${open}\nChanges are pending; nothing was changed. To make them${saved === undefined ? ': fleetmove up' : ` exactly so:\n  fleetmove up ${saved}`}\n`
}
