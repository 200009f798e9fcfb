import { fleetSchema } from '../../../../controller/config/fleet-schema.js'
import { parseFleet } from '../../../../controller/config/load-fleet.js'
import type { Name } from '../../../../proto/model/names.js'

const fleet = (lines: string): string => `fleet: f
hosts:
  old: { ssh: a, addresses: [203.0.113.10] }
  new: { ssh: b, addresses: [203.0.113.20] }
services:
  web:
    from: old
    to: new
    listen: [tcp/80, tcp/443, tcp/8080, tcp/9000-9010]
${lines}
`
const taken = (lines: string) => parseFleet(fleet(lines), 'fleet.yaml').services.get('web' as Name)?.redirect
const refusal = (lines: string): string => {
  try {
    taken(lines)
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('it was taken')
}

test.each([
  ['    redirect: https://www.example.org', { to: 'https://www.example.org', ports: [80] }],
  ['    redirect: https://WWW.example.org:8443/shop/', { to: 'https://www.example.org:8443/shop', ports: [80] }],
  [
    '    redirect: { to: https://www.example.org, listen: [tcp/8080, tcp/80] }',
    { to: 'https://www.example.org', ports: [8080, 80] },
  ],
])('%s', (lines, expected) => {
  expect(taken(lines)).toEqual(expected)
})

test.each([
  ['    redirect: http://www.example.org', /^fleet\.yaml:10:15: services\.web\.redirect: found "http:.*allowed https:/],
  ['    redirect: https://www.example.org/?a=b', /10:15: .*without a login, a query or a fragment/],
  ['    redirect: https://me:secret@www.example.org', /10:15: services\.web\.redirect: found a login/],
  ['    redirect: [https://www.example.org]', /10:15: .*found a list, allowed https:/],
  ['    redirect: https://203.0.113.10/', /10:15: .*an address of old, allowed a URL by which/],
  [
    '    redirect:\n      to: https://www.example.org\n      listen: [tcp/80, tcp/443]',
    /^fleet\.yaml:12:24: services\.web\.redirect\.listen\[1\]: found "tcp\/443", allowed .*certificate$/,
  ],
  ['    redirect: { to: https://w.example, listen: [tcp/81] }', /10:49: .*single TCP ports that stand under listen/],
  ['    redirect: { to: https://w.example, listen: [tcp/9000] }', /10:49: .*single TCP ports/],
  ['    redirect: { to: https://w.example, listen: [udp/53] }', /10:49: .*single TCP ports/],
  ['    redirect: { to: https://w.example, liste: [tcp/80] }', /10:40: .*unknown key "liste".*did you mean "listen"\?/],
  ['    redirect: https://w.example\n    address: move', /10:15: .*besides address: move, allowed one of the two/],
  ['    redirect: https://w.example\n    localhost: true', /10:15: .*besides localhost: true/],
])('refused at its place: %s', (lines, expected) => {
  expect(
    refusal(lines)
      .split('\n')
      .find((line) => expected.test(line)) ?? refusal(lines),
  ).toMatch(expected)
})

test('a service without tcp/80 is told to name its ports, and why HTTPS is none of them', () => {
  const text = fleet('    redirect: https://www.example.org').replace('tcp/80, ', '')
  expect(() => parseFleet(text, 'fleet.yaml')).toThrow(/^fleet\.yaml:10:15: .*without tcp\/80, allowed .*certificate$/)
})

test('editors know it', () => {
  expect(fleetSchema()).toMatchObject({
    properties: {
      services: {
        additionalProperties: {
          properties: { redirect: { anyOf: [{ pattern: '^https://' }, { required: ['to'] }] } },
        },
      },
    },
  })
})
