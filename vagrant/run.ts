/** `npm run test:vagrant [-- SCENARIO…] [--substrate NAME] [--keep]`: runs scenarios, and ends with a table. */
import { parseArgs } from 'node:util'
import { vagrantMaker } from './machines/vagrant.js'
import { namespacesMaker } from './namespaces/namespaces.js'
import { nspawnMaker } from './nspawn/nspawn.js'
import { scenarios } from './scenarios/all.js'
import { type Scenario, usualHosts } from './scenarios/scenario.js'
import type { SubstrateMaker } from './substrate.js'
import { World } from './world.js'

const substrates = ['vagrant', 'nspawn', 'namespaces']

function makerOf(
  name: string,
  repository: string,
  chosen: readonly Scenario[],
  keep: boolean,
): SubstrateMaker | undefined {
  const hosts = [...new Set(chosen.flatMap((scenario) => scenario.hosts ?? usualHosts))]
  if (name === 'nspawn') return nspawnMaker(repository)
  if (name === 'namespaces') return namespacesMaker(repository)
  return name === 'vagrant' ? vagrantMaker(repository, hosts, keep) : undefined
}

interface Row {
  name: string
  outcome: 'passed' | 'FAILED' | 'skipped'
  seconds: number
  /** Why it was skipped, or the first line of why it failed. */
  why: string
}

const since = (start: number): number => (performance.now() - start) / 1000
const say = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

/** @returns the process's exit code */
export async function runScenarios(repository: string, args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      substrate: { type: 'string', default: 'vagrant' },
      keep: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
  })
  if (values.list) {
    for (const { name, title } of scenarios) process.stdout.write(`${name.padEnd(24)} ${title}\n`)
    return 0
  }
  const unknown = positionals.filter((name) => !scenarios.some((scenario) => scenario.name === name))
  if (unknown.length > 0) return refuse(`there is no scenario ${unknown.join(', ')}`, scenarios)
  // In the order in which they are named: who has little time begins with what matters most.
  const named = positionals.flatMap((wanted) => scenarios.filter(({ name }) => name === wanted))
  const chosen = positionals.length === 0 ? scenarios : named
  const maker = makerOf(values.substrate, repository, chosen, values.keep)
  if (!maker)
    return refuse(
      `there is no substrate ${values.substrate}`,
      substrates.map((name) => ({ name })),
    )
  const rows = await runOn(maker, chosen, repository, values.keep)
  printTable(maker.name, rows)
  return rows.some(({ outcome }) => outcome === 'FAILED') ? 1 : 0
}

function refuse(message: string, there: readonly { name: string }[]): number {
  say(`${message}; there are ${there.map(({ name }) => name).join(', ')}`)
  return 64
}

async function runOn(
  maker: SubstrateMaker,
  chosen: readonly Scenario[],
  repository: string,
  keep: boolean,
): Promise<Row[]> {
  const skipped = (name: string, why: string): Row => ({ name, outcome: 'skipped', seconds: 0, why })
  const never = await maker.whyNot()
  if (never) return chosen.map(({ name }) => skipped(name, never))
  const rows: Row[] = []
  const start = performance.now()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void takeDown(maker, signal))
  try {
    await maker.prepare(say)
    say(`${maker.name} is ready after ${since(start).toFixed(1)} s`)
    for (const scenario of chosen) {
      const lacking = (scenario.needs ?? []).map((ability) => maker.lacks(ability)).find((why) => why !== undefined)
      const row =
        lacking === undefined ? await runOne(maker, scenario, repository, keep) : skipped(scenario.name, lacking)
      say(`${row.outcome} ${row.name} ${row.seconds.toFixed(1)} s ${row.why}`)
      rows.push(row)
    }
  } catch (error) {
    // Of the substrate itself: scenarios' own failures are rows already.
    const { message } = error as Error
    say(message)
    for (const { name } of chosen.slice(rows.length))
      rows.push({ name, outcome: 'FAILED', seconds: since(start), why: message.split('\n')[0]?.slice(0, 150) ?? '' })
  } finally {
    await maker.close()
  }
  return rows
}

/** The hosts of the scenario that runs. */
let current: World | undefined

/** Whoever interrupts a run has its hosts no longer than it takes to stop them. */
async function takeDown(maker: SubstrateMaker, signal: NodeJS.Signals): Promise<void> {
  say(`${signal}: the hosts are taken down`)
  const told = (error: Error): void => say(error.message)
  await current?.end().catch(told)
  await maker.close().catch(told)
  process.exit(signal === 'SIGINT' ? 130 : 143)
}

async function runOne(maker: SubstrateMaker, scenario: Scenario, repository: string, keep: boolean): Promise<Row> {
  const { name, title, hosts = usualHosts, releases = {} } = scenario
  const start = performance.now()
  say(`\n# ${name}: ${title}`)
  let world: World | undefined
  try {
    const substrate = await maker.start(hosts, releases)
    world = new World(substrate, hosts, repository, say)
    current = world
    say(`${hosts.join(', ')} are up after ${since(start).toFixed(1)} s`)
    await scenario.run(world)
    return { name, outcome: 'passed', seconds: since(start), why: '' }
  } catch (error) {
    const { message, stack = '' } = error as Error
    say(message === '' ? stack : `${message}\n${stack.split('\n').slice(1, 5).join('\n')}`)
    if (keep) await waitForPeople(scenario)
    return { name, outcome: 'FAILED', seconds: since(start), why: message.split('\n')[0]?.slice(0, 150) ?? '' }
  } finally {
    current = undefined
    await world?.end()
  }
}

/** With --keep a failed scenario's hosts stay until whoever looks at them ends it. */
async function waitForPeople({ name }: Scenario): Promise<void> {
  say(`the hosts of ${name} stay as they are; Enter, or the end of standard input, ends them`)
  await new Promise<void>((resolve) => {
    process.stdin.once('data', () => resolve())
    process.stdin.once('end', () => resolve())
  })
  process.stdin.pause()
}

function printTable(substrate: string, rows: readonly Row[]): void {
  const width = Math.max(...rows.map(({ name }) => name.length), 8)
  process.stdout.write(`\n${'scenario'.padEnd(width)}  ${substrate.padEnd(8)}  seconds\n`)
  for (const { name, outcome, seconds, why } of rows)
    process.stdout.write(`${name.padEnd(width)}  ${outcome.padEnd(8)}  ${seconds.toFixed(1).padStart(7)}  ${why}\n`)
  const count = (wanted: Row['outcome']): number => rows.filter(({ outcome }) => outcome === wanted).length
  process.stdout.write(`\n${count('passed')} passed, ${count('FAILED')} failed, ${count('skipped')} skipped\n`)
}
