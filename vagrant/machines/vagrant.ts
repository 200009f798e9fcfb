/** The substrate `vagrant`: machines are made once a run, and every scenario finds them as they were then. */
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hostEnvironment } from '../../cli/lab/exec.js'
import { labTopology } from '../../cli/lab/topology.js'
import { debianBox } from '../box/box.js'
import { cacheDirectory } from '../box/root-tree.js'
import type { SubstrateMaker } from '../substrate.js'
import { libvirtByHand, machineItself, type Place, runAt } from './libvirt-by-hand.js'
import { Machines, writeSshConfig } from './machines.js'

/** Emulated processors: four machines have taken 94 s on a quiet machine; on a busy one, five weren't up after half an hour. */
const upMs = 5_400_000
/** Otherwise Vagrant destroys a machine that is late, and the second call begins it anew. */
const up = ['up', '--no-destroy-on-error']

const isInstalled = (program: string): boolean =>
  (hostEnvironment().PATH ?? '').split(':').some((directory) => existsSync(join(directory, program)))

/**
 * FLEETMOVE_BOX=build makes the box of vagrant/box/; where no libvirtd serves this machine, one is started by hand.
 * @param hosts what scenarios need; one more costs half a minute and 270 MB
 * @param keep machines stay after the last scenario, where they are Vagrant's own on this machine
 */
export function vagrantMaker(repository: string, hosts: readonly string[], keep: boolean): SubstrateMaker {
  const directory = join(repository, 'vagrant')
  const scratch = join(cacheDirectory, `vagrant-${process.pid}`)
  const ssh = `/run/fleetmove-ssh-${process.pid}`
  const config = join(ssh, 'config')
  let place: Place = machineItself
  const everyone = [labTopology.router, ...hosts]
  let machines: Machines | undefined
  const env: Record<string, string> = { FLEETMOVE_HOSTS: hosts.join(','), VAGRANT_CWD: directory }
  const vagrant = async (words: string[], timeoutMs = upMs): Promise<string> => {
    const { code, stdout, stderr } = await runAt(place, ['vagrant', ...words], env, timeoutMs)
    const said = `${stdout.slice(-1500)}\n${stderr.slice(-1500)}`.trim()
    if (code !== 0) throw new Error(`vagrant ${words.join(' ')}: exit code ${code}: ${said}`)
    return stdout
  }
  return {
    name: 'vagrant',
    lacks: () => undefined,
    async whyNot() {
      return isInstalled('vagrant') ? undefined : 'vagrant is not installed'
    },
    async prepare(say) {
      const byHand = process.getuid?.() === 0 && isInstalled('libvirtd') && !existsSync('/run/libvirt/libvirt-sock')
      if (byHand) {
        place = await libvirtByHand(scratch)
        env.VAGRANT_DOTFILE_PATH = join(scratch, 'dotfiles')
        env.VAGRANT_DEFAULT_PROVIDER = 'libvirt'
      }
      if (process.env.FLEETMOVE_BOX === 'build') {
        const box = await debianBox(join(directory, 'box'), say)
        env.FLEETMOVE_BOX = 'fleetmove/debian'
        await vagrant(['box', 'add', '--force', '--name', 'fleetmove/debian', box])
        say('the box is added')
      }
      let start = performance.now()
      const took = (what: string): void => {
        say(`${what}: ${((performance.now() - start) / 1000).toFixed(0)} s`)
        start = performance.now()
      }
      // Where an emulated processor keeps SSH waiting for too long, a second call goes on with what is up.
      await vagrant(up).catch((error: Error) => {
        if (!/SSH|timed? ?out/i.test(error.message)) throw error
        say('not every machine answered in time; once more')
        return vagrant(up)
      })
      took(`vagrant up of ${everyone.length} machines`)
      await writeSshConfig(place, config, directory, env)
      machines = new Machines(place, config)
      await Promise.all(everyone.map((host) => machines!.untilUp(host)))
      await machines.furnish(hosts, repository, `${scratch}-keys`)
      took('furnishing them')
      await machines.hangUp(everyone)
      await vagrant(['snapshot', 'save', '--force', 'furnished'])
      took('snapshots')
    },
    async start(wanted) {
      if (!machines) throw new Error('the machines are not prepared')
      const missing = wanted.filter((host) => !hosts.includes(host))
      if (missing.length > 0) throw new Error(`${missing.join(', ')} were not brought up`)
      await machines.hangUp(everyone)
      await vagrant(['snapshot', 'restore', '--no-provision', 'furnished'])
      await Promise.all(everyone.map((host) => machines!.untilUp(host)))
      return machines
    },
    async close() {
      if (!keep && place === machineItself) await vagrant(['destroy', '-f'])
      await machines?.hangUp(everyone)
      await place.close()
      await rm(ssh, { recursive: true, force: true })
    },
  }
}
