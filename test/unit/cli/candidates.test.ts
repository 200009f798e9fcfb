import { type Candidates, candidates } from '../../../cli/completion/candidates.js'
import { buildProgram } from '../../../cli/program.js'
import { wholeCommand } from '../../../cli/whole-command.js'

const list = (...words: string[]) => words.map((word) => ({ word, description: '' }))
let asked: string[] = []
const complete = async (...words: string[]): Promise<'files' | string[]> => {
  asked = []
  const found: Candidates = await candidates(buildProgram(), words, {
    services: async (file) => {
      asked.push(file)
      return list('web', 'web-static', 'mail')
    },
    hosts: async () => list('old', 'new'),
    labHosts: async () => list('controller', 'client1'),
    subcommands: wholeCommand,
  })
  return found === 'files' ? found : found.map(({ word }) => word)
}

it('commands, and not the ones for machines', async () => {
  expect(await complete('ro')).toEqual(['rollback'])
  const all = await complete('')
  expect(all).toEqual(expect.arrayContaining(['init', 'up', 'advance', 'lab', 'help', 'completion']))
  expect(all).not.toContain('complete')
  expect(await complete('help', 'adv')).toEqual(['advance'])
})

it('options, each once', async () => {
  expect(await complete('advance', '--ca')).toEqual(['--canary'])
  expect(await complete('advance', '--all', '--a')).toEqual([])
  expect(await complete('advance', '-')).toEqual(expect.arrayContaining(['--gate', '-f', '--help']))
})

it('services of the fleet that is meant, each once', async () => {
  expect(await complete('rollback', 'we')).toEqual(['web', 'web-static'])
  expect(asked).toEqual(['./fleet.yaml'])
  expect(await complete('verify', 'web', '')).toEqual(['web-static', 'mail'])
  await complete('status', '-f', 'other.yaml', '')
  expect(asked).toEqual(['other.yaml'])
  await complete('status', '--file=third.yaml', 'w')
  expect(asked).toEqual(['third.yaml'])
  // As bash takes it apart.
  await complete('status', '--file', '=', 'fourth.yaml', 'w')
  expect(asked).toEqual(['fourth.yaml'])
})

it('below a command', async () => {
  expect(await complete('dns', 's')).toEqual(['switch'])
  expect(await complete('dns', 'switch', 'm')).toEqual(['mail'])
  expect(await complete('dns', '')).toEqual(expect.arrayContaining(['switch', 'web']))
  expect(await complete('lab', 'exec', 'c')).toEqual(['controller', 'client1'])
  expect(await complete('lab', 'up', '--na')).toEqual(['--name'])
  expect(await complete('lab', 'exec', 'client1', '--', 'x')).toBe('files')
})

it("options' values", async () => {
  expect(await complete('init', '--become', '')).toEqual(['none', 'sudo'])
  expect(await complete('init', '--become=s')).toEqual(['--become=sudo'])
  expect(await complete('init', '--become', '=')).toEqual(['none', 'sudo'])
  expect(await complete('up', '-f', 'fl')).toBe('files')
  expect(await complete('advance', '--wave', '')).toEqual([])
  // A value is no argument.
  expect(await complete('advance', '--wave', '2', 'ma')).toEqual(['mail'])
})

it('arguments of other kinds', async () => {
  expect(await complete('init', '')).toEqual(['old', 'new'])
  expect(await complete('init', 'old', '')).toEqual(['new'])
  expect(await complete('completion', '')).toEqual(['bash', 'zsh', 'fish'])
  expect(await complete('unlock', '')).toEqual([])
  expect(await complete('nothing', '')).toEqual([])
})
