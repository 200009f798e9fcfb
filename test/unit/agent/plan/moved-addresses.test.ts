import { converge, nothing, plan } from '../../../../agent/apply.js'
import type { Step } from '../../../../agent/kernel/step.js'
import type { AddressSpec } from '../../../../agent/plan/desired.js'
import type { Found } from '../../../../agent/plan/difference.js'
import { sysctlKeys } from '../../../../agent/plan/sysctls.js'
import type { HostSpec, MovedAddress } from '../../../../proto/model/host-spec.js'
import { FakeKernel } from '../../../fakes/fake-kernel.js'
import { ip, serve, service, spec, tunnel } from './specs.js'

const [moved4, moved6] = [ip('203.0.113.11'), ip('2001:db8:a::11')]
const [stays4, stays6, own4, own6] = [
  ip('203.0.113.10'),
  ip('2001:db8:a::10'),
  ip('203.0.113.20'),
  ip('2001:db8:a::20'),
]
const on = (address: string, prefix: number, more: Partial<AddressSpec> = {}): AddressSpec => ({
  ...{ device: 'eth0', ip: ip(address), prefix },
  ...more,
})
const before4 = on(moved4, 24, { broadcast: ip('203.0.113.255') })

class Host {
  readonly kernel: FakeKernel
  found: Found = {}
  constructor(addresses: AddressSpec[]) {
    this.kernel = new FakeKernel({
      addresses,
      links: [{ name: 'eth0', kind: '', mtu: 1500, up: true, vxlan: null }],
      uplinks: [
        { family: 4, device: 'eth0' },
        { family: 6, device: 'eth0' },
      ],
    })
  }
  async become(wanted: HostSpec): Promise<Step[]> {
    const { steps } = await converge(this.kernel, wanted, this.found, async (found) => {
      this.found = found
    })
    return steps
  }
  async addresses(): Promise<string[]> {
    const { addresses } = await this.kernel.observe([])
    return addresses
      .filter(({ device }) => !device.startsWith('fm'))
      .map(({ device, ip, prefix, idle }) => `${device} ${ip}/${prefix}${idle ? ' idle' : ''}`)
      .sort()
  }
  asides = async (): Promise<number[]> => (await this.kernel.observe([])).asides.map(({ family }) => family)
  sysctl = async (key: string): Promise<string | undefined> =>
    (await this.kernel.observe(sysctlKeys(await this.kernel.observe([])))).sysctls[key]
  again = async (wanted: HostSpec): Promise<Step[]> => (await plan(this.kernel, wanted, this.found)).steps
}
const base = spec([tunnel(1)], [service('web', [serve(['tcp', 80], own4)])])
const holding = (...addresses: MovedAddress[]): HostSpec => ({ ...base, addresses })
const steps = (taken: readonly Step[]): string[] =>
  taken.flatMap((step) => {
    if (step.do === 'add-address' || step.do === 'delete-address')
      return step.address.device.startsWith('fm') ? [] : [`${step.do} ${step.address.device} ${step.address.ip}`]
    return step.do === 'announce-address' || step.do.endsWith('aside') ? [step.do] : []
  })

