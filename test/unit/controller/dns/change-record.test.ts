import { updateScript } from '../../../../controller/dns/change-record.js'
import type { RecordState } from '../../../../controller/dns/records.js'
import type { Ip } from '../../../../proto/model/address.js'

const ip = (text: string): Ip => text as Ip
const state = (family: 4 | 6) =>
  ({
    name: 'www.example.org',
    family,
    zone: { owner: 'web.example.org', zone: 'example.org' },
  }) as unknown as RecordState
const server = { ip: ip('203.0.113.53'), port: 53 }

it('is one transaction that asks for all that was seen', () => {
  const wanted = {
    state: state(4),
    before: ['192.0.2.7', '203.0.113.1'].map(ip),
    after: ['192.0.2.7', '198.51.100.1'].map(ip),
  }
  expect(updateScript(server, { ...wanted, ttlSeconds: 60 })).toBe(`server 203.0.113.53 53
zone example.org.
prereq yxrrset web.example.org. A 192.0.2.7
prereq yxrrset web.example.org. A 203.0.113.1
update delete web.example.org. A
update add web.example.org. 60 A 192.0.2.7
update add web.example.org. 60 A 198.51.100.1
send
`)
})
