/** The substrate `vagrant`: machines are made once a run, and every scenario finds them as they were then. */
import { existsSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { hostEnvironment } from '../../cli/lab/exec.js'
import type { LabKeys } from '../../cli/lab/host-files.js'
import { makeKeys } from '../../cli/lab/secrets.js'
import { hasNode, labTopology } from '../../cli/lab/topology.js'
import { debianBox } from '../box/box.js'
import { cacheDirectory, rootTree, usualRelease } from '../box/root-tree.js'
import { NspawnNetwork } from '../nspawn/nspawn.js'
import type { Ability, SubstrateMaker } from '../substrate.js'
import { Joined } from './joined.js'
import { hasKvm, libvirtByHand, machineItself, type Place, runAt } from './libvirt-by-hand.js'
import { Machines, writeSshConfig } from './machines.js'

/** Emulated processors: four machines have taken 94 s on a quiet machine; on a busy one, five weren't up after half an hour. */
const upMs = 5_400_000
/** Otherwise Vagrant destroys a machine that is late, and the second call begins it anew. */
const up = ['up', '--no-destroy-on-error']

/** Those that services move between; they are those without Node. */
const hasKernelOfItsOwn = (host: string): boolean => !hasNode(labTopology, host)

const lacks = (ability: Ability): string | undefined =>
  ability === 'releases' ? 'every machine is of the same box' : undefined

/** What the Vagrantfile reads of the environment. */
const settings = (): Record<string, string> =>
  Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => (/^FLEETMOVE_/.test(name) && value ? [[name, value]] : [])),
  )

const isInstalled = (program: string): boolean =>
  (hostEnvironment().PATH ?? '').split(':').some((directory) => existsSync(join(directory, program)))

/**
 * FLEETMOVE_BOX=build makes the box of vagrant/box/; where no libvirtd serves this machine, one is started by hand.
 * @param hosts what scenarios need; one more costs half a minute and 270 MB
 * @param keep machines stay after the last scenario, where they are Vagrant's own on this machine
 */
export function vagrantMaker(repository: string, hosts: readonly string[], keep: boolean): SubstrateMaker {
  const directory = join(repository, 'vagrant')
  const ssh = `/run/fleetmove-ssh-${process.pid}`
  const config = join(ssh, 'config')
  let place: Place = machineItself
  const byHand = process.getuid?.() === 0 && isInstalled('libvirtd') && !existsSync('/run/libvirt/libvirt-sock')
  const isMixed = byHand && !hasKvm() && process.env.FLEETMOVE_MACHINES !== 'all'
  const everyone = isMixed ? hosts.filter(hasKernelOfItsOwn) : [labTopology.router, ...hosts]
  let machines: Machines | undefined
  let keys: LabKeys | undefined
  let rootDirectory = ''
  const env: Record<string, string> = { ...settings(), FLEETMOVE_HOSTS: everyone.join(','), VAGRANT_CWD: directory }
  const vagrant = async (words: string[], timeoutMs = upMs): Promise<string> => {
    const { code, stdout, stderr } = await runAt(place, ['vagrant', ...words], env, timeoutMs)
    const said = `${stdout.slice(-1500)}\n${stderr.slice(-1500)}`.trim()
    if (code !== 0) throw new Error(`vagrant ${words.join(' ')}: exit code ${code}: ${said}`)
    return stdout
  }
  /** What `vagrant snapshot` does, for all machines at once. */
  const virsh = async (command: string, names: readonly string[]): Promise<void> => {
    const done = names.map(async (name) => {
      const argv = ['virsh', '-q', command, `fleetmove-${name}`, 'furnished']
      const { code, stderr } = await runAt(place, argv, {}, upMs)
      if (code !== 0) throw new Error(`${argv.join(' ')}: ${stderr.trim()}`)
    })
    await Promise.all(done)
  }
  return {
    name: 'vagrant',
    lacks,
    async whyNot() {
      return isInstalled('vagrant') ? undefined : 'vagrant is not installed'
    },
    async prepare(say) {
      let start = performance.now()
      const took = (what: string): void => {
        say(`${what}: ${((performance.now() - start) / 1000).toFixed(1)} s`)
        start = performance.now()
      }
      if (byHand) {
        const made = await libvirtByHand(cacheDirectory)
        place = made
        env.VAGRANT_DOTFILE_PATH = join(made.directory, 'dotfiles')
        env.VAGRANT_DEFAULT_PROVIDER = 'libvirt'
        took('libvirt by hand')
      }
      const isBuilt = (process.env.FLEETMOVE_BOX ?? (byHand ? 'build' : '')) === 'build'
      if (isBuilt || isMixed) {
        rootDirectory = await rootTree(join(directory, 'box'), usualRelease, say, isBuilt)
        took("the hosts' file system")
      }
      if (isBuilt) {
        const box = await debianBox(rootDirectory, say)
        took('the box')
        env.FLEETMOVE_BOX = box.name
        // Asking Vagrant takes it seconds.
        const home = place.environment.VAGRANT_HOME ?? process.env.VAGRANT_HOME ?? join(homedir(), '.vagrant.d')
        if (!existsSync(join(home, 'boxes', box.name.replace('/', '-VAGRANTSLASH-')))) {
          await vagrant(['box', 'add', '--name', box.name, box.file])
          took('vagrant box add')
        }
      }
      // Where an emulated processor keeps SSH waiting for too long, a second call goes on with what is up.
      await vagrant(up).catch((error: Error) => {
        if (!/SSH|timed? ?out/i.test(error.message)) throw error
        say('not every machine answered in time; once more')
        return vagrant(up)
      })
      took(`vagrant up of ${everyone.join(', ')}`)
      await writeSshConfig(place, config, directory, env)
      machines = new Machines(place, config)
      await Promise.all(everyone.map((host) => machines!.untilUp(host)))
      took('their systemd is done')
      const scratch = join(ssh, 'furnish')
      await mkdir(scratch, { mode: 0o700 })
      keys = await makeKeys(scratch)
      await machines.furnish(everyone, keys, repository, scratch)
      took('furnishing them')
      await machines.hangUp(everyone)
      if (byHand) await virsh('snapshot-create-as', everyone)
      else await vagrant(['snapshot', 'save', '--force', 'furnished'])
      took('snapshots')
    },
    async start(wanted) {
      if (!machines) throw new Error('the machines are not prepared')
      const missing = wanted.filter((host) => !hosts.includes(host))
      if (missing.length > 0) throw new Error(`${missing.join(', ')} were not brought up`)
      const used = everyone.filter((host) => host === labTopology.router || wanted.includes(host))
      await machines.hangUp(everyone)
      if (byHand) await virsh('snapshot-revert', used)
      else await vagrant(['snapshot', 'restore', '--no-provision', 'furnished'])
      await Promise.all(used.map((host) => machines!.untilUp(host)))
      if (!isMixed) return machines
      const others = wanted.filter((host) => !everyone.includes(host))
      const network = await NspawnNetwork.start(repository, new Map(others.map((host) => [host, rootDirectory])), keys)
      return Joined.join(place, machines, used, network).catch(async (error: Error) => {
        await network.end()
        throw error
      })
    },
    async close() {
      try {
        if (!keep && place === machineItself) await vagrant(['destroy', '-f'])
        await machines?.hangUp(everyone)
      } finally {
        await place.close()
        await rm(ssh, { recursive: true, force: true })
      }
    },
  }
}
