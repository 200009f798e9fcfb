/** PostgreSQL with its data directory, moved there and back while pgbench works: nothing is lost, nobody is refused. */
import { existsSync } from 'node:fs'
import { openAgainAndAgain, openingsText } from './openings.js'
import { type Event, Practice, until, withRoot } from './practice.js'

jest.setTimeout(300_000)

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const [new4, new6] = ['198.51.100.10', '2001:db8:b::10']
const bin = '/usr/lib/postgresql/15/bin'
const data = '/srv/postgresql'
const installed = existsSync(`${bin}/postgres`)
if (!installed) process.stderr.write('skipped: PostgreSQL: postgresql-15 is not installed\n')

const asPostgres = 'setpriv --reuid postgres --regid postgres --init-groups --'
const control = `${asPostgres} ${bin}/pg_ctl -s -D ${data} -l ${data}/server.log -w`
const fleet = {
  fleet: 'database',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: [old4, old6] },
    new1: { ssh: `root@${new4}`, addresses: [new4, new6] },
  },
  services: {
    postgresql: {
      ...{ from: 'old1', to: 'new1', listen: ['tcp/5432'], strategy: 'recreate', hold: '10s', drain: '1s' },
      ...{ run: { start: `${control} start`, stop: `${control} -m fast stop` }, data: [data] },
      health: { command: `${bin}/pg_isready -q -h 127.0.0.1` },
    },
  },
}

/** SSLRequest of the frontend/backend protocol (PostgreSQL 15 documentation, 55.7): answered with one byte. */
const sslRequest = '0000000804d2162f'

;(installed ? withRoot : describe.skip)('PostgreSQL', () => {
  let practice: Practice

  const sql = async (query: string): Promise<string> =>
    (await practice.shell('client2', `psql -qAtX -h ${new4} -U postgres postgres -c "${query}"`)).trim()

  beforeAll(async () => {
    practice = await Practice.start('postgresql')
    await practice.shell(
      'old1',
      `install -d -o postgres -g postgres -m 700 ${data}
       ${asPostgres} ${bin}/initdb -D ${data} -A trust -N --no-instructions >/dev/null
       cat >>${data}/postgresql.conf <<'END'
listen_addresses = '*'
unix_socket_directories = ''
shared_buffers = 16MB
dynamic_shared_memory_type = mmap
# The kernel's cache is all that a copy reads; a busy disk would only keep commits from being drained.
fsync = off
END
       printf 'host all all 0.0.0.0/0 trust\\nhost all all ::/0 trust\\n' >>${data}/pg_hba.conf
       ${control} start
       ${bin}/pgbench -i -q -s 1 -h 127.0.0.1 -U postgres postgres 2>/dev/null`,
      60_000,
    )
    await practice.fleet(fleet)
    await practice.must('up', '--json')
  })
  afterAll(() => practice?.end())

  /**
   * pgbench until it is stopped. A client that is cut off ends it, and it begins anew, as an application's pool would.
   * One row each, so that clients don't wait for each other.
   */
  async function pgbench(client: string, address: string, options: string): Promise<() => Promise<Bench>> {
    const run = `${bin}/pgbench -b simple-update ${options} -n -T 4 -h ${address} -U postgres postgres`
    const child = practice.spawn(client, ['sh', '-c', `until [ -e /tmp/stop ]; do ${run}; done`])
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        said += chunk
      })
    return async () => {
      await practice.shell(client, 'touch /tmp/stop')
      await until('the end of pgbench', () => child.exitCode !== null || child.signalCode !== null)
      const counts = [...said.matchAll(/transactions actually processed: (\d+)/g)].map(([, count]) => Number(count))
      const cutOff = said.match(/client \d+ aborted/g)?.length ?? 0
      return { transactions: counts.reduce((sum, count) => sum + count, 0), cutOff, said }
    }
  }

  test('there and back with its data: nobody is refused, no transaction is lost', async () => {
    const pooled = await pgbench('client1', old4, '-C -c 4 -R 40')
    const held = await pgbench('client2', new6, '-c 2 -R 20')
    const targets = [`${old6}:5432`, `${new4}:5432`]
    const stop = await openAgainAndAgain(practice, 'client1', { targets, perSecond: 40, say: sslRequest })
    const moves = [
      await practice.must('advance', 'postgresql', '--json'),
      await practice.must('rollback', 'postgresql', '--json'),
    ]
    const openings = await stop()
    const benches = [await pooled(), await held()] as const
    for (const { events } of moves) process.stderr.write(`measured: PostgreSQL: ${gapText(events)}\n`)
    process.stderr.write(`measured: PostgreSQL: ${openingsText(openings)}\n`)

    expect(openings.flatMap(({ failed }) => failed)).toEqual([])
    for (const { events } of moves)
      expect(events.at(-1)).toMatchObject({ services: [{ undrained: expect.any(Number) }] })
    // Whoever connects for each transaction has noticed nothing; whoever stayed was cut off once for each move.
    expect(benches[0].said).not.toMatch(/error/)
    expect(benches[1].cutOff).toBe(4)
    const counted = benches[0].transactions + benches[1].transactions
    const [rows, moved, balance, accounts] = (
      await sql(
        `select (select count(*) from pgbench_history), (select sum(delta) from pgbench_history),
         (select sum(abalance) from pgbench_accounts), (select count(*) from pgbench_accounts)`,
      )
    )
      .split('|')
      .map(Number) as [number, number, number, number]
    expect([balance, accounts]).toEqual([moved, 100_000])
    // What was committed just when its client was cut off is there and counted by nobody: two clients, two moves.
    expect(rows - counted).toBeGreaterThanOrEqual(0)
    expect(rows - counted).toBeLessThanOrEqual(4)
    process.stderr.write(`measured: PostgreSQL: ${counted} transactions told as done, ${rows} in the database\n`)
  })
})

interface Bench {
  transactions: number
  /** Clients that were. */
  cutOff: number
  said: string
}

/** What the gap is made of, from the move's own account. */
function gapText(events: readonly Event[]): string {
  const parts = events.flatMap(({ type, what, ms }) => {
    const part = /^(drain|stop|last difference|compare data|start|health)/.exec(String(what))?.[1]
    return type === 'end' && part ? [`${part} ${ms}`] : []
  })
  const [moved] = (events.at(-1) as unknown as { services: { active: string; switchMs: number }[] }).services
  const held = events.find(({ type, what }) => type === 'end' && what === 'hold new clients')
  return `to ${moved?.active}: nobody answered for ${moved?.switchMs.toFixed(0)} ms, held ${held?.ms} ms (${parts.join(', ')} ms)`
}
