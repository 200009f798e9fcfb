/** Figures in Prometheus's text format (exposition format 0.0.4). Pure. */

export interface Metrics {
  fleet: string
  host: string
  services: {
    name: string
    stage: string
    active: string
    forwarded: number
    served: number
    establishedForwarded: number
    standing: number
  }[]
  tunnels: { peer: string; up: boolean; rttMs: number; rxBytes: number; txBytes: number }[]
}

/** Names of ours need no escaping: [a-z0-9-]. */
type Labels = Readonly<Record<string, string>>

export function exposition({ fleet, host, services, tunnels }: Metrics): string {
  const lines: string[] = []
  const family = (
    name: string,
    type: 'counter' | 'gauge',
    help: string,
    samples: readonly [Labels, number][],
  ): void => {
    if (samples.length === 0) return
    lines.push(`# HELP fleetmove_${name} ${help}`, `# TYPE fleetmove_${name} ${type}`)
    for (const [labels, value] of samples) {
      const text = Object.entries({ fleet, host, ...labels }).map(([key, label]) => `${key}="${label}"`)
      lines.push(`fleetmove_${name}{${text.join(',')}} ${value}`)
    }
  }
  family(
    'connections_total',
    'counter',
    "Connections opened by this host's address: forwarded into a tunnel, or served here.",
    services.flatMap((each): [Labels, number][] => [
      [{ service: each.name, way: 'forwarded' }, each.forwarded],
      [{ service: each.name, way: 'served' }, each.served],
    ]),
  )
  family(
    'forwarded_connections',
    'gauge',
    'Connections that stand and go on into a tunnel.',
    services.map((each) => [{ service: each.name }, each.establishedForwarded]),
  )
  family(
    'draining_connections',
    'gauge',
    'Connections that are answered here while their service is moving.',
    services.map((each) => [{ service: each.name }, each.standing]),
  )
  family(
    'service_stage',
    'gauge',
    'The stage of each service is 1.',
    services.map((each) => [{ service: each.name, stage: each.stage }, 1]),
  )
  family(
    'service_active',
    'gauge',
    '1 where this host answers the service.',
    services.map((each) => [{ service: each.name }, each.active === host ? 1 : 0]),
  )
  family(
    'tunnel_up',
    'gauge',
    '1 where the other end of the tunnel answers.',
    tunnels.map((each) => [{ peer: each.peer }, each.up ? 1 : 0]),
  )
  family(
    'tunnel_round_trip_seconds',
    'gauge',
    'Of a question to the other end; absent without an answer.',
    tunnels.filter((each) => each.up).map((each) => [{ peer: each.peer }, Number((each.rttMs / 1000).toFixed(6))]),
  )
  family(
    'tunnel_received_bytes_total',
    'counter',
    'Bytes that came out of the tunnel.',
    tunnels.map((each) => [{ peer: each.peer }, each.rxBytes]),
  )
  family(
    'tunnel_sent_bytes_total',
    'counter',
    'Bytes that went into the tunnel.',
    tunnels.map((each) => [{ peer: each.peer }, each.txBytes]),
  )
  return `${lines.join('\n')}\n`
}
