import type { Explanation, Journey } from '../../controller/explain.js'
import type { Leg } from '../../controller/plan/journey.js'
import { type Style, styleFor } from './style.js'

export function explanationText(
  { client, service, listener, active, journeys }: Explanation,
  verbose: boolean,
): string {
  const style = styleFor(process.stdout)
  const head = `${client} → ${service} ${listener}, which ${active} answers\n`
  return `${head}${journeys.map((each) => journeyText(each, verbose, style)).join('')}`
}

function journeyText(
  { ingress, address, sent, legs, flows, verdict }: Journey,
  verbose: boolean,
  style: Style,
): string {
  const mark = verdict.ok ? style('green', '✓') : style('red', '✗')
  const hint = verdict.hint === '' ? '' : `    ${style('dim', 'next:')} ${verdict.hint}\n`
  return [
    `\n${mark} ${style('bold', `by ${address} (${ingress})`)}: ${verdict.text}\n`,
    hint,
    `    ${style('dim', `${sent}`)}\n`,
    ...legs.map((leg) => legText(leg, verbose, style)),
    ...flows.flatMap(({ host, text }) => (text === '' ? [] : [`    ${host} knows: ${text}\n`])),
  ].join('')
}

function legText(leg: Leg, verbose: boolean, style: Style): string {
  const way = leg.direction === 'request' ? '→' : '←'
  const end =
    leg.end === 'dropped'
      ? style('red', 'dropped')
      : leg.end === 'vanished'
        ? style('red', 'lost by the kernel')
        : leg.end === 'delivered'
          ? 'this host'
          : `out ${leg.out}`
  const begin = leg.in === null ? 'this host' : `in ${leg.in}`
  const changed = leg.arrived === leg.left ? leg.arrived : `${leg.arrived}, then ${leg.left}`
  const rules = leg.rules
    .filter(({ verdict }) => verbose || !/^(accept|jump|goto|continue|return)/.test(verdict))
    .map(
      ({ owner, chain, text, verdict }) =>
        `        ${style('dim', `${owner}, ${chain}:`)} ${text} ${style('dim', `(${verdict})`)}\n`,
    )
  return `    ${way} ${leg.host.padEnd(8)} ${begin} → ${end}  ${changed}${leg.refusal ? ' (refusal)' : ''}\n${rules.join('')}`
}
