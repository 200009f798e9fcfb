import type { AddressSpec, LinkSpec, ProcessSpec } from '../plan/desired.js'

/** What stands for one end of a tunnel in the kernel; every driver gives this and nothing else. */
export interface TunnelPieces {
  /** Carries the clients' packets: marks, routes and the clamp speak of this one. */
  device: string
  /** A link stands before the one that rides on it. */
  links: LinkSpec[]
  /** A process that makes its link (wireguard-go) bears `wireguard-` and the link's name. */
  processes: ProcessSpec[]
  addresses: AddressSpec[]
  /** 2: the peer is a neighbour, a route needs its address as gateway. 3: everything that enters the device reaches the peer. */
  layer: 2 | 3
}
