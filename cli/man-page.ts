/** The manual page, man(7), made from commander's definitions: it tells of every command and option that there is. */
import type { Argument, Command } from 'commander'
import { examplesOf } from './examples.js'
import { wholeCommand } from './whole-command.js'

const exitCodes = [
  ['0', 'done'],
  ['1', 'error'],
  ['2', 'changes pending (plan)'],
  ['3', 'rolled back'],
  ['4', 'somebody else holds the lock'],
  ['5', 'verification failed'],
  ['6', 'waiting on a gate'],
  ['64', 'bad usage or fleet.yaml'],
] as const

const files = [
  ['./fleet.yaml', 'the fleet: hosts, services, where they move from and to; -f names another'],
  ['~/.ssh/config, ~/.ssh/known_hosts', "honoured as ssh(1) does; a host's key must be known"],
  ['~/.local/state/fleetmove/', 'the journal of moves, for reports'],
  ['~/.cache/fleetmove/', 'what is sent to hosts, packed; may be removed'],
  [
    '/var/lib/fleetmove/, /usr/local/lib/fleetmove/, /run/fleetmove/',
    'on the hosts that take part, until finalize or down',
  ],
] as const

const environment = [
  ['NO_COLOR', 'no colours, whatever the output is'],
  ['SSH_AUTH_SOCK', 'the agent that logs in, as for ssh(1)'],
  ['XDG_CACHE_HOME, XDG_STATE_HOME', 'in place of ~/.cache and ~/.local/state'],
] as const

export async function manPage(program: Command, version: string): Promise<string> {
  const lines = [
    `.TH FLEETMOVE 1 "" "fleetmove ${text(version)}" "User Commands"`,
    '.SH NAME',
    `fleetmove \\- ${text(program.description())}`,
    '.SH SYNOPSIS',
    '.B fleetmove',
    '.I command',
    '.RI [ options ]',
    '.SH DESCRIPTION',
    text(
      'The new host forwards to the old one by kernel NAT through an encrypted tunnel, so that DNS can be changed at leisure; then services are switched one by one, and the old host forwards to the new one, until nobody comes by the old address any more. Services see the true addresses of their clients all the time.',
    ),
    '.PP',
    text(
      'A move: init, plan, up, verify, change DNS, advance, status, finalize. down abandons it. lab up practises it.',
    ),
    '.SH COMMANDS',
  ]
  for (const command of program.createHelp().visibleCommands(program) as Command[]) {
    if (command.name() !== 'help') lines.push(...(await section(command, command.name())))
  }
  lines.push(
    '.SH EXIT STATUS',
    ...terms(exitCodes),
    '.SH ENVIRONMENT',
    ...terms(environment),
    '.SH FILES',
    ...terms(files),
    '.SH SEE ALSO',
    '.BR ssh_config (5),',
    '.BR nft (8),',
    '.BR conntrack (8)',
  )
  return `${lines.join('\n')}\n`
}

async function section(command: Command, words: string): Promise<string[]> {
  const whole = await wholeCommand(command)
  const help = whole.createHelp()
  const below = (help.visibleCommands(whole) as Command[]).filter((each) => each.name() !== 'help')
  const options = help.visibleOptions(whole).length > 0 ? ['[options]'] : []
  const usage = ['fleetmove', words, ...options, ...whole.registeredArguments.map(bracketed)].join(' ')
  const lines = [`.SS ${text(words)}`, `.B ${text(usage)}`, '.PP', text(sentence(whole.description()))]
  for (const argument of help.visibleArguments(whole))
    lines.push('.TP', `.I ${text(argument.name())}`, text(help.argumentDescription(argument)))
  for (const option of help.visibleOptions(whole).filter(({ long }) => long !== '--help'))
    lines.push(
      '.TP',
      `.B ${text(help.optionTerm(option))}`,
      text(help.optionDescription(option).replace(' (default: false)', '')),
    )
  const examples = examplesOf(words)
  for (const [line, what] of examples)
    lines.push('.PP', text(`${sentence(what)}:`), '.RS', '.nf', text(line), '.fi', '.RE')
  for (const each of below) lines.push(...(await section(each, `${words} ${each.name()}`)))
  return lines
}

const bracketed = (argument: Argument): string => {
  const word = `${argument.name()}${argument.variadic ? '...' : ''}`
  return argument.required ? `<${word}>` : `[${word}]`
}

const sentence = (words: string): string => words.charAt(0).toUpperCase() + words.slice(1)

const terms = (pairs: readonly (readonly [string, string])[]): string[] =>
  pairs.flatMap(([term, meaning]) => ['.TP', `.B ${text(term)}`, text(meaning)])

/** What troff would take for its own: backslashes, signs at the beginning of a line, hyphens that must stay ASCII (groff_man_style(7)). */
const text = (words: string): string =>
  words
    .replaceAll('\\', '\\(rs')
    .replaceAll('-', '\\-')
    .replaceAll('→', '\\(->')
    .replaceAll('…', '...')
    .replaceAll('~', '\\(ti')
    .replaceAll("'", '\\(aq')
    .replaceAll('"', '\\(dq')
    .replace(/^\./, '\\&.')
