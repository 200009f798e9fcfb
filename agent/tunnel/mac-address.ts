import type { TunnelSpec } from '../../proto/model/host-spec.js'

/**
 * Of this end's device, where it has one: locally administered, and the same whenever the device is made
 * anew. With a random one the peer would go on sending to the old one until its neighbour entry has failed,
 * which takes more than ten seconds.
 */
export const macAddress = ({ local4 }: TunnelSpec): string =>
  ['02', 'fd', ...local4.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'))].join(':')
