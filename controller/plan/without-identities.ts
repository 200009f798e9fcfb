import type { HostSpec } from '../../proto/model/host-spec.js'

/** Takes the peers' keys out of a text: before an agent has made them they aren't known. Pure. */
export const withoutIdentities = ({ tunnels }: HostSpec): ((text: string) => string) => {
  const identities = tunnels.map(({ peerIdentity }) => peerIdentity).filter((identity) => identity !== '')
  return (text) => identities.reduce((rest, identity) => rest.replaceAll(identity, '(its key)'), text)
}
