// npm run bench [-- NAME…] [-- --rounds N] [--out FILE]: measures in practice networks of its own; see test/bench/.
import { importTypeScript } from './import-typescript.mjs'
import { benchPrograms, build, checkMachine, installPackages, installPrograms, root } from './prepare.mjs'

const say = (text) => process.stderr.write(`${text}\n`)
checkMachine()
installPrograms(benchPrograms, say)
installPackages(say)
build(say)
process.chdir(root)

const { main } = await importTypeScript(`export { main } from './test/bench/main.ts'`)
try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  say(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
}
