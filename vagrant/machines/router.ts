/** The router as a virtual machine: a device a subnet, in the order in which the Vagrantfile makes them. */
import type { HostFile } from '../../cli/lab/host-files.js'
import type { LabTopology } from '../../cli/lab/topology.js'

const prefixLength = (cidr: string): string => cidr.slice(cidr.indexOf('/') + 1)

/** Also the public addresses that it translates: neighbours ask for them on their own link. */
export function routerNetworkFiles(topology: LabTopology): HostFile[] {
  const units = Object.entries(topology.subnets).map(([name, net], index): HostFile => {
    const translated = topology.nat.filter((nat) => nat.subnet === name).map((nat) => `${nat.public}/32`)
    const addresses = [
      `${net.gateway4}/${prefixLength(net.v4)}`,
      `${net.gateway6}/${prefixLength(net.v6)}`,
      ...translated,
    ]
    const text = `[Match]\nName=eth${index + 1}\n\n[Network]\n${addresses.map((address) => `Address=${address}\n`).join('')}IPv6AcceptRA=no\nIPForward=yes\n`
    return { path: `/etc/systemd/network/10-eth${index + 1}.network`, text }
  })
  return [
    ...units,
    {
      path: '/etc/sysctl.d/99-practice.conf',
      text: 'net.ipv4.ip_forward=1\nnet.ipv6.conf.all.forwarding=1\nnet.ipv4.conf.all.rp_filter=0\n',
    },
  ]
}
