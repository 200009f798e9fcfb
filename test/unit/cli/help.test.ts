/** What every command owes its reader: an example, and its place in the manual. */
import { spawnSync } from 'node:child_process'
import type { Command } from 'commander'
import { examplesOf } from '../../../cli/examples.js'
import { manPage } from '../../../cli/man-page.js'
import { buildProgram } from '../../../cli/program.js'
import { wholeCommand } from '../../../cli/whole-command.js'

async function allCommands(command: Command, words = ''): Promise<{ words: string; command: Command }[]> {
  const whole = await wholeCommand(command)
  const below = (whole.createHelp().visibleCommands(whole) as Command[]).filter((each) => each.name() !== 'help')
  const deeper = await Promise.all(below.map((each) => allCommands(each, `${words} ${each.name()}`.trim())))
  return [...(words === '' ? [] : [{ words, command: whole }]), ...deeper.flat()]
}

it('every command has examples (cli/examples.ts), and they name options that it has', async () => {
  const all = await allCommands(buildProgram())
  expect(all.length).toBeGreaterThan(15)
  expect(all.filter(({ words }) => examplesOf(words).length === 0).map(({ words }) => words)).toEqual([])
  for (const { words, command } of all) {
    const known = command.createHelp().visibleOptions(command)
    for (const [line] of examplesOf(words)) {
      expect(line).toContain(`fleetmove ${words}`)
      // What stands behind a pipe, another command, or -- is another program's.
      const own = line.slice(line.indexOf(`fleetmove ${words}`)).split(/ (?:\||&&|--) /)[0]!
      const named = own.match(/(?<= )--?[a-z][\w-]*/g) ?? []
      expect(named.filter((name) => !known.some(({ long, short }) => long === name || short === name))).toEqual([])
    }
  }
})

it('help shows them', () => {
  const program = buildProgram()
  let shown = ''
  const advance = program.commands.find((each) => each.name() === 'advance')!
  advance.configureOutput({
    writeOut: (text) => {
      shown += text
    },
  })
  advance.outputHelp()
  expect(shown).toContain('fleetmove advance web --canary 5,25,100')
})

it('the manual has every command and option, and troff takes it as it is', async () => {
  const page = await manPage(buildProgram(), '1.2.3')
  const plain = page.replaceAll('\\-', '-')
  for (const { words, command } of await allCommands(buildProgram())) {
    expect(plain).toContain(`.SS ${words}\n`)
    for (const { long } of command.createHelp().visibleOptions(command)) {
      if (long && long !== '--help') expect(plain).toContain(long)
    }
  }
  // Neither control characters nor a sign at the beginning of a line that would be a request of no meaning.
  expect(
    page.split('\n').filter((line) => /^['.]/.test(line) && !/^\.(TH|SH|SS|B|BR|I|RI|PP|TP|RS|RE|nf|fi)\b/.test(line)),
  ).toEqual([])
  const groff = spawnSync('groff', ['-man', '-ww', '-Tutf8'], { input: page, encoding: 'utf8' })
  if (groff.error) return console.warn('Not tried by groff: it is not installed')
  expect(groff.stderr).toBe('')
})
