/** The command line: words and options only. What a command does is loaded when it is called. */
import { Command, CommanderError } from 'commander'
import type { Stage } from '../proto/model/host-spec.js'
import { isPrinted, usageError } from './command-errors.js'
import type { AdvanceCommandOptions } from './commands/advance.js'
import type { DnsSwitchCommandOptions } from './commands/dns.js'
import type { ExplainCommandOptions } from './commands/explain.js'
import type { WatchCommandOptions } from './commands/watch.js'
import { addExamples } from './examples.js'
import { exitCodeOf } from './exit-codes.js'
import type { GlobalOptions } from './global-options.js'
import { bearLostOutput } from './render/lost-output.js'
import { addCompletion, addInit, addMan } from './setup-commands.js'
import { silent } from './silent-parser.js'
import { stageList } from './stage-option.js'
import { numberFrom, timeFrom } from './value-parsers.js'
import { version } from './version.js'

/** Runs one command line; sets the process's exit code. */
export async function runProgram(argv: readonly string[]): Promise<void> {
  bearLostOutput()
  const program = buildProgram()
  const words = argv.slice(2)
  try {
    await program.parseAsync(helpOf(program, words), { from: 'user' })
  } catch (caught) {
    if (caught instanceof CommanderError && isPrinted(caught)) {
      process.exitCode = caught.exitCode === 0 ? 0 : 64
      return
    }
    const error = caught instanceof CommanderError ? await usageError(caught, program, words) : caught
    const { printError } = await import('./render/error.js')
    // What stands behind -- is another program's.
    const own = words.includes('--') ? words.slice(0, words.indexOf('--')) : words
    const verbose = own.some((word) => word === '--verbose' || /^-y*v[yv]*$/.test(word))
    printError(error, { json: own.includes('--json'), verbose })
    process.exitCode = exitCodeOf(error)
  }
}

/** `help dns switch` is `dns switch --help`, also for commands that take their words apart themselves. */
function helpOf(program: Command, words: readonly string[]): string[] {
  const [first, ...command] = words
  if (first !== 'help' || command.length === 0) return [...words]
  if (command[0] === 'help') return ['--help']
  if (program.commands.some((each) => each.name() === command[0])) return [...command, '--help']
  throw new CommanderError(1, 'commander.unknownCommand', `error: unknown command '${command[0]}'`)
}

/** Every command with its words and options. */
export function buildProgram(): Command {
  const program = silent(new Command('fleetmove'))
    .description('moves a fleet of network services to new hosts while the world keeps using them')
    .version(version, '-V, --version')
    // Else the options of `dns switch` would be taken for those of dns.
    .enablePositionalOptions()
  program.addHelpText(
    'after',
    '\nA move: fleetmove plan, fleetmove up, change DNS at leisure, fleetmove advance, wait, fleetmove finalize.\nPractise first: fleetmove lab up\n\nExit codes: 0 done, 1 error, 2 changes pending, 3 rolled back, 4 locked, 5 verification failed, 6 waiting on a gate, 64 bad usage.',
  )

  addInit(program)
  common(program, 'plan', 'preflight and the exact changes, host by host; changes nothing')
    .option('-o, --out <file>', 'save it: fleetmove up FILE does exactly that, or refuses')
    .action(lazily<{ out?: string }>(async (_names, options) => (await import('./commands/plan.js')).runPlan(options)))
  changing(program, 'up', 'agents, tunnels, forwarding new -> old, verified')
    .argument('[plan]', 'a saved plan: do exactly that, or refuse if something has changed since')
    .option(
      '--log-connections',
      'the hosts write down who came by which address to which service; as log: in fleet.yaml',
    )
    .option('--no-log-connections', 'and no longer')
    .action(
      lazily<{ logConnections?: boolean }>(async ([plan], options) =>
        (await import('./commands/up.js')).runUp(plan, options),
      ),
    )
  common(program, 'verify', 'probes that prove the path and the source address')
    .argument('[service...]')
    .action(lazily(async (names, options) => (await import('./commands/verify.js')).runVerify(names, options)))
  common(program, 'status', 'where every service stands')
    .argument('[service...]')
    .option('--stage <stages>', 'only services in these stages, e.g. moving,moved', stageList, [])
    .action(
      lazily<{ stage: Stage[] }>(async (names, options) =>
        (await import('./commands/status.js')).runStatus(names, options),
      ),
    )
  common(program, 'watch', 'the same, live: who comes by which address, drains, tunnels')
    .argument('[service...]')
    .option('--stage <stages>', 'only services in these stages, e.g. moving,moved', stageList, [])
    .option('--interval <time>', 'how often, e.g. 500ms, 1s, 10s', timeFrom('200ms', '1h'), 1000)
    .option('--count <n>', 'end after so many looks', numberFrom(1, 1_000_000))
    .action(
      lazily<WatchCommandOptions>(async (names, options) =>
        (await import('./commands/watch.js')).runWatch(names, options),
      ),
    )
  common(program, 'report', "the move's record as one HTML page: stages, arrivals, switches, proofs, changes, firewall")
    .option('-o, --output <path>', 'the file to write; - prints it', 'report.html')
    .action(
      lazily<{ output: string }>(async (_names, options) => (await import('./commands/report.js')).runReport(options)),
    )
  changing(program, 'advance', 'switch services to their new hosts, one after another')
    .argument('[service...]', 'which; or --wave N, or --all')
    .option('--all', 'every service, in the order of waves', false)
    .option('--wave <n>', 'the services of one wave', numberFrom(1, 1000))
    .option('--gate', 'stop after each wave (exit 6); run again to go on', false)
    .option('--parallel <n>', 'how many services of a wave move at the same time', numberFrom(1, 1000), 1)
    .option(
      '--max-failures <n>',
      'go on with the others until more than this many have stayed behind',
      numberFrom(0, 1_000_000),
      0,
    )
    .option('--canary <steps>', 'shares of clients in percent, e.g. 5,25,100')
    .option('--bake <time>', 'how long each step of the canary is watched (default: 30s)', timeFrom('0s', '168h'))
    .option('--overwrite-data', 'data: directories on the new host may be replaced, whatever is in them', false)
    .option('--only <prefixes>', 'clients that go first, e.g. 198.18.0.0/16,2001:db8::/32')
    .action(
      lazily<AdvanceCommandOptions>(async (names, options) =>
        (await import('./commands/advance.js')).runAdvance(names, options),
      ),
    )
  changing(program, 'rollback', 'back to the old host, from any stage before finalized')
    .argument('<service...>')
    .action(lazily(async (names, options) => (await import('./commands/advance.js')).runRollback(names, options)))
  changing(program, 'finalize', 'leave the hosts as they were found, once nobody arrives by the old address')
    .argument('[service...]')
    .option('--force', 'even while clients still arrive by the old address', false)
    .option('--quiet <time>', 'how long nobody may have arrived by the old address', '1h')
    .action(
      lazily<{ force: boolean; quiet: string }>(async (names, options) =>
        (await import('./commands/finalize.js')).runFinalize(names, options),
      ),
    )
  changing(program, 'down', 'abandon the move: services back on old, hosts as they were found').action(
    lazily(async (_names, options) => (await import('./commands/down.js')).runDown(options)),
  )
  addDns(program)
  common(program, 'explain', "one client's way through both hosts, and what stops it")
    .argument('<client>', 'ADDRESS, ADDRESS:PORT, or a vantage')
    .argument('<service>')
    .option('--listener <listener>', 'which one of the service, e.g. tcp/443')
    .option('--wait <time>', "for packets of a client from whose address we can't send", timeFrom('1s', '1h'), 15_000)
    .action(
      lazily<ExplainCommandOptions>(async (names, options) =>
        (await import('./commands/explain.js')).runExplain(names, options),
      ),
    )
  common(program, 'unlock', 'take away the lock of a run that is dead')
    .argument('<id>', 'as the refusal and status tell it')
    .action(lazily(async ([id], options) => (await import('./commands/unlock.js')).runUnlock(id!, options)))
  program
    .command('schema')
    .description('the JSON Schema of fleet.yaml, for editors')
    .action(async () => (await import('./commands/schema.js')).runSchema())
  addLab(program)
  addCompletion(program)
  addMan(program)
  addExamples(program)
  return program
}

