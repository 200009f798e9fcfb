/** Command lines through the product's own parser, with nothing behind it. */
import { type Command, CommanderError } from 'commander'
import { buildProgram } from '../../cli/program.js'
import { wholeCommand } from '../../cli/whole-command.js'

export class Parser {
  private constructor(private readonly lab: () => Promise<Command>) {}

  static async ofProduct(): Promise<Parser> {
    const found = buildProgram().commands.find((command) => command.name() === 'lab')!
    return new Parser(() => wholeCommand(found))
  }

  /** @returns what the parser has against the words behind `fleetmove`; undefined: nothing */
  async refusal(words: readonly string[]): Promise<string | undefined> {
    // `lab` takes its words apart by itself.
    const [program, own] = words[0] === 'lab' ? [await this.lab(), words.slice(1)] : [buildProgram(), words]
    disarm(program)
    try {
      await program.parseAsync([...own], { from: 'user' })
      return undefined
    } catch (error) {
      if (!(error instanceof CommanderError)) throw error
      return error.exitCode === 0 ? undefined : error.message
    }
  }
}

/** Parses and does nothing. */
function disarm(command: Command): void {
  command.exitOverride().configureOutput({ writeOut: () => {}, writeErr: () => {} })
  if (command.commands.length === 0 || command.name() === 'dns') command.action(() => {})
  for (const each of command.commands) disarm(each)
}
