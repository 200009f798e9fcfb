/** npm run bench [-- NAME] [-- --rounds N] [--out FILE]: measures, prints tables, and writes JSON. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { table } from '../../cli/render/table.js'
import { benches } from './benches.js'

const usage = `npm run bench -- [NAME…] [--rounds N] [--out FILE]\n${benches.map(({ name, description }) => `  ${name.padEnd(10)} ${description}\n`).join('')}`

/** What the figures depend on besides fleetmove. */
function machine(): Record<string, string> {
  const version = (program: string, ...args: string[]): string => {
    try {
      return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n')[0]!
    } catch {
      return 'not installed'
    }
  }
  return {
    at: new Date().toISOString(),
    commit: version('git', 'rev-parse', '--short', 'HEAD'),
    kernel: release(),
    processors: `${cpus().length} × ${cpus()[0]?.model.trim()}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    load: readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 3).join(' '),
    node: process.version,
    nft: version('nft', '--version'),
    nginx: version('sh', '-c', 'nginx -v 2>&1'),
    haproxy: version('haproxy', '-v'),
  }
}

export async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { rounds: { type: 'string' }, out: { type: 'string' }, help: { type: 'boolean' } },
  })
  const chosen = positionals.length === 0 ? benches : benches.filter(({ name }) => positionals.includes(name))
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds)
  const unknown = positionals.filter((name) => !benches.some((bench) => bench.name === name))
  if (values.help || unknown.length > 0 || (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0))) {
    process.stderr.write(usage)
    return values.help ? 0 : 64
  }
  const found = machine()
  process.stdout.write(`${table(Object.entries(found))}\n`)
  const results = []
  for (const { name, run } of chosen) {
    const tables = await run({ rounds, say: (text) => void process.stderr.write(`${text}\n`) })
    results.push({ name, tables })
    for (const { title, rows, notes } of tables) {
      const columns = Object.keys(rows[0] ?? {})
      const cells = rows.map((row) => columns.map((column) => String(row[column])))
      process.stdout.write(
        `${title}\n\n${table([columns, ...cells])}\n${notes.map((note) => `- ${note}\n`).join('')}\n`,
      )
    }
  }
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify({ machine: found, results }, null, 2)}\n`)
  return 0
}
