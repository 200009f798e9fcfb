import type { FleetStatus, ServiceLine } from '../../controller/status.js'
import { styleFor } from './style.js'
import { table } from './table.js'

export function statusText(status: FleetStatus): string {
  const style = styleFor(process.stdout)
  const services = table([
    ['SERVICE', 'STAGE', 'ACTIVE', 'BY THE OTHER', 'BY ITS OWN', 'OPEN', 'CLIENTS', 'LAST PROOF'],
    ...status.services.map((each) => [
      each.name,
      each.stage,
      each.active,
      `${each.forwarded} via ${each.active === each.from ? each.to : each.from}`,
      String(each.served),
      String(each.established),
      String(each.clientsByForwarder),
      proof(each),
    ]),
  ])
  const tunnels = status.tunnels.map((tunnel) => {
    const state = tunnel.up
      ? style('green', `up, ${tunnel.rttMs.toFixed(1)} ms`)
      : style('red', `down: ${tunnel.detail}`)
    return `tunnel ${tunnel.a} ↔ ${tunnel.b}: ${tunnel.driver}, MTU ${tunnel.mtu}, ${state}\n`
  })
  const drift = status.drift.map(
    ({ host, steps }) => `${style('red', 'drift')} on ${host}: ${steps.join('; ')} (fleetmove up mends it)\n`,
  )
  const fighting = status.fighting.map(
    ({ host, steps }) =>
      `${style('red', 'fighting')} on ${host}: something else undoes this again and again, so it is let be for a while: ${steps.join('; ')}\n`,
  )
  const mended = status.mended.map(
    ({ host, times, lastMsAgo, steps }) =>
      `mended on ${host}: ${times === 1 ? 'once' : `${times} times`}, last ${Math.round(lastMsAgo / 1000)} s ago: ${steps.join('; ')}\n`,
  )
  const blind = status.blind.map(
    ({ host, reasons }) => `${host} looks for changes every 30 s only: ${reasons.join('; ')}\n`,
  )
  const locked = status.locked.map(
    ({ host, id, owner, command, sinceMs }) =>
      `${style('red', 'locked')} ${host}: ${owner} runs "fleetmove ${command}" since ${new Date(sinceMs).toISOString().slice(0, 19)}Z (lock ${id})\n`,
  )
  const absent = status.absent.length > 0 ? [`no agent on: ${status.absent.join(', ')}\n`] : []
  return [services, ...locked, ...tunnels, ...drift, ...fighting, ...mended, ...blind, ...absent].join('')
}

function proof({ lastProof }: ServiceLine): string {
  if (!lastProof) return '-'
  return `${lastProof.ok ? 'ok' : 'FAILED'} ${lastProof.preserved}/${lastProof.total} at ${lastProof.at.slice(0, 19)}Z`
}
