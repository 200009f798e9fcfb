/** Commands that come before a fleet.yaml is there, or work without one. Words and options only, as in program.ts. */
import { type Command, Option } from 'commander'
import type { InitCommandOptions } from './commands/init.js'

export function addInit(program: Command): void {
  program
    .command('init')
    .description('asks two hosts over SSH what runs there, and writes a commented fleet.yaml')
    .argument('[hosts...]', 'the old and the new one, as [user@]host[:port]')
    .option('-o, --output <path>', 'the file to write; - prints it', 'fleet.yaml')
    .addOption(
      new Option('--become <how>', 'how users other than root become root').choices(['none', 'sudo']).default('none'),
    )
    .option('--stdin', 'read pairs of hosts, one OLD NEW a line', false)
    .option('--force', 'replace a file that is there', false)
    .option('--json', 'JSON lines on stdout', false)
    .option('-v, --verbose', 'tell every step', false)
    .action(async (hosts: string[], options: InitCommandOptions) =>
      (await import('./commands/init.js')).runInit(hosts, options),
    )
}
