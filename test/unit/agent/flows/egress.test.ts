import { setsText } from '../../../../agent/flows/egress-keeper.js'
import { cgroupOfUnit, nobody, readInspected } from '../../../../agent/flows/egress-members.js'

test.each([
  [
    'runs',
    'Id=nginx.service\nSlice=system.slice\nControlGroup=/system.slice/nginx.service',
    ['system.slice/nginx.service'],
  ],
  ['stopped', 'Id=nginx.service\nSlice=system.slice\nControlGroup=', ['system.slice/nginx.service']],
  [
    'of a template, stopped',
    'Id=getty@tty1.service\nSlice=system-getty.slice\nControlGroup=',
    ['system.slice/system-getty.slice/getty@tty1.service'],
  ],
  ['in the root slice', 'Id=a.service\nSlice=-.slice\nControlGroup=', ['a.service']],
  ['unknown', 'Id=\nSlice=\nControlGroup=', []],
])('the cgroup of a unit that %s', (_what, properties, cgroups) => {
  expect(cgroupOfUnit(properties)).toEqual(cgroups)
})

const inspected = (state: object): string => JSON.stringify([state])

test('a container is known by its addresses in all its networks; without an own network by its process', () => {
  const networks = {
    front: { IPAddress: '172.18.0.2', GlobalIPv6Address: 'fd00:1::2' },
    back: { IPAddress: '172.19.0.2', GlobalIPv6Address: '' },
  }
  expect(
    readInspected(
      inspected({ State: { Pid: 7 }, HostConfig: { NetworkMode: 'front' }, NetworkSettings: { Networks: networks } }),
    ),
  ).toEqual({ hostNetwork: false, pid: 7, sources4: ['172.18.0.2', '172.19.0.2'], sources6: ['fd00:1::2'] })
  const host = {
    State: { Pid: 8 },
    HostConfig: { NetworkMode: 'host' },
    NetworkSettings: { Networks: { host: { IPAddress: '' } } },
  }
  expect(readInspected(inspected(host))).toEqual({ hostNetwork: true, pid: 8, sources4: [], sources6: [] })
})

test('what an engine says is not believed to be an address', () => {
  const evil = { NetworkSettings: { Networks: { a: { IPAddress: '1.2.3.4 }; flush ruleset; {' } } } }
  expect(readInspected(inspected(evil)).sources4).toEqual([])
})

test('sets are replaced as a whole, a tunnel each; a cgroup that is not there is left out', () => {
  const found = [
    { ...nobody, tunnel: 1, cgroups: ['system.slice/a.service', 'system.slice/gone.service'] },
    { ...nobody, tunnel: 1, sources4: ['172.18.0.2'] },
    { ...nobody, tunnel: 1, uids: ['101', '102'] },
    { ...nobody, tunnel: 2, sources6: ['fd00:1::2'] },
  ]
  expect(setsText(found, (path) => (path.includes('gone') ? undefined : `unified/${path}`))).toBe(
    `flush set inet fleetmove leaving-cgroups-1
add element inet fleetmove leaving-cgroups-1 { "unified/system.slice/a.service" }
flush set inet fleetmove leaving-uids-1
add element inet fleetmove leaving-uids-1 { 101, 102 }
flush set inet fleetmove leaving4-1
add element inet fleetmove leaving4-1 { 172.18.0.2 }
flush set inet fleetmove leaving6-1
flush set inet fleetmove leaving-cgroups-2
flush set inet fleetmove leaving-uids-2
flush set inet fleetmove leaving4-2
flush set inet fleetmove leaving6-2
add element inet fleetmove leaving6-2 { fd00:1::2 }
`,
  )
})
