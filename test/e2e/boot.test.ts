/** A unit goes on to start with the host where its service is, and there alone. The hosts here have a systemctl of their own. */
import { whenLong } from './long.js'
import { Practice, withRoot } from './practice.js'

jest.setTimeout(300_000)

const [old4, new4] = ['203.0.113.10', '198.51.100.10']
const fleet = {
  fleet: 'boot',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4] },
    new1: { ssh: `root@${new4}`, addresses: [new4] },
  },
  services: { web: { from: 'old1', to: 'new1', listen: ['tcp/80'], unit: 'nginx.service', drain: '1s' } },
}
/** As systemctl(1) answers; what is enabled is a file. */
const systemctl = `#!/bin/sh
enabled=/etc/enabled-nginx.service
case "$*" in
"start -- nginx.service") pgrep -x nginx >/dev/null || nginx ;;
"stop -- nginx.service") nginx -s quit; while pgrep -x nginx >/dev/null; do sleep 0.02; done ;;
"is-enabled -- nginx.service") echo 'redirecting to systemd-sysv-install' >&2
  if [ -e $enabled ]; then echo enabled; else echo disabled; exit 1; fi ;;
"enable -- nginx.service") : >$enabled ;;
"disable -- nginx.service") rm -f $enabled ;;
*) echo "unknown: $*" >&2; exit 64 ;;
esac
`

withRoot('a unit that starts with its host', () => {
  let practice: Practice

  beforeAll(async () => {
    practice = await Practice.start('boot')
    for (const host of ['old1', 'new1'])
      await practice.shell(
        host,
        `cat >/usr/local/bin/systemctl <<'END'\n${systemctl}END\nchmod 755 /usr/local/bin/systemctl`,
      )
    await practice.shell('old1', 'touch /etc/enabled-nginx.service')
    await practice.fleet(fleet)
    await practice.must('up', '--json')
  })
  afterAll(() => practice?.end())

  const enabled = async (): Promise<string[]> => {
    const hosts = ['old1', 'new1']
    const said = await Promise.all(
      hosts.map((host) => practice.shell(host, 'systemctl is-enabled -- nginx.service || :')),
    )
    return hosts.filter((_, i) => said[i] === 'enabled\n')
  }

  test('it moves with its service, and down puts it back', async () => {
    await practice.must('advance', 'web', '--json')
    expect(await enabled()).toEqual(['new1'])
    await practice.must('down', '--json')
    expect(await enabled()).toEqual(['old1'])
  })

  const long = whenLong(test, 'a unit that was enabled on both hosts')

  long('one that was enabled on both is so again after down', async () => {
    await practice.shell('new1', 'touch /etc/enabled-nginx.service')
    await practice.must('up', '--json')
    await practice.must('advance', 'web', '--json')
    expect(await enabled()).toEqual(['new1'])
    await practice.must('rollback', 'web', '--json')
    expect(await enabled()).toEqual(['old1'])
    await practice.must('down', '--json')
    expect(await enabled()).toEqual(['old1', 'new1'])
  })

  test('finalize leaves it where the service is', async () => {
    await practice.must('up', '--json')
    await practice.must('advance', 'web', '--json')
    await practice.must('finalize', '--force', '--json')
    expect(await enabled()).toEqual(['new1'])
  })
})
