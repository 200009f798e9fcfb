import { chooseBy, holdersIn, type ProcessFacts, portsOf } from '../../../../agent/flows/listening-processes.js'
import type { ServiceSpec } from '../../../../proto/model/host-spec.js'

const smtp = [{ protocol: 'tcp', from: 25, to: 25 }] as const
/** As ss of iproute2 6.1 prints it. */
const listeners = `udp   UNCONN 0      0            0.0.0.0:53         0.0.0.0:*    users:(("named",pid=31,fd=6),("named",pid=31,fd=7))
tcp   LISTEN 0      100          0.0.0.0:25         0.0.0.0:*    users:(("master",pid=812,fd=13))
tcp   LISTEN 0      100             [::]:25            [::]:*    users:(("master",pid=812,fd=14))
tcp   LISTEN 0      4096               *:2525             *:*    users:(("docker-proxy",pid=990,fd=4))
tcp   LISTEN 0      4096   [fe80::1]%eth0:8025         [::]:*    users:(("sshd",pid=20,fd=3),("systemd",pid=1,fd=79))
tcp   LISTEN 0      5             [::1]:2525          [::]:*
`

test.each([
  ['both families', smtp, [812]],
  ['UDP apart from TCP', [{ protocol: 'udp', from: 1, to: 100 }], [31]],
  ['a range', [{ protocol: 'tcp', from: 2000, to: 2600 }], [990]],
  ['not systemd, which holds sockets for others', [{ protocol: 'tcp', from: 8025, to: 8025 }], [20]],
  ['nobody', [{ protocol: 'tcp', from: 443, to: 443 }], []],
] as const)('who listens: %s', (_what, ports, pids) => expect(holdersIn(listeners, ports)).toEqual(pids))

test('where the process listens elsewhere than its clients think, its own port counts', () => {
  const route = { protocol: 'tcp', address: '198.51.100.10', ports: { from: 443, to: 443 } }
  const routes = [
    { ...route, action: { kind: 'serve', port: 8443 } },
    { ...route, ports: { from: 80, to: 81 }, action: { kind: 'serve', port: 0 } },
  ]
  expect(portsOf({ routes } as unknown as ServiceSpec)).toEqual([
    { protocol: 'tcp', from: 8443, to: 8443 },
    { protocol: 'tcp', from: 80, to: 81 },
  ])
})

const root = { parent: 1, uid: 0, cgroup: '/', name: 'init' }
const processes = (given: Record<number, Partial<ProcessFacts>>): Map<number, ProcessFacts> =>
  new Map(Object.entries(given).map(([pid, facts]) => [Number(pid), { ...root, ...facts }]))

describe('whose connections are the service’s', () => {
  test.each([
    ['/system.slice/system-postfix.slice/postfix@-.service', 'system.slice/system-postfix.slice/postfix@-.service'],
    ['/system.slice/containerd.service/kubepods/pod7', 'system.slice/containerd.service'],
    ['/machine.slice/libpod-8f2a.scope/container', 'machine.slice/libpod-8f2a.scope'],
  ])('of the unit in which it runs: %s', (cgroup, unit) => {
    expect(chooseBy([7], processes({ 7: { cgroup } }))).toEqual({ cgroups: [unit], uids: [] })
  })

  test('without a unit, of its users: also of those that it becomes, but never of root', () => {
    const family = processes({
      7: { name: 'master' },
      // Before its parent in number, as after a wrap.
      3: { parent: 8, uid: 104 },
      8: { parent: 7, uid: 101 },
      9: { parent: 7 },
      50: { parent: 1, uid: 33 },
    })
    expect(chooseBy([7], family)).toEqual({ cgroups: [], uids: ['101', '104'] })
  })

  test.each([
    '/',
    '/init.scope',
    '/user.slice/user-0.slice/session-3.scope',
    '/user.slice/user-0.slice/user@0.service/app.slice',
  ])('root in %s can’t be told apart', (cgroup) => {
    const { cgroups, uids, shared } = chooseBy([7], processes({ 7: { cgroup, name: 'python3' } }))
    expect([cgroups, uids]).toEqual([[], []])
    expect(shared).toBe(`python3 (process 7, root) runs in ${cgroup}, which is no unit of its own`)
  })

  test('Docker’s proxy opens nothing of the container’s', () => {
    const docker = { name: 'docker-proxy', cgroup: '/system.slice/docker.service' }
    expect(chooseBy([7], processes({ 7: docker }))).toEqual({
      cgroups: [],
      uids: [],
      shared: 'docker-proxy (process 7) listens for a container',
    })
  })

  test('a process that has ended since has nothing', () => {
    expect(chooseBy([7], processes({}))).toEqual({ cgroups: [], uids: [] })
  })
})
