import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'

const root = join(__dirname, '..', '..')
const listed = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { cwd: root, encoding: 'utf8' })
const made = ['./node_modules/*', './dist/*', './proto/gen/*', './.git/*'].flatMap((path) => ['-not', '-path', path])

/** What is in the repository or would be with the next commit; all of the tree in an archive, or without git. */
function list(): string {
  try {
    if (existsSync(join(root, '.git'))) return listed('git', 'ls-files', '--cached', '--others', '--exclude-standard')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  return listed('find', '.', '-type', 'f', ...made, '-printf', '%P\n')
}

const files = list()
  .split('\n')
  .filter((file) => file !== '' && existsSync(join(root, file)))
const sources = files.filter((file) => /\.(ts|mjs|cjs)$/.test(file))
const product = sources.filter((file) => /^(proto|agent|controller|cli)\//.test(file))
const text = (file: string): string => readFileSync(join(root, file), 'utf8')

it('finds the tree', () => {
  expect(product.length).toBeGreaterThan(50)
})

it('no file of the product is longer than 400 lines', () => {
  expect(product.filter((file) => text(file).split('\n').length > 401)).toEqual([])
})

it('files are named for what they are, in kebab-case', () => {
  const bad = /^(utils?|helpers?|misc|common|index)\./
  expect(sources.filter((file) => bad.test(basename(file)))).toEqual([])
  expect(product.filter((file) => !/^[a-z0-9]+(-[a-z0-9]+)*\.ts$/.test(basename(file)))).toEqual([])
})

it('nothing is exported by default', () => {
  expect(product.filter((file) => /^export default\b/m.test(text(file)))).toEqual([])
})

it('only cli/render prints, and the programs that have nobody to print for them', () => {
  // lab is a tool of its own and a prompt is no output; dial, holder and plan-offline are programs that speak
  // over their standard streams; main and log are an agent's only voice.
  const allowed =
    /^(cli\/render\/|cli\/(commands\/lab|ask-secret)\.ts$|agent\/(log|dial|main|plan-offline|hold\/holder)\.ts$)/
  const prints = /\bconsole\.\w+\(|\bprocess\.(stdout|stderr)\.write\(/
  expect(product.filter((file) => !allowed.test(file) && prints.test(text(file)))).toEqual([])
})
