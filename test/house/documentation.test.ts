/** What the documentation tells people to write and to type is what the product takes. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { loadFleet } from '../../controller/config/load-fleet.js'
import { commandLines, fencedBlocks, linkTargets, wholeFleet } from './markdown.js'
import { refusal } from './parse-command-line.js'

const root = join(__dirname, '..', '..')
const inDocs = readdirSync(join(root, 'docs')).filter((file) => file.endsWith('.md'))
const files = ['README.md', ...inDocs.map((file) => `docs/${file}`)]
const text = (file: string): string => readFileSync(join(root, file), 'utf8')

/** What the product's own loader says to a fleet file; undefined: nothing against it. */
async function loadRefusal(yaml: string): Promise<string | undefined> {
  const scratch = mkdtempSync(join(tmpdir(), 'documentation-'))
  const file = join(scratch, 'fleet.yaml')
  try {
    writeFileSync(file, yaml)
    await loadFleet(file)
    return undefined
  } catch (error) {
    return (error as Error).message.replaceAll(`${file}:`, '')
  } finally {
    rmSync(scratch, { recursive: true })
  }
}

const yamlBlocks = files.flatMap((file) =>
  fencedBlocks(text(file))
    .filter(({ language }) => language === 'yaml')
    .map((block) => ({ ...block, file })),
)
const lines = files.flatMap((file) => commandLines(text(file)).map((each) => ({ ...each, file })))

it('finds what it is about', () => {
  expect(files.length).toBeGreaterThan(8)
  expect(yamlBlocks.filter(({ text }) => wholeFleet(text).complete).length).toBeGreaterThan(12)
  expect(lines.length).toBeGreaterThan(80)
})

describe('every fleet.yaml loads, and every part of one within a fleet', () => {
  test.each(yamlBlocks.map((block) => [`${block.file}:${block.line}`, block.text]))('%s', async (_where, yaml) => {
    expect(await loadRefusal(wholeFleet(yaml).yaml)).toBeUndefined()
  })
})

test('every command line is one that fleetmove takes', async () => {
  const refused: string[] = []
  for (const { file, line, words, mention } of lines) {
    const error = await refusal(words)
    if (mention && error?.includes('missing required argument')) continue
    if (error !== undefined) refused.push(`${file}:${line}: fleetmove ${words.join(' ')}: ${error}`)
  }
  expect(refused).toEqual([])
})

test('every link within the repository leads somewhere', () => {
  const broken = files.flatMap((file) =>
    linkTargets(text(file)).filter(({ path, anchor }) => {
      try {
        const target = path === '' ? file : join(dirname(file), path)
        if (path.endsWith('/')) return readdirSync(join(root, target)).length === 0
        return anchor !== undefined && !headings(text(target)).includes(anchor)
      } catch {
        return true
      }
    }),
  )
  expect(broken).toEqual([])
})

/** What is the same in every case of a message: without names, numbers and what is left out. */
const constantParts = (message: string): string[] =>
  message
    .split(/…|\b[A-Z]{3,}\b|\b[NM]\b|\d+|["()]/)
    .map((part) => part.replace(/^[\s;:,|]+|[\s;:,|]+$/g, ''))
    .filter((part) => part.length > 7)

test('the messages that docs/troubleshooting.md explains are ones that the product has', () => {
  const tree = ['agent', 'controller', 'cli', 'proto'].flatMap((part) =>
    readdirSync(join(root, part), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => text(join(part, file))),
  )
  const product = tree.join('\n')
  const guide = text('docs/troubleshooting.md')
  const italic = [...guide.matchAll(/(?<![*\w])\*([^*\n]+)\*(?!\*)/g)].map(([, words]) => words!)
  const verdicts = guide.slice(guide.indexOf('| verdict |')).split('\n\n')[0]!
  const cells = verdicts
    .split('\n')
    .slice(2)
    .map((row) => row.split('|')[1]!)
  const parts = [...italic, ...cells].flatMap(constantParts)
  expect(parts.length).toBeGreaterThan(50)
  expect(parts.filter((part) => !product.includes(part))).toEqual([])
})

/** As GitHub makes anchors of headings. */
const headings = (markdown: string): string[] =>
  [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, words]) =>
    words!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  )

describe('what is wrong is found', () => {
  test.each([
    ['an unknown key', 'fleet: a\nhost: {}\n', /found the unknown key "host"/],
    [
      'an unknown key in a part',
      'services:\n  web: { from: old, to: new, listen: [tcp/80], strateg: rolling }\n',
      /strateg/,
    ],
    ['a part that is a service', '  web:\n    from: old\n    to: nwe\n    listen: [tcp/80]\n', /nwe/],
    [
      'a lifecycle that is missing',
      '  db: { from: old, to: new, listen: [tcp/80], strategy: recreate }\n',
      /lifecycle/,
    ],
  ])('%s', async (_what, yaml, words) => {
    expect(await loadRefusal(wholeFleet(yaml).yaml)).toMatch(words)
  })

  test.each([
    ['`fleetmove advnce web`', /unknown command/],
    ['`fleetmove advance web --canari 5`', /unknown option/],
    ['`fleetmove watch --interval soon`', /invalid/],
    ['`dns switch --bakc`', /unknown option/],
    ['```\nfleetmove plan -o   # no name\n```', /argument missing/],
    ['```\nmake && node dist/cli/main.js lab up --bogus | cat\n```', /unknown option/],
    ['```\nssh host fleetmove rollback\n```', /missing required argument/],
  ])('%s', async (markdown, words) => {
    const [line] = commandLines(markdown)
    expect(await refusal(line!.words)).toMatch(words)
  })
})
