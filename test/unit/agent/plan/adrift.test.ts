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
