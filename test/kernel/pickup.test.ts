/**
 * Connections that stand when our table makes the kernel track: whoever talks first then, a second connection
 * from the same client port, out of the tunnel, must not meet the first one's socket.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { adopt } from '../../agent/flows/adopt.js'
import { type Conntrack, type ConntrackEntry, openConntrack } from '../../agent/kernel/conntrack.js'
import { routeMark, routeMask } from '../../agent/plan/own.js'
import { ruleset } from '../../agent/plan/ruleset.js'
import { name, new4, new6, old4, old6, serve, service, spec, tunnel } from '../unit/agent/plan/specs.js'
import { NamespaceHost, until } from './namespace-host.js'
import { inOwnNamespace } from './netns.js'

const own = { 4: new4, 6: new6 } as const
const forwarded = { 4: old4, 6: old6 } as const
const client = { 4: '198.18.0.11', 6: '2001:db8:c::11' } as const
type Family = 4 | 6

/**
 * Connects straight to the host and prints what it hears; told `again` it connects from the same port by the
 * forwarder. A line for each thing that happens.
 */
const clientProgram = `
const { connect } = require('node:net')
const [own, forwarded, source, port, allowHalfOpen] = process.argv.slice(1)
const say = (text) => process.stdout.write(text + '\\n')
const open = (host, title) => {
  const socket = connect({ host, port: 80, localAddress: source, localPort: Number(port), allowHalfOpen: allowHalfOpen === 'true' })
  socket.on('connect', () => say(title + ' connected'))
  socket.on('data', (data) => say(title + ' heard ' + data))
  socket.on('end', () => say(title + ' ended'))
  socket.on('error', (error) => say(title + ' ' + error.code))
  return socket
}
const first = open(own, 'first')
process.stdin.on('data', (data) => {
  const word = String(data).trim()
  if (word === 'again') open(forwarded, 'second')
  else if (word === 'afresh') open(own, 'third')
  else if (word === 'end') first.end()
  else first.write(word)
})
`

const tunnelSpec = tunnel(1)
const web = service('web', [serve(['tcp', 80], new4), serve(['tcp', 80], new6)], { active: name('new') })
const table = (services: (typeof web)[]): string =>
  ruleset({
    spec: spec([tunnelSpec], services),
    devices: new Map([[1, 'fm1']]),
    uplinks: ['eth0'],
    opened4: [],
    opened6: false,
  }).text
const load = (text: string): void => {
  writeFileSync('/run/rules.nft', text)
  execFileSync('nft', ['-f', '/run/rules.nft'])
}
const sh = (script: string): void => void execFileSync('sh', ['-ec', script])

