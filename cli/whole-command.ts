import type { Command } from 'commander'

/** A command with all that is below it: `lab` loads its own when it is called. */
export async function wholeCommand(command: Command): Promise<Command> {
  if (command.name() !== 'lab' || command.parent?.name() !== 'fleetmove') return command
  const { labCommand } = await import('./commands/lab.js')
  return labCommand()
}
