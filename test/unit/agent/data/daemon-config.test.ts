import { daemonConfig } from '../../../../agent/data/daemon-config.js'
import type { Ip } from '../../../../proto/model/address.js'

describe('the rsync daemon', () => {
  const text = daemonConfig({
    ...{ directory: '/run/fleetmove/rsync-1', address: '169.254.7.1' as Ip, peer: '169.254.7.2' as Ip },
    ...{ port: 40000, user: '0123456789abcdef', modules: 2 },
  })
  const [global = '', ...modules] = text.split(/^(?=\[)/m)

  it('listens on the tunnel alone, for the peer alone, with a secret, to be read only', () => {
    for (const line of [
      'address = 169.254.7.1',
      'port = 40000',
      'hosts allow = 169.254.7.2',
      'auth users = 0123456789abcdef',
      'secrets file = /run/fleetmove/rsync-1/secrets',
      'read only = yes',
      'use chroot = yes',
      'list = no',
    ])
      expect(global.split('\n')).toContain(line)
  })

  it('names directories by links, never by their own names', () =>
    expect(modules).toEqual(['[d0]\npath = /run/fleetmove/rsync-1/d0\n', '[d1]\npath = /run/fleetmove/rsync-1/d1\n']))
})