inOwnNamespace(__filename, () => {
  let conntrack: Conntrack
  let far: NamespaceHost
  let forwarder: NamespaceHost
  let server: Server
  let nextPort = 40_000
  const accepted = new Map<string, Socket>()

  beforeAll(async () => {
    far = await NamespaceHost.start('client')
    forwarder = await NamespaceHost.start('forwarder')
    await far.sh(`
      ip link add eth0 type veth peer name eth0 netns ${process.pid}
      ip addr add ${client[4]}/32 dev lo; ip addr add ${client[6]}/128 dev lo nodad
      ip link set eth0 up
    `)
    await far.join(forwarder, 'eth1', 'eth1')
    await forwarder.sh(`ip link add fm1 type veth peer name fm1 netns ${process.pid}; ip link set fm1 up`)
    sh(`
      for each in all default eth0 fm1; do echo 0 >/proc/sys/net/ipv4/conf/$each/rp_filter; done
      ip link set eth0 up; ip link set fm1 up
      ip addr add ${new4}/32 dev lo; ip addr add ${new6}/128 dev lo nodad
      ip addr add ${tunnelSpec.local4}/30 dev fm1; ip addr add ${tunnelSpec.local6}/126 dev fm1 nodad
      ip route add ${client[4]}/32 dev eth0; ip addr add fe80::1/64 dev eth0 nodad
      ip -6 route add ${client[6]}/128 via fe80::9 dev eth0
      ip rule add fwmark ${routeMark(1)}/${routeMask} lookup 5181
      ip -6 rule add fwmark ${routeMark(1)}/${routeMask} lookup 5181
      ip route add default via ${tunnelSpec.peer4} dev fm1 table 5181
      ip -6 route add default via ${tunnelSpec.peer6} dev fm1 table 5181
    `)
    await far.sh(`
      ip route add ${new4}/32 dev eth0 src ${client[4]}; ip addr add fe80::9/64 dev eth0 nodad
      ip -6 route add ${new6}/128 via fe80::1 dev eth0
      ip addr add fe80::9/64 dev eth1 nodad
      ip route add ${old4}/32 dev eth1 src ${client[4]}; ip -6 route add ${old6}/128 via fe80::1 dev eth1
    `)
    await forwarder.sh(`
      echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
      for each in all default eth1 fm1; do echo 0 >/proc/sys/net/ipv4/conf/$each/rp_filter; done
      ip addr add ${old4}/32 dev lo; ip addr add ${old6}/128 dev lo nodad
      ip addr add fe80::1/64 dev eth1 nodad
      ip addr add ${tunnelSpec.peer4}/30 dev fm1; ip addr add ${tunnelSpec.peer6}/126 dev fm1 nodad
      ip route add ${client[4]}/32 dev eth1; ip -6 route add ${client[6]}/128 via fe80::9 dev eth1
      ip route add ${new4}/32 via ${tunnelSpec.local4} dev fm1
      ip -6 route add ${new6}/128 via ${tunnelSpec.local6} dev fm1
      nft add table inet f; nft 'add chain inet f p { type nat hook prerouting priority -110; }'
      nft add rule inet f p ip daddr ${old4} dnat ip to ${new4}; nft add rule inet f p ip6 daddr ${old6} dnat ip6 to ${new6}
    `)
    // Neighbours are found before anything is measured.
    const answers =
      (...argv: string[]) =>
      async (): Promise<boolean> =>
        forwarder.succeeds('ping', '-c1', '-W1', ...argv)
    for (const address of [tunnelSpec.local4, tunnelSpec.local6, 'fe80::9%eth1', client[4]])
      await until(`an answer of ${address}`, 10_000, answers(address))
    conntrack = openConntrack()
  })
  afterAll(async () => {
    conntrack.close()
    await Promise.all([far.end(), forwarder.end()])
  })

  beforeEach(async () => {
    server = createServer({ allowHalfOpen: true }, (socket) => {
      accepted.set(`${socket.remoteAddress!.replace('::ffff:', '')} ${socket.remotePort}`, socket)
      socket.on('data', (data) => socket.write(data))
      socket.on('end', () => socket.end())
      socket.on('error', () => {})
    })
    server.listen(80, '::')
    await once(server, 'listening')
  })
  afterEach(async () => {
    for (const socket of accepted.values()) socket.destroy()
    accepted.clear()
    await new Promise((resolve) => server.close(resolve))
    sh('nft delete table inet fleetmove; conntrack -F 2>/dev/null')
  })

  const start = async (family: Family, halfOpen = false) => {
    const port = nextPort++
    const program = far.spawn([
      ...[process.execPath, '-e', clientProgram, own[family], forwarded[family], client[family]],
      ...[String(port), String(halfOpen)],
    ])
    const hears = (line: string): Promise<number> =>
      until(`"${line}" from the client`, 8000, async () => program.log.includes(line))
    await hears('first connected')
    const key = `${client[family]} ${port}`
    await until('the server to accept', 5000, async () => accepted.has(key))
    return { say: program.say, stop: program.stop, hears, port, socket: accepted.get(key)! }
  }
  const entriesOf = async (port: number): Promise<ConntrackEntry[]> => {
    const entries: ConntrackEntry[] = []
    await conntrack.walk({ protocol: 'tcp' }, (entry) => {
      if (entry.original.sourcePort === port || entry.original.destinationPort === port) entries.push(entry)
    })
    return entries
  }
  /** SYNs that a host in the client's namespace had to send again. */
  const repeated = async (): Promise<number> =>
    Number(/TcpExtTCPSynRetrans\s+(\d+)/.exec(await far.sh('nstat -asz TcpExtTCPSynRetrans'))?.[1])

  test('a client that opens a new connection from the port of one that has ended is tracked anew', async () => {
    // Else its opening packet would follow the old entry, past the rules: to a service that has moved away.
    const first = await start(4)
    first.socket.end()
    await first.hears('first ended')
    await until('TIME-WAIT', 5000, async () =>
      /TIME-WAIT/.test(execFileSync('ss', ['-Hant', `dport = :${first.port}`], { encoding: 'utf8' })),
    )
    load(table([]))
    await adopt(conntrack)
    load(table([web]))
    expect(await entriesOf(first.port)).toMatchObject([{ tcpState: 'time-wait' }])
    // From now on new connections go elsewhere: to where nobody listens.
    sh("nft add table inet moved; nft 'add chain inet moved pre { type nat hook prerouting priority -120; }'")
    sh(`nft add rule inet moved pre tcp dport 80 dnat ip to ${new4}:81`)
    first.say('afresh')
    await first.hears('third ECONNREFUSED')
    sh('nft delete table inet moved')
    await first.stop()
  })

  const cases: [string, { before?: 'server' | 'client'; closes?: boolean; after?: 'server' | 'client' }][] = [
    ['the server talks first', { before: 'server' }],
    ['the client talks first', { before: 'client' }],
    ['nobody talks', {}],
    ['nobody talks until the second one is there', { after: 'server' }],
    ['the server has closed its side', { before: 'server', closes: true }],
  ]
  describe.each([4, 6] as const)('IPv%d', (family) => {
    test.each(cases)('%s', async (_title, { before, closes, after }) => {
      const first = await start(family, closes)
      // As `up` does: the frame, by which the kernel begins to track, then the services.
      load(table([]))
      if (before === 'server') {
        first.socket.write('news')
        await first.hears('first heard news')
      } else if (before === 'client') {
        first.say('hello')
        await first.hears('first heard hello')
      }
      if (closes) {
        first.socket.end()
        await first.hears('first ended')
      }
      await adopt(conntrack)
      load(table([web]))
      const [entry] = await entriesOf(first.port)
      expect(entry?.original).toMatchObject({ source: client[family], sourcePort: first.port, destinationPort: 80 })

      const again = await repeated()
      first.say('again')
      await first.hears('second connected')
      expect((await repeated()) - again).toBe(0)
      if (after === 'server') first.socket.write('late')
      if (after === 'server') await first.hears('first heard late')
      if (closes) first.say('end')
      else {
        first.say('still')
        await first.hears('first heard still')
      }
      await first.stop()
    })
  })
})
