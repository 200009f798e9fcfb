// npm run chaos [-- OPTIONS]: torments the product on a practice network; see test/chaos/main.ts.
import { spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { build, checkMachine, demoPrograms, installPackages, installPrograms, root } from './prepare.mjs'

const say = (sentence) => process.stderr.write(`${sentence}\n`)
checkMachine()
installPrograms(demoPrograms, say)
installPackages(say)
build(say)
const { build: bundle } = await import('esbuild')

// Inside the package, which is what practice hosts see of this machine.
const file = join(root, 'node_modules', `.fleetmove-chaos-${process.pid}.cjs`)
await bundle({
  entryPoints: [join(root, 'test/chaos/main.ts')],
  outfile: file,
  // What it shares with jest's tests asks where it is, and whether jest is there.
  define: { __dirname: JSON.stringify(join(root, 'test', 'load')), describe: 'undefined' },
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  logLevel: 'warning',
})
const child = spawn(process.execPath, [file, ...process.argv.slice(2)], { stdio: 'inherit' })
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
child.once('close', (code) => {
  rmSync(file, { force: true })
  process.exit(code ?? 1)
})
