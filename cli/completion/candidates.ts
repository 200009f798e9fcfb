/** What may stand next in a command line, told from commander's own definitions: so every command completes as soon as it is there. */
import type { Argument, Command, Option } from 'commander'

export interface Candidate {
  word: string
  description: string
}

/** `files`: the shell itself knows. */
export type Candidates = Candidate[] | 'files'

/** What isn't in the definitions; each is asked for only when it is needed. */
export interface Known {
  services(file: string): Promise<readonly Candidate[]>
  hosts(file: string): Promise<readonly Candidate[]>
  labHosts(): Promise<readonly Candidate[]>
  /** The commands below one that loads them late. */
  subcommands(command: Command): Promise<Command>
}

/** @param words the words behind `fleetmove`, the last one being typed, perhaps empty */
export async function candidates(program: Command, words: readonly string[], known: Known): Promise<Candidates> {
  const current = words.at(-1) ?? ''
  // bash takes --file=x apart at the sign.
  const place = await walk(
    program,
    words.slice(0, -1).filter((word) => word !== '='),
    known,
  )
  const [, long, begun] = /^(--[\w-]+)=(.*)$/.exec(current) ?? []
  if (long !== undefined && begun !== undefined) {
    const option = optionOf(place.command, long)
    const values = option ? await valuesOf(option, place, known) : []
    return values === 'files'
      ? values
      : matching(
          values.map((each) => ({ ...each, word: `${long}=${each.word}` })),
          current,
        )
  }
  if (place.awaited) {
    const values = await valuesOf(place.awaited, place, known)
    return values === 'files' ? values : matching(values, current === '=' ? '' : current)
  }
  if (place.literal) return place.command.name() === 'exec' ? 'files' : []
  if (current.startsWith('-')) return matching(optionsOf(place), current)
  const all = [...commandsOf(place), ...(await argumentsOf(place, known))]
  return matching(
    all.filter(({ word }) => !place.given.includes(word)),
    current,
  )
}

interface Place {
  program: Command
  command: Command
  /** Arguments of the command so far. */
  given: string[]
  options: Set<string>
  /** The option whose value comes next. */
  awaited: Option | undefined
  /** Behind `--`. */
  literal: boolean
  file: string
}

async function walk(program: Command, words: readonly string[], known: Known): Promise<Place> {
  const place: Place = {
    program,
    command: program,
    given: [],
    options: new Set(),
    awaited: undefined,
    literal: false,
    file: './fleet.yaml',
  }
  for (const word of words) {
    if (place.literal) continue
    if (place.awaited) {
      if (place.awaited.long === '--file') place.file = word
      place.awaited = undefined
    } else if (word === '--') place.literal = true
    else if (word.startsWith('-')) {
      const [name = '', value] = word.split(/=(.*)/s)
      const option = optionOf(place.command, name)
      place.options.add(option?.long ?? name)
      if (option?.long === '--file' && value !== undefined) place.file = value
      else if (option && value === undefined && (option.required || option.optional)) place.awaited = option
    } else {
      const next = place.given.length === 0 ? visible(place.command).find((each) => each.name() === word) : undefined
      if (next === undefined) place.given.push(word)
      else {
        place.command = await known.subcommands(next)
        place.options = new Set()
      }
    }
  }
  return place
}

const visible = (command: Command): Command[] => command.createHelp().visibleCommands(command) as Command[]

const optionOf = (command: Command, name: string): Option | undefined =>
  command
    .createHelp()
    .visibleOptions(command)
    .find(({ long, short }) => long === name || short === name)

function optionsOf({ command, options }: Place): Candidate[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .filter(({ long, variadic }) => variadic || !options.has(long ?? ''))
    .flatMap(({ long, short, description }) =>
      [long, short].flatMap((word) => (word === undefined ? [] : [{ word, description }])),
    )
}

function commandsOf({ command, given }: Place): Candidate[] {
  if (given.length > 0) return []
  return visible(command).map((each) => ({ word: each.name(), description: each.description() }))
}

async function argumentsOf(place: Place, known: Known): Promise<readonly Candidate[]> {
  const { program, command, given, file } = place
  if (command.name() === 'help') return commandsOf({ ...place, command: program })
  const args = command.registeredArguments
  const argument: Argument | undefined = args[given.length] ?? (args.at(-1)?.variadic ? args.at(-1) : undefined)
  if (argument === undefined) return []
  if (argument.argChoices) return argument.argChoices.map((word) => ({ word, description: '' }))
  return ofName(argument.name(), command, file, known)
}

async function valuesOf(
  option: Option,
  { command, file }: Place,
  known: Known,
): Promise<readonly Candidate[] | 'files'> {
  if (option.argChoices) return option.argChoices.map((word) => ({ word, description: '' }))
  if (/<(path|file|dir)>/.test(option.flags)) return 'files'
  return ofName(/<([\w-]+)/.exec(option.flags)?.[1] ?? '', command, file, known)
}

/** An argument is called by what it names. */
async function ofName(name: string, command: Command, file: string, known: Known): Promise<readonly Candidate[]> {
  if (/^services?$/.test(name)) return known.services(file)
  if (!/^hosts?$/.test(name)) return []
  return command.parent?.name() === 'lab' ? known.labHosts() : known.hosts(file)
}

const matching = (all: readonly Candidate[], current: string): Candidate[] =>
  all.filter(({ word }) => word.startsWith(current))
