import { parsePresence, parseSurvey } from '../../../../controller/discover/parse-survey.js'

const survey = (...lines: string[]) => parseSurvey(`${lines.join('\n')}\ns.end\tend\n`)!

it('takes no torn record', () => {
  expect(parseSurvey('s.listener\ttcp LISTEN 0 1 *:80 *:*\n')).toBeUndefined()
})

it("reads ss's listeners, whatever they are bound to", () => {
  const { listeners } = survey(
    's.listener\ttcp   LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=8,fd=6),("nginx",pid=7,fd=6))',
    's.listener\ttcp   LISTEN 0 511 *:443 *:* users:(("a (b",pid=9,fd=6))',
    's.listener\tudp   UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*',
    's.listener\tudp   UNCONN 0 0 [::]:53 [::]:*',
    's.listener\ttcp   LISTEN 0 1 [2001:DB8::1]:25 [::]:*',
    's.listener\tsctp  LISTEN 0 1 0.0.0.0:9 0.0.0.0:*',
  )
  expect(listeners.map(({ protocol, bound, port, pids }) => [protocol, bound, port, pids])).toEqual([
    ['tcp', '4', 80, [8, 7]],
    ['tcp', 'both', 443, [9]],
    ['udp', '127.0.0.53', 53, []],
    ['udp', '6', 53, []],
    ['tcp', '2001:db8::1', 25, []],
  ])
})

it("reads the kernel's own tables where there is no ss", () => {
  const { listeners } = survey(
    's.socket\ttcp 0A7100CB:0050 11',
    's.socket\ttcp 00000000:0016 12',
    's.socket\ttcp6 00000000000000000000000000000000:0016 13',
    's.socket\ttcp6 00000000000000000000000000000000:1F90 14',
    's.socket\tudp6 B80D0120000000000000000001000000:0035 15',
    's.owner\t11 700',
    's.owner\t11 701',
    's.owner\t14 702',
  )
  expect(listeners.map(({ protocol, bound, port, pids }) => [protocol, bound, port, pids])).toEqual([
    ['tcp', '203.0.113.10', 80, [700, 701]],
    ['tcp', '4', 22, []],
    ['tcp', '6', 22, []],
    // Nobody has the port in IPv4, so this socket does.
    ['tcp', 'both', 8080, [702]],
    ['udp', '2001:db8::1', 53, []],
  ])
})

it.each([
  ['0::/system.slice/nginx.service', 'nginx.service', undefined],
  ['0::/system.slice/system-postgresql.slice/postgresql@15-main.service', 'postgresql@15-main.service', undefined],
  ['1:name=systemd:/system.slice/cron.service', 'cron.service', undefined],
  ['0::/user.slice/user-1000.slice/session-3.scope', undefined, undefined],
  ['0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service', undefined, undefined],
  [`0::/system.slice/docker-${'a'.repeat(64)}.scope`, undefined, 'a'.repeat(64)],
  [`0::/docker/${'b'.repeat(64)}`, undefined, 'b'.repeat(64)],
  [`0::/machine.slice/libpod-${'c'.repeat(64)}.scope/container`, undefined, 'c'.repeat(64)],
  ['', undefined, undefined],
])('knows whose %s is', (group, unit, container) => {
  const { processes } = survey('s.name\t7 name with spaces', `s.group\t7 ${group}`, 's.program\t7 /usr/bin/x (deleted)')
  expect(processes.get(7)).toMatchObject({ name: 'name with spaces', unit, container, program: '/usr/bin/x' })
})

it('passes over what it does not understand', () => {
  const odd = survey(
    's.container\t{"torn',
    's.flow\tZZ 1 1 0',
    's.flow\t0050 x',
    's.unit\tId',
    's.activation\tx',
    'noise',
  )
  expect(odd).toMatchObject({ containers: [], flows: [], sockets: [], listeners: [] })
  expect(odd.units.size).toBe(0)
  expect(odd.ephemeral).toEqual({ from: 32768, to: 60999 })
})

it("leaves out what a container is given of the host's own", () => {
  const mounts = ['/srv/data', '/var/run/docker.sock', '/etc/localtime', '/proc', '/'].map((Source) => ({
    Type: 'bind',
    Source,
    Destination: Source,
    RW: true,
  }))
  const record = { id: 'a', name: '/x', image: 'i', labels: null, ports: null, mounts, pid: 3 }
  const { containers } = survey(`s.container\t${JSON.stringify(record)}`, 's.containerflow\t3 0050 4 2 0')
  expect(containers).toMatchObject([
    { name: 'x', mounts: [{ source: '/srv/data' }], flows: [{ port: 80, connections: 4, clients: 2 }] },
  ])
})

it('reads what the new host has', () => {
  const has = parsePresence('exe:/usr/sbin/a b\nunit:x.service\ndir:/srv\n')
  expect([...has.programs, ...has.units, ...has.full, ...has.containers]).toEqual([
    '/usr/sbin/a b',
    'x.service',
    '/srv',
  ])
})
