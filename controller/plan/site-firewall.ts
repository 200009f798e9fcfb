/** What a new host's firewall must let in once the old ones are gone. Pure. */
import type { Service } from '../config/fleet.js'

export interface OpenPort {
  service: string
  /** As clients use it: `tcp/443`, `udp/30000-30100`. */
  listener: string
  /** Where the process listens when that is another port: the host must then translate, as fleetmove did. */
  redirectTo: number | undefined
  helper: 'ftp' | undefined
}

export interface SiteFirewall {
  host: string
  open: OpenPort[]
  /** A whole ruleset for `nft -f`. */
  nft: string
}

/** Ports of an old host on which nobody answers any more. */
export interface ClosedPorts {
  host: string
  ports: { service: string; listener: string }[]
}

const listenerText = ({ protocol, ports }: Service['listen'][number]): string => `${protocol}/${portText(ports)}`
const portText = ({ from, to }: { from: number; to: number }): string => (from === to ? `${from}` : `${from}-${to}`)

/**
 * @param services those that the new host answers from now on
 * @param sshPort by which its operator comes
 */
export function siteFirewall(host: string, services: readonly Service[], sshPort: number): SiteFirewall {
  const open = services.flatMap((service) =>
    service.listen.map((listener): OpenPort => {
      const { newPort, ports, helper } = listener
      const elsewhere = newPort !== undefined && newPort !== ports.from
      return {
        service: service.name,
        listener: listenerText(listener),
        redirectTo: elsewhere ? newPort : undefined,
        helper,
      }
    }),
  )
  return { host, open, nft: nftOf(host, services, sshPort) }
}

export function closedPorts(host: string, services: readonly Service[]): ClosedPorts {
  const ports = services.flatMap((service) =>
    service.listen.map((listener) => ({ service: service.name as string, listener: listenerText(listener) })),
  )
  return { host, ports }
}

function nftOf(host: string, services: readonly Service[], sshPort: number): string {
  const listeners = services.flatMap((service) =>
    service.listen.map((listener) => ({ service: service.name, listener })),
  )
  const redirects = listeners.filter(
    ({ listener: { newPort, ports } }) => newPort !== undefined && newPort !== ports.from,
  )
  const ftp = listeners.filter(({ listener }) => listener.helper === 'ftp')
  const accept = listeners.map(({ service, listener: { protocol, ports, newPort } }) =>
    newPort !== undefined && newPort !== ports.from
      ? `    ${protocol} dport ${newPort} ct status dnat accept comment "${service}: ${protocol}/${portText(ports)}"`
      : `    ${protocol} dport ${portText(ports)} accept comment "${service}"`,
  )
  return [
    `# ${host}: what the world must reach from now on. Everything else is dropped:`,
    '# add what else you need (other services, monitoring) before you load it with nft -f.',
    'table inet site',
    'delete table inet site',
    'table inet site {',
    ...(ftp.length > 0 ? ['  ct helper ftp { type "ftp" protocol tcp; }'] : []),
    '  chain input {',
    '    type filter hook input priority filter; policy drop;',
    '    ct state established,related accept',
    '    iif lo accept',
    '    meta l4proto { icmp, ipv6-icmp } accept',
    `    tcp dport ${sshPort} accept comment "ssh"`,
    ...accept,
    '  }',
    ...(ftp.length > 0
      ? [
          '  chain helpers {',
          '    type filter hook prerouting priority filter;',
          ...ftp.map(
            ({ service, listener: { ports, newPort } }) =>
              `    tcp dport ${newPort ?? ports.from} ct helper set "ftp" comment "${service}"`,
          ),
          '  }',
        ]
      : []),
    ...(redirects.length > 0
      ? [
          '  chain elsewhere {',
          '    type nat hook prerouting priority dstnat;',
          ...redirects.map(
            ({ service, listener: { protocol, ports, newPort } }) =>
              `    fib daddr type local ${protocol} dport ${ports.from} redirect to :${newPort} comment "${service}"`,
          ),
          '  }',
        ]
      : []),
    '}',
    '',
  ].join('\n')
}
