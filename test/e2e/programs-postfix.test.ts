/** Postfix with its queue and mailboxes, moved under load; and the proof that strangers can't send through the forward. */
import { existsSync } from 'node:fs'
import { isLong } from './long.js'
import { Practice, until, withRoot } from './practice.js'

jest.setTimeout(300_000)

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const [new4, new6] = ['198.51.100.10', '2001:db8:b::10']
const installed = existsSync('/usr/sbin/smtp-source') && existsSync('/usr/sbin/postfix')
if (!installed) process.stderr.write('skipped: Postfix: postfix is not installed\n')

const home = '/srv/postfix'
const fleet = {
  fleet: 'mail',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: {
    mail: {
      ...{ from: 'old1', to: 'new1', listen: ['tcp/25'], strategy: 'recreate', hold: '10s', drain: '2s' },
      ...{ run: { start: `postfix -c ${home}/etc start`, stop: `postfix -c ${home}/etc stop` }, data: [home] },
    },
  },
  vantages: { outside: { ssh: 'root@198.18.0.12' } },
}

interface Proof {
  what: string
  prober: string
  ingress: string
  verdict: { kind: string; cause: string }
}

;(installed ? withRoot : describe.skip)('Postfix', () => {
  let practice: Practice

  beforeAll(async () => {
    practice = await Practice.start('postfix')
    // It trusts the peer, as servers of one owner often do: an ordinary forward would make it an open relay.
    await practice.shell(
      'old1',
      `mkdir -p ${home}/etc ${home}/spool ${home}/log
       install -d -o postfix ${home}/lib ${home}/mail
       cp /etc/postfix/master.cf ${home}/etc
       cat >${home}/etc/main.cf <<END
compatibility_level = 3.6
queue_directory = ${home}/spool
data_directory = ${home}/lib
maillog_file = ${home}/log/mail.log
maillog_file_prefixes = ${home}
myhostname = mail.practice.test
mydestination =
mynetworks = 127.0.0.0/8, 169.254.0.0/16, [fd00::]/8, ${old4}/32, ${new4}/32
inet_protocols = all
smtpd_peername_lookup = no
virtual_mailbox_domains = practice.test
virtual_mailbox_base = ${home}/mail
virtual_mailbox_maps = static:all/
virtual_minimum_uid = 1
virtual_uid_maps = static:$(id -u postfix)
virtual_gid_maps = static:$(id -g postfix)
END
       postconf -c ${home}/etc -F '*/*/chroot = n'
       postfix -c ${home}/etc start`,
    )
    await practice.fleet(fleet)
    await practice.must('up', '--json')
  })
  afterAll(() => practice?.end())

  async function relayProofs(code: number): Promise<Proof[]> {
    const { events } = await practice.expect('verify', code)
    return (events.at(-1)!.proofs as Proof[]).filter(({ what }) => what === 'relay')
  }

  test('from outside, by the other host’s address: the server sees who asks, and doesn’t relay', async () => {
    const proofs = await relayProofs(0)
    expect(proofs.map(({ prober, ingress }) => `${prober} by ${ingress}`).sort()).toEqual([
      ...Array(2).fill('outside by new1'),
      ...Array(2).fill('this machine by new1'),
    ])
    for (const { verdict } of proofs) {
      expect(verdict.kind).toBe('preserved')
      expect(verdict.cause).toMatch(
        /relay refused \("454 4\.7\.1 .*Relay access denied"\); a socket of .* has the peer/,
      )
    }
    // Nothing but the question was asked.
    expect(
      await practice.shell(
        'old1',
        `find ${home}/mail ${home}/spool -type f -newer ${home}/etc/main.cf -size +0 -path '*/new/*'`,
      ),
    ).toBe('')
  })

  test('with a masquerade in the way, which would make it an open relay: verify fails with exit 5', async () => {
    await practice.shell(
      'new1',
      `nft 'table inet fault { chain hide { type nat hook postrouting priority srcnat; oifname "fm*" masquerade; }; }'`,
    )
    const proofs = await relayProofs(5)
    expect(new Set(proofs.map(({ verdict }) => verdict.kind))).toEqual(new Set(['open-relay']))
    expect(proofs[0]!.verdict.cause).toMatch(/takes mail for example\.com .*, straight it refuses that/)
    await practice.shell('new1', 'nft delete table inet fault')
  })

  async function move(command: string): Promise<number> {
    const { events } = await practice.must(command, 'mail', '--json')
    const [moved] = events.at(-1)!.services as { switchMs: number }[]
    return Math.round(moved!.switchMs)
  }

  test('moved with its mail while mail comes in: none is lost, none is doubled, nobody is refused', async () => {
    const loads = [old4, new4, `[${old6}]`, `[${new6}]`].map((address, i) => {
      // New connections all the time; smtp-source ends with an error where one fails.
      const batch = `smtp-source -c -s 2 -m 4 -l 2000 -f sender@client.test -t ${i}@practice.test ${address}:25`
      const child = practice.spawn(i % 2 === 0 ? 'client1' : 'client2', [
        'bash',
        '-c',
        `until [ -e /tmp/stop ]; do if ${batch} >/dev/null; then echo sent; else echo failed; fi; sleep 0.2; done`,
      ])
      let said = ''
      for (const stream of [child.stdout, child.stderr])
        stream?.on('data', (chunk: Buffer) => {
          said += chunk
        })
      return { child, said: () => said }
    })
    await until('mail', () => loads.every(({ said }) => said().includes('sent')))
    const gaps = [await move('advance')]
    if (isLong) gaps.push(await move('rollback'), await move('advance'))
    for (const client of ['client1', 'client2']) await practice.shell(client, 'touch /tmp/stop')
    await until('the end of the load', () => loads.every(({ child }) => child.exitCode !== null))
    const said = loads.map((load) => load.said()).join('')
    const sent = 4 * (said.match(/^sent$/gm)?.length ?? 0)
    process.stderr.write(
      `measured: Postfix: ${sent} messages sent meanwhile; nobody answered for ${gaps.join(', ')} ms\n`,
    )
    expect(said.replace(/^sent$/gm, '').trim()).toBe('')
    const delivered = async (): Promise<string[]> =>
      (await practice.shell('new1', `find ${home}/mail -path '*/new/*' -type f -exec grep -hi '^Message-Id' {} +`))
        .trim()
        .split('\n')
    await until('all of them in the mailboxes', async () => (await delivered()).length >= sent)
    const ids = await delivered()
    expect([ids.length, new Set(ids).size]).toEqual([sent, sent])
    // Now it is the new server that refuses, by the old host's address.
    const proofs = await relayProofs(0)
    expect(proofs.map(({ ingress, verdict }) => `${ingress} ${verdict.kind}`)).toEqual(Array(4).fill('old1 preserved'))
  })
})
