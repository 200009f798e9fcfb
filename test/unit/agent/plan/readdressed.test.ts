import { readdressed } from '../../../../agent/plan/readdressed.js'
import { ip, spec, tunnel } from './specs.js'

const elsewhere = ip('203.0.113.99')
const before = spec([tunnel(1), tunnel(2, { driver: 'openvpn' })], [])

test('WireGuard is told of a peer’s new address, once', () => {
  const after = spec([tunnel(1, { remote: elsewhere }), tunnel(2, { driver: 'openvpn', remote: elsewhere })], [])
  const steps = readdressed(before, after, [])
  expect(steps).toEqual([
    {
      do: 'configure-wireguard',
      link: expect.objectContaining({
        name: 'fm1',
        peer: expect.objectContaining({ endpoint: { address: elsewhere, port: 51820 } }),
      }),
    },
  ])
  expect(readdressed(before, after, steps)).toEqual([])
})

test('nothing is done for what hasn’t changed, or isn’t known', () => {
  expect(readdressed(before, before, [])).toEqual([])
  expect(readdressed(null, before, [])).toEqual([])
})
