import type { SettledAddress } from '../../controller/finalize.js'
import type { Moved } from '../../controller/move-state.js'

export const movedText = (services: readonly Moved[]): string =>
  services
    .map(({ service, active, switchMs, undrained, addresses }) => {
      const left = undrained > 0 ? `; ${undrained} connections were still open when the drain was over` : ''
      const taken = addresses ? `; ${addresses.join(', ')} is there now` : ''
      const switched = switchMs > 0 ? `switched in ${switchMs.toFixed(0)} ms` : 'switched before this run'
      return `${service} answers on ${active} now (${switched}${left})${taken}.\n`
    })
    .join('')

/** What only the hosts' own network configuration can keep. */
export const settledText = (addresses: readonly SettledAddress[]): string =>
  addresses
    .map(
      ({ address, from, to, device }) =>
        `${address.split('/')[0]} is on ${to} until it reboots. Write it into its network configuration, as of: ip address add ${address} dev ${device}; and take it out of that of ${from}, or both will have it.\n`,
    )
    .join('')
