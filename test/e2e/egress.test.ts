/** Connections that a service opens itself leave with the address of the host that `egress` names, wherever it runs. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Practice, withRoot } from './practice.js'

jest.setTimeout(300_000)

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const [new4, new6] = ['198.51.100.10', '2001:db8:b::10']
const [world4, world6] = ['198.18.0.12', '2001:db8:c::12']
/** A copy on each host: another user may not be let into the checkout. */
const ask = 'perl /tmp/ask.pl'
/** `nobody` of Debian, on every host. */
const user = '65534'

const service = (port: number, egress: string, from: object) => ({
  ...{ from: 'old1', to: 'new1', listen: [`tcp/${port}`], drain: '1s', health: { command: 'true' } },
  ...{ egress, egress_from: from },
})
const fleet = {
  fleet: 'egress',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: {
    mail: service(7001, 'new1', { uid: Number(user) }),
    inner: service(7002, 'old1', { source: '172.17.0.0/16' }),
  },
}

withRoot('egress', () => {
  let practice: Practice
  let container: string

  beforeAll(async () => {
    practice = await Practice.start('egress')
    await practice.serve('client2', 'world', ['tcp :: 6000', 'udp :: 6000'])
    const input = readFileSync(join(__dirname, 'fixtures/ask.pl'), 'utf8')
    for (const host of ['old1', 'new1']) await practice.lab.exec(host, ['tee', '/tmp/ask.pl'], { input })
    for (const host of ['old1', 'new1']) await practice.serve(host, host, ['tcp :: 7001', 'tcp :: 7002'])
    container = await practice.container('new1', ['tcp'], ['perl', Practice.echo, 'inner', 'tcp', '::', '8080'])
    await practice.fleet(fleet)
    await practice.must('up', '--json')
  })
  afterAll(() => practice?.end())

  /** The sources that the world sees: TCP and UDP by IPv4, the same by IPv6. */
  async function sources(
    host: string,
    wrap: string,
    families: readonly string[] = [world4, world6],
  ): Promise<string[]> {
    const targets = families.flatMap((address) => ['tcp', 'udp'].map((protocol) => `${protocol} ${address} 6000`))
    const said = await practice.shell(host, `${wrap} ${ask} ${targets.join(' ')}`)
    return said
      .trim()
      .split('\n')
      .map((line) => line.split(' ').slice(0, 2).join(' '))
  }
  const asUser = `setpriv --reuid ${user} --clear-groups --`
  const twice = (...addresses: string[]): string[] => addresses.flatMap((address) => Array(2).fill(`world ${address}`))

  test('before the move, with the new address; other users keep the old one', async () => {
    expect(await sources('old1', asUser)).toEqual(twice(new4, new6))
    expect(await sources('old1', '')).toEqual(twice(old4, old6))
    expect(await sources('new1', asUser)).toEqual(twice(new4, new6))
  })

  test('to the other host itself it goes as before', async () => {
    const said = await practice.shell('old1', `${asUser} ${ask} tcp ${new4} 7001`)
    expect(said).toMatch(/^old1 /)
  })

  test('after the move: containers with the old address, the user where it is', async () => {
    await practice.must('advance', '--all', '--json')
    expect(await sources('new1', asUser)).toEqual(twice(new4, new6))
    expect(await sources('old1', asUser)).toEqual(twice(old4, old6))
    expect(await sources('new1', `nsenter -n -t ${container}`, [world4])).toEqual(twice(old4))
  })

  test('where nothing leaves by the peer, the peer forwards nothing to the world', async () => {
    // Only old1 carries now: what old1 sends by the tunnel of its own accord ends at new1.
    const stray = `ip rule add uidrange ${user}-${user} to 198.18.0.0/15 lookup 5181 pref 10`
    await practice.shell('old1', stray)
    expect((await practice.shell('old1', `${asUser} ${ask} tcp ${world4} 6000`)).trim()).toMatch(/^error: /)
    await practice.shell('old1', 'ip rule del pref 10')
    expect(await sources('old1', asUser)).toEqual(twice(old4, old6))
  })

  test('and back', async () => {
    await practice.must('rollback', 'mail', 'inner', '--json')
    expect(await sources('old1', asUser)).toEqual(twice(new4, new6))
    expect(await sources('new1', `nsenter -n -t ${container}`, [world4])).toEqual(twice(new4))
  })
})