describe('the old host', () => {
  const asFound = [on(stays4, 24), before4, on(stays6, 64), on(moved6, 64)]
  const silent = holding({ address: moved4, as: 'silent' }, { address: moved6, as: 'silent' })
  const returned = holding(
    { address: moved4, as: 'returned', aside: own4 },
    { address: moved6, as: 'returned', aside: own6 },
  )

  test('keeps the address for its connections, tells nobody, and gives it back as it was', async () => {
    const host = new Host(asFound)
    await host.become(base)
    const found = await host.addresses()
    const went = steps(await host.become(silent))
    // At no time without it: connections stand that need it.
    expect(went.indexOf(`add-address lo ${moved4}`)).toBeLessThan(went.indexOf(`delete-address eth0 ${moved4}`))
    expect(await host.addresses()).toEqual(
      [`lo ${moved4}/32`, `lo ${moved6}/128`, `eth0 ${stays4}/24`, `eth0 ${stays6}/64`].sort(),
    )
    expect(await host.sysctl('net.ipv4.conf.eth0.arp_ignore')).toBe('3')
    expect(await host.again(silent)).toEqual([])

    const came = steps(await host.become(returned))
    expect(came.filter((step) => step === 'announce-address')).toHaveLength(2)
    expect(came[0]).toBe('load-aside')
    expect(came.indexOf(`add-address eth0 ${moved4}`)).toBeLessThan(came.indexOf(`delete-address lo ${moved4}`))
    expect(await host.asides()).toEqual([4, 6])
    await host.become(base)
    expect(await host.asides()).toEqual([])
    expect(await host.sysctl('net.ipv4.conf.eth0.arp_ignore')).toBe('0')
    // The kernel would prefer the one that came last.
    expect(await host.addresses()).toEqual(found.map((line) => (line.includes(moved6) ? `${line} idle` : line)))
    expect((await host.kernel.observe([])).addresses).toContainEqual(before4)
  })

  test('a trial that is undone, and an agent that leaves, give it back; one that has settled stays away', async () => {
    const host = new Host(asFound)
    await host.become(silent)
    await host.become(nothing(silent))
    expect(await host.addresses()).toContain(`eth0 ${moved4}/24`)

    await host.become(silent)
    const settled = holding({ address: moved4, as: 'settled' }, { address: moved6, as: 'settled' })
    await host.become(settled)
    expect(await host.again(settled)).toEqual([])
    // A trial of it can still be undone.
    await host.become(silent)
    expect(await host.addresses()).toContain(`lo ${moved4}/32`)
    await host.become(settled)
    await host.become(nothing(settled))
    expect(await host.addresses()).toEqual([`eth0 ${stays6}/64`, `eth0 ${stays4}/24`])
  })

  test('one that is only leased is refused before anything is changed', async () => {
    const host = new Host([on(stays4, 24), on(moved4, 24, { dynamic: true })])
    await expect(host.become(holding({ address: moved4, as: 'silent' }))).rejects.toMatchObject({ code: 'conflict' })
    expect(host.kernel.performed).toEqual([])
  })
})

describe('the new host', () => {
  const asFound = [on(own4, 24), on(own6, 64)]
  const taken = holding(
    { address: moved4, as: 'taken', own: own4, aside: stays4 },
    { address: moved6, as: 'taken', own: own6, aside: stays6 },
  )

  test('hands over what it does not know before it is found, and is as before when it has given all back', async () => {
    const host = new Host(asFound)
    await host.become(base)
    const went = steps(await host.become(taken))
    expect(went).toEqual([
      ...['load-aside', 'load-aside'],
      ...[`add-address eth0 ${moved4}`, 'announce-address', `add-address eth0 ${moved6}`, 'announce-address'],
    ])
    expect(await host.again(taken)).toEqual([])
    const silent = holding({ address: moved4, as: 'silent' }, { address: moved6, as: 'silent' })
    await host.become(silent)
    expect(await host.addresses()).toContain(`lo ${moved4}/32`)
    await host.become(base)
    expect(await host.addresses()).toEqual([`eth0 ${own6}/64`, `eth0 ${own4}/24`])
  })

  test('what has settled stays', async () => {
    const host = new Host(asFound)
    await host.become(taken)
    const settled = holding({ address: moved4, as: 'settled' }, { address: moved6, as: 'settled' })
    await host.become(settled)
    await host.become(nothing(settled))
    expect(await host.addresses()).toContain(`eth0 ${moved4}/32`)
    expect(await host.asides()).toEqual([])
  })

  test('without its own address on the segment it takes nothing', async () => {
    const host = new Host([])
    await expect(host.become(taken)).rejects.toThrow(`${own4} is on no device any more`)
  })
})
