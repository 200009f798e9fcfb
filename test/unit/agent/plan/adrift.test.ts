import { converge, plan } from '../../../../agent/apply.js'
import { FakeKernel } from '../../../fakes/fake-kernel.js'
import { forward, new4, old4, service, spec, tunnel } from './specs.js'

it('an OpenVPN whose tap was taken away is started anew, with a new tap before it', async () => {
  const kernel = new FakeKernel({
    links: [{ name: 'eth0', kind: '', mtu: 1500, up: true, vxlan: null }],
    addresses: [{ device: 'eth0', ip: new4, prefix: 24 }],
    uplinks: [{ family: 4, device: 'eth0' }],
  })
  const openvpn = spec(
    [tunnel(1, { driver: 'openvpn' })],
    [service('web', [forward(['tcp', 443], { local: new4, peer: old4 })])],
  )
  await converge(kernel, openvpn, {}, async () => {})
  kernel.meddle({ deleteLink: 'fm1' })
  const { steps } = await plan(kernel, openvpn, {})
  expect(steps.map((step) => step.do).filter((kind) => /link|process/.test(kind))).toEqual([
    'stop-process',
    'add-link',
    'set-link',
    'start-process',
  ])
})

describe('our own table', () => {
  const web = spec([tunnel(1)], [service('web', [forward(['tcp', 443], { local: new4, peer: old4 })])])
  const forwarding = async (): Promise<FakeKernel> => {
    const kernel = new FakeKernel()
    await converge(kernel, web, {}, async () => {})
    return kernel
  }
  const mended = async (kernel: FakeKernel): Promise<string[]> => {
    const { steps } = await plan(kernel, web, {})
    await converge(kernel, web, {}, async () => {})
    expect((await plan(kernel, web, {})).steps).toEqual([])
    return steps.flatMap((step) => (step.do === 'load-ruleset' ? [step.text] : [step.do]))
  }

  it('is loaded whole when a rule of its frame was taken out', async () => {
    const kernel = await forwarding()
    kernel.meddle({ deleteRuleOf: 'mark-prerouting' })
    expect(await mended(kernel)).toEqual([expect.stringContaining('flush chain inet fleetmove mark-prerouting')])
  })

  it.each([{ deleteRuleOf: 'fwd-web-1' }, { deleteElementOf: 'open4' }])(
    'leaves its frame alone when %o',
    async (change) => {
      const kernel = await forwarding()
      kernel.meddle(change)
      const [text, ...more] = await mended(kernel)
      expect(more).toEqual([])
      expect(text).toContain('flush map inet fleetmove open4')
      expect(text).not.toContain('flush chain inet fleetmove mark-prerouting')
    },
  )
})
