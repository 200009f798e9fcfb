import data from '../../vagrant/topology.json' with { type: 'json' }

/** What a practice host is for. */
export type LabRole = 'controller' | 'client' | 'old' | 'new'

export interface LabSubnet {
  /** IPv4 and IPv6 prefixes in CIDR notation; the gateways are the router's addresses in them. */
  v4: string
  v6: string
  gateway4: string
  gateway6: string
}

export interface LabHost {
  role: LabRole
  /** A key of `subnets`. */
  subnet: string
  /** The addresses on the host's own device, the primary one first, without prefix length. */
  v4: string[]
  v6: string[]
  sshd: boolean
  /** nginx: not configured, configured and running, or configured only. */
  web: 'none' | 'running' | 'stopped'
}

/** One-to-one translation at the router, every protocol and port, both ways. */
export interface LabNat {
  host: string
  /** The subnet in which the public address lies. */
  subnet: string
  public: string
  local: string
}

export interface LabTopology {
  /** The name of the host that joins all subnets. It is not among `hosts`. */
  router: string
  subnets: Record<string, LabSubnet>
  hosts: Record<string, LabHost>
  nat: LabNat[]
}

/** The practice network as vagrant/topology.json describes it; the Vagrantfile reads the same file. */
export const labTopology = data as LabTopology

/** Every host's name, the router's too. */
export function hostNames(topology: LabTopology): string[] {
  return [topology.router, ...Object.keys(topology.hosts)]
}

/** The addresses by which others reach a host, IPv4 first: translated ones in place of local ones. */
export function publicAddresses(topology: LabTopology, name: string): string[] {
  if (name === topology.router) return Object.values(topology.subnets).flatMap((net) => [net.gateway4, net.gateway6])
  const host = topology.hosts[name]
  if (!host) return []
  const translated = (local: string) =>
    topology.nat.find((nat) => nat.host === name && nat.local === local)?.public ?? local
  return [...host.v4.map(translated), ...host.v6]
}

/** Whether a host has Node: fleetmove must work without it on old and new hosts. */
export function hasNode(topology: LabTopology, name: string): boolean {
  const role = topology.hosts[name]?.role
  return role !== 'old' && role !== 'new'
}
