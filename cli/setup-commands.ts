/** Commands that come before a fleet.yaml is there, or work without one. Words and options only, as in program.ts. */
import { Argument, type Command, Option } from 'commander'
import type { InitCommandOptions } from './commands/init.js'
import type { Shell } from './completion/shell-scripts.js'

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

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('a script for your shell that completes commands, options, services and hosts')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .action(async (shell: Shell) => (await import('./commands/completion.js')).runCompletion(shell))
  program
    .command('complete', { hidden: true })
    .description('what may stand next: asked by the scripts of completion')
    .argument('[words...]')
    .action(async (words: string[]) => (await import('./commands/completion.js')).runComplete(program, words))
}

export function addMan(program: Command): void {
  program
    .command('man')
    .description('the manual page, for man -l -')
    .action(async () => (await import('./commands/man.js')).runMan(program))
}
