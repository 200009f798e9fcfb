/** `npm run chaos`: torments a practice network by chance that can be repeated, and reports. */
import { parseArgs } from 'node:util'
import { type FaultName, faultNames } from './faults.js'
import { startChaos } from './fleet.js'
import { type CommandName, commands } from './phase.js'
import { Report } from './report.js'
import { everyMoment, prepare, round } from './round.js'
import { soak } from './soak.js'

const usage = `usage: npm run chaos -- [--seed N] [--minutes N | --rounds N | --round N] [--every] [--from N] [--faults a,b] [--commands a,b]
       npm run chaos -- --soak [--minutes 20] [--rate 500]
faults: ${faultNames.join(', ')}
commands: ${Object.keys(commands).join(', ')}
`

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      minutes: { type: 'string' },
      soak: { type: 'boolean', default: false },
      rate: { type: 'string', default: '500' },
      rounds: { type: 'string' },
      round: { type: 'string' },
      every: { type: 'boolean', default: false },
      from: { type: 'string', default: '0' },
      faults: { type: 'string', default: faultNames.join(',') },
      commands: { type: 'string', default: Object.keys(commands).join(',') },
    },
  })
  const allowed = values.faults.split(',') as FaultName[]
  const only = values.commands.split(',') as CommandName[]
  const strange = [
    ...allowed.filter((name) => !faultNames.includes(name)),
    ...only.filter((name) => !(name in commands)),
  ]
  if (strange.length > 0) throw new TypeError(`there is no ${strange.join(', ')}`)
  const say = (text: string): void => void process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`)
  if (values.soak) {
    const { text, violations } = await soak({ minutes: Number(values.minutes ?? 20), rate: Number(values.rate), say })
    process.stdout.write(text)
    return violations.length === 0 ? 0 : 1
  }
  const seed = values.seed ?? String(Math.floor(Math.random() * 1e6))
  const until = Date.now() + Number(values.minutes ?? 30) * 60_000
  const report = new Report()
  const practice = await startChaos(`chaos-${process.pid}`)
  const stop = (): void => {
    process.stdout.write(report.text())
    void practice.end().finally(() => process.exit(130))
  }
  process.on('SIGINT', stop).on('SIGTERM', stop)
  say(`seed ${seed}; faults: ${allowed.join(', ')}`)
  try {
    const torment = await prepare(practice, report)
    for (const [name, moments] of torment.moments) say(`${name}: ${moments.length} moments`)
    if (values.every) {
      for await (const number of everyMoment(torment, { faults: allowed, only, from: Number(values.from) })) {
        say(`round ${number}, ${report.violations.length} violations`)
        if (Date.now() > until) break
      }
    } else {
      const [from, to] = values.round
        ? [Number(values.round), Number(values.round) + 1]
        : [Number(values.from), Number(values.from) + Number(values.rounds ?? 1e9)]
      for (let number = from; number < to && Date.now() < until; number++) {
        await round(torment, { seed, number, faults: allowed, only })
        say(`round ${number}, ${report.violations.length} violations`)
      }
    }
  } catch (error) {
    report.violation(undefined, `ended early: ${(error as Error).stack}`)
  } finally {
    await practice.end()
  }
  process.stdout.write(report.text())
  return report.violations.length === 0 ? 0 : 1
}

main().then(
  (code) => process.exit(code),
  (error: Error) => {
    process.stderr.write(`${error instanceof TypeError ? `${error.message}\n${usage}` : error.stack}\n`)
    process.exit(error instanceof TypeError ? 64 : 1)
  },
)
