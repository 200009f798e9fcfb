// npm run test:vagrant [-- SCENARIO…] [--substrate vagrant|nspawn|namespaces] [--keep]: installs what is missing,
// builds, and runs vagrant/run.ts.
import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build as bundle } from 'esbuild'
import { build, demoPrograms, installPrograms, isInstalled, root } from './prepare.mjs'

const say = (line) => process.stderr.write(`${line}\n`)

/** What each substrate runs on this machine, beside what the practice network does. */
const programs = {
  nspawn: { 'systemd-nspawn': 'systemd-container', mmdebstrap: 'mmdebstrap' },
  vagrant: {
    vagrant: 'vagrant-libvirt',
    libvirtd: 'libvirt-daemon-system',
    virsh: 'libvirt-clients',
    dnsmasq: 'dnsmasq-base',
    'qemu-system-x86_64': 'qemu-system-x86',
    'qemu-img': 'qemu-utils',
    extlinux: 'extlinux',
    mmdebstrap: 'mmdebstrap',
  },
}

const args = process.argv.slice(2)
const at = args.indexOf('--substrate')
const substrate = at < 0 ? 'vagrant' : args[at + 1]
// In a container without rights they would help nobody; whoever runs this says what is missing then.
if (process.getuid() === 0 && isInstalled('apt-get')) installPrograms({ ...demoPrograms, ...programs[substrate] }, say)
if (!existsSync(join(root, 'dist', 'cli', 'main.js')) || !args.includes('--no-build')) build(say)

const file = join(root, 'node_modules', `.fleetmove-vagrant-${process.pid}.mjs`)
const { outputFiles } = await bundle({
  entryPoints: [join(root, 'vagrant', 'run.ts')],
  define: { __dirname: JSON.stringify(join(root, 'test', 'load')) },
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  write: false,
  logLevel: 'warning',
})
await writeFile(file, outputFiles[0].contents)
const { runScenarios } = await import(pathToFileURL(file).href).finally(() => rm(file, { force: true }))
process.exitCode = await runScenarios(
  root,
  args.filter((arg) => arg !== '--no-build'),
)
