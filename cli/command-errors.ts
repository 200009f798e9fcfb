/** What the parser has against a command line, in the voice of all errors (cli/render/error.ts). */
import type { Command, CommanderError } from 'commander'
import { FleetmoveError } from '../proto/model/error.js'
import { wholeCommand } from './whole-command.js'

/** Help was asked for and printed, or the version; or there was no command, and help was printed in its place. */
export const isPrinted = ({ code }: CommanderError): boolean =>
  ['commander.help', 'commander.helpDisplayed', 'commander.version'].includes(code)

/** @param words behind `fleetmove` */
export async function usageError(
  error: CommanderError,
  program: Command,
  words: readonly string[],
): Promise<FleetmoveError> {
  const command = await calledCommand(program, words)
  const [problem, ...more] = error.message.replace(/^error: /, '').split('\n')
  const meant = /\(Did you mean (.*)\?\)/.exec(more.join(' '))?.[1]
  const misplaced = command === '' && error.code === 'commander.unknownOption'
  const hints = [
    ...(meant === undefined ? [] : [`did you mean ${meant}?`]),
    ...(misplaced && meant === undefined ? ['options stand behind the command, as in fleetmove status --json'] : []),
    `fleetmove${command} --help lists ${command === '' ? 'the commands' : 'what it takes'}`,
  ]
  return new FleetmoveError('usage', {
    message: `${command === '' ? '' : `${command.trim()}: `}${problem!.replace(/\.$/, '')}`,
    hint: hints.join('; '),
  })
}

/** ` dns switch`; empty where no command was called. */
async function calledCommand(program: Command, words: readonly string[]): Promise<string> {
  let command = program
  let called = ''
  for (const word of words) {
    const next = (await wholeCommand(command)).commands.find((each) => each.name() === word)
    if (!next) break
    command = next
    called += ` ${word}`
  }
  return called
}
