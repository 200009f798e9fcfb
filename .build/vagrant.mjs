// npm run test:vagrant [-- SCENARIO…] [--substrate vagrant|nspawn|namespaces] [--keep]: installs what is missing,
// builds, and runs vagrant/run.ts.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { importTypeScript } from './import-typescript.mjs'
import { build, demoPrograms, installPackages, installPrograms, isInstalled, root } from './prepare.mjs'

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
installPackages(say)
if (!existsSync(join(root, 'dist', 'cli', 'main.js')) || !args.includes('--no-build')) build(say)

const { runScenarios } = await importTypeScript(`export { runScenarios } from './vagrant/run.ts'`)
process.exitCode = await runScenarios(
  root,
  args.filter((arg) => arg !== '--no-build'),
)
