/** PostgreSQL with its data directory, moved there and back while pgbench works: nothing is lost, nobody is refused. */
import { existsSync } from 'node:fs'
import { cutOff, leftOf } from './cut-off.js'
import { openAgainAndAgain, openingsText } from './openings.js'
import { type Event, Practice, until, withRoot } from './practice.js'

jest.setTimeout(900_000)

const [old4, old6] = ['203.0.113.10', '2001:db8:a::10']
const [new4, new6] = ['198.51.100.10', '2001:db8:b::10']
const [client1, client2] = [['198.18.0.11', '2001:db8:c::11'], '2001:db8:c::12']
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
      ...{ from: 'old1', to: 'new1', listen: ['tcp/5432'], strategy: 'recreate', hold: '120s', drain: '5s' },
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
# Everybody who has waited comes at once.
max_connections = 1000
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

  /** A session that is open all the time. @returns a function that asks something in it: what is said then */
  async function session(client: string, address: string): Promise<() => Promise<string>> {
    const child = practice.spawn(client, ['psql', '-qAtX', '-h', address, '-U', 'postgres', 'postgres'])
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        said += chunk
      })
    child.stdin?.on('error', () => {})
    child.stdin?.write("select 'here';\n")
    await until('the session', () => said === 'here\n')
    return async () => {
      child.stdin?.end("select 'there';\n")
      await until('the end of the session', () => child.exitCode !== null || child.signalCode !== null)
      return said
    }
  }

  test('there and back with its data: nobody is refused, no transaction is lost', async () => {
    const pooled = await pgbench('client1', old4, '-C -c 4 -R 10')
    const targets = [`${old6}:5432`, `${new4}:5432`]
    const load = { targets, perSecond: 5, say: sslRequest, patienceMs: 300_000 }
    const stop = await openAgainAndAgain(practice, 'client1', load)
    const moves: (readonly Event[])[] = []
    for (const command of ['advance', 'rollback']) {
      const ask = await session('client2', new6)
      const { events } = await practice.must(command, 'postgresql', '--confirm-timeout', '10m', '--json')
      moves.push(events)
      // Who stays when the drain's time is over is cut off, and the move tells of it.
      expect(leftOf(events).get(client2)).toBe(1)
      expect(await ask()).toMatch(cutOff)
      process.stderr.write(`measured: PostgreSQL: ${gapText(events)}\n`)
    }
    const openings = await stop()
    const bench = await pooled()
    process.stderr.write(`measured: PostgreSQL: ${openingsText(openings)}\n`)

    // Nobody is refused or waits in vain. Whoever was in the middle of something when the drain's time was over,
    // as a busy machine may be, is cut off too, and was counted.
    const errors = [...errorsOf(bench.said), ...openings.flatMap(({ failed }) => failed.map(({ error }) => error))]
    expect(errors.filter((error) => !cutOff.test(error))).toEqual([])
    const left = moves.map((events) => leftOf(events))
    const cutOpenings = openings.reduce((sum, { failed }) => sum + failed.length, 0)
    const counted1 = left.flatMap((clients) => client1.map((address) => clients.get(address) ?? 0))
    expect(bench.cutOff + cutOpenings).toBeLessThanOrEqual(counted1.reduce((sum, count) => sum + count, 0))
    for (const [i, events] of moves.entries()) {
      const undrained = [...left[i]!.values()].reduce((sum, count) => sum + count, 0)
      expect(events.at(-1)).toMatchObject({ services: [{ undrained }] })
    }
    const [rows, moved, balance, accounts] = (
      await sql(
        `select (select count(*) from pgbench_history), (select sum(delta) from pgbench_history),
         (select sum(abalance) from pgbench_accounts), (select count(*) from pgbench_accounts)`,
      )
    )
      .split('|')
      .map(Number) as [number, number, number, number]
    expect([balance, accounts]).toEqual([moved, 100_000])
    // What was committed just when its client was cut off is there and counted by nobody.
    expect(rows - bench.transactions).toBeGreaterThanOrEqual(0)
    expect(rows - bench.transactions).toBeLessThanOrEqual(bench.cutOff)
    expect(bench.transactions).toBeGreaterThan(0)
    process.stderr.write(
      `measured: PostgreSQL: ${bench.transactions} transactions told as done, ${rows} in the database\n`,
    )
  })
})

interface Bench {
  transactions: number
  /** Clients that were. */
  cutOff: number
  said: string
}

/** Lines of pgbench's that tell why one of its clients has ended, beside those that tell that one has. */
const errorsOf = (said: string): string[] =>
  said
    .split('\n')
    .filter((line) => /error:|fatal|server closed|could not|time.?out/i.test(line) && !/aborted/.test(line))

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