function addDns(program: Command): void {
  const dns = common(program, 'dns', 'what name servers answer, and who still arrives by the old address')
    .enablePositionalOptions()
    .argument('[service...]')
    .action(lazily(async (names, options) => (await import('./commands/dns.js')).runDns(names, options)))
  common(dns, 'switch', 'change the records themselves, with their time to live lowered first')
    .argument('[service...]')
    .option('--back', 'to the old addresses', false)
    .option('--now', "don't lower the time to live first, and don't wait for it", false)
    .option('--wait', 'wait until the longer time to live has passed, instead of ending with exit 6', false)
    .option(
      '--ttl <time>',
      "the record's time to live from now on; default: dns.ttl of fleet.yaml",
      timeFrom('1s', '168h'),
    )
    .action(
      lazily<DnsSwitchCommandOptions>(async (names, options) =>
        (await import('./commands/dns.js')).runDnsSwitch(names, options),
      ),
    )
}

/** `lab` has options of its own, and its hosts are on this machine. */
function addLab(program: Command): void {
  program
    .command('lab', { hidden: false })
    .description('the practice network: up, down, exec, reboot, status')
    .allowUnknownOption()
    .allowExcessArguments()
    // As they stand: a -- among them belongs to `lab exec`.
    .passThroughOptions()
    .helpOption(false)
    .argument('[words...]')
    .action(async (_words: string[], _options, command: Command) => {
      const { labCommand } = await import('./commands/lab.js')
      await labCommand().parseAsync(command.args, { from: 'user' })
    })
}

type Action<T> = (names: string[], options: GlobalOptions & T) => Promise<void>

/** commander hands arguments and options in a row; a variadic argument is a list. */
function lazily<T = unknown>(action: Action<T>): (...args: unknown[]) => Promise<void> {
  return async (...args) => {
    const command = args.at(-1) as Command
    const names = args.slice(0, -2).flat() as (string | undefined)[]
    await action(
      names.filter((name) => name !== undefined),
      command.opts(),
    )
  }
}

/** The options that every command has. */
function common(program: Command, name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .option('-f, --file <path>', 'the fleet', './fleet.yaml')
    .option('--json', 'JSON on stdout: a document, or a line for each event', false)
    .option('-y, --yes', "don't ask", false)
    .option('--timeout <time>', 'give up after this long, e.g. 10m', timeFrom('1s', '168h'))
    .option('-v, --verbose', 'tell every step', false)
}

/** The options of commands that change hosts. */
function changing(program: Command, name: string, description: string): Command {
  return common(program, name, description).option(
    '--confirm-timeout <time>',
    'hosts undo alone what is not confirmed in time (default: 60s)',
    // As much as agents take (agent/requests.ts).
    timeFrom('1s', '1h'),
  )
}
