/** From two addresses to forwarding: what init writes is good as it stands, and asking leaves nothing on the hosts. */
import { endPractices, main, type Practice, startPractice, withRoot } from './practice.js'

jest.setTimeout(300_000)
afterAll(endPractices)

withRoot('init', () => {
  let practice: Practice
  beforeAll(async () => {
    practice = await startPractice(`init-${process.pid}`, (lab) =>
      lab.shell('controller', 'rm /root/fleet.yaml').then(() => {}),
    )
  })

  test('a pair of addresses → a file that plan and up take as it is', async () => {
    const drafted = await practice.expect('init root@203.0.113.10 root@198.51.100.10 -o fleet.yaml')
    expect(drafted.events.at(-1)).toMatchObject({
      type: 'result',
      file: 'fleet.yaml',
      draft: {
        services: [
          { name: 'nginx', from: 'old', to: 'new', listen: [{ protocol: 'tcp', from: 80 }], strategy: 'rolling' },
        ],
        left: [{ what: 'sshd tcp/22' }],
      },
    })
    // Read-only: on the hosts nothing has changed but what logins write.
    expect((await practice.leftovers()).filter((line) => !line.includes('controller'))).toEqual([])
    // Changes are pending, and nothing is in their way.
    await practice.expect('plan', 2)
    const up = await practice.expect('up')
    expect(up.events.at(-1)).toMatchObject({ type: 'result' })
    await practice.expect('down')
  })

  test('a file that is there is not replaced, unless told so', async () => {
    await practice.shell('controller', 'echo mine >/root/fleet.yaml')
    const { stderr } = await practice.expect('init old1 new1 -o fleet.yaml', 64)
    expect(stderr).toContain('--force')
    expect(await practice.shell('controller', 'cat /root/fleet.yaml')).toBe('mine\n')
    await practice.expect('init old1 new1 --force -o fleet.yaml')
    expect(await practice.shell('controller', 'head -n 1 /root/fleet.yaml')).toContain('fleetmove init')
  })

  test('a failure leaves no file behind', async () => {
    await practice.expect('init deploy@old1 deploy@new1 -o never.yaml', 1)
    await practice.expect('init old1 old1 -o never.yaml', 64)
    await practice.shell('controller', 'test ! -e /root/never.yaml')
  })

  test('many pairs, by sudo, one of them behind address translation; and without ss', async () => {
    await practice.shell('old1', 'ln -s /bin/false /usr/local/sbin/ss')
    const text = await practice.shell(
      'controller',
      `printf 'deploy@old1 deploy@new1\\n# the second\\n\\nold2 198.51.100.20\\n' |
         ${process.execPath} ${main} init --stdin --become sudo -o - 2>/dev/null`,
    )
    await practice.shell('old1', 'rm /usr/local/sbin/ss')
    expect(text).toContain('become: sudo')
    expect(text).toMatch(/CHECK: 198\.51\.100\.20 is on no interface/)
    expect(text).toMatch(/^ {2}nginx:\n {4}from: old1\n {4}to: new1/m)
    expect(text).toMatch(/^ {2}nginx-2:\n {4}from: old2\n {4}to: new/m)
  })
})
