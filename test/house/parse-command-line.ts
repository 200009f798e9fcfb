/** Command lines through the product's own parser, with nothing behind it. */
import { type Command, CommanderError } from 'commander'
import { buildProgram } from '../../cli/program.js'
import { wholeCommand } from '../../cli/whole-command.js'

/** @returns what the parser has against the words behind `fleetmove`; undefined: nothing */
export async function refusal(words: readonly string[]): Promise<string | undefined> {
  const program = buildProgram()
  disarm(program)
  // `lab` takes its words apart by itself, as the program hands them to it.
  const lab = program.commands.find((command) => command.name() === 'lab')!
  lab.action(async () => {
    const whole = await wholeCommand(lab)
    disarm(whole)
    await whole.parseAsync(lab.args, { from: 'user' })
  })
  try {
    await program.parseAsync([...words], { from: 'user' })
    return undefined
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? undefined : error.message
  }
}

/** Parses and does nothing. */
function disarm(command: Command): void {
  command.exitOverride().configureOutput({ writeOut: () => {}, writeErr: () => {} })
  if (command.commands.length === 0 || command.name() === 'dns') command.action(() => {})
  for (const each of command.commands) disarm(each)
}
