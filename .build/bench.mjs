// npm run bench [-- NAME…] [-- --rounds N] [--out FILE]: measures in practice networks of its own; see test/bench/.
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { benchPrograms, build, checkMachine, installPackages, installPrograms, root } from './prepare.mjs'

const say = (text) => process.stderr.write(`${text}\n`)
checkMachine()
installPrograms(benchPrograms, say)
installPackages(say)
build(say)
process.chdir(root)

const { build: bundle } = await import('esbuild')
const file = join(root, 'node_modules', `.fleetmove-bench-${process.pid}.mjs`)
const { outputFiles } = await bundle({
  entryPoints: [join(root, 'test', 'bench', 'main.ts')],
  define: { __dirname: JSON.stringify(join(root, 'test', 'load')) },
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  write: false,
  logLevel: 'warning',
})
await writeFile(file, outputFiles[0].contents)
let main
try {
  ;({ main } = await import(pathToFileURL(file).href))
} finally {
  await rm(file, { force: true })
}
try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  say(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
}
