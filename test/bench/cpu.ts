/** Processor time of everything that a bench starts, and of no other work on the machine. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where control groups count processor time: version 1's own hierarchy, or version 2's (cgroups(7)). */
const hierarchies = [
  { directory: '/sys/fs/cgroup/cpuacct', read: (group: string) => Number(text(join(group, 'cpuacct.usage'))) / 1e9 },
  {
    directory: '/sys/fs/cgroup',
    read: (group: string) => Number(/^usage_usec (\d+)$/m.exec(text(join(group, 'cpu.stat')))?.[1]) / 1e6,
  },
]
const text = (file: string): string => readFileSync(file, 'utf8')

/**
 * A control group in which this process and all that it starts from now on run. Packets are the work of
 * whoever sends them, up to a limit: then the kernel's own thread goes on, so that one is counted too.
 */
export class ProcessorTime {
  private constructor(
    private readonly group: string,
    private readonly read: (group: string) => number,
    private readonly before: string,
  ) {}

  static start(): ProcessorTime {
    const found = hierarchies.find(({ directory }) => existsSync(join(directory, 'cgroup.procs')))
    if (!found) throw new Error('this machine has no control group that counts processor time')
    const group = join(found.directory, `fleetmove-bench-${process.pid}`)
    mkdirSync(group)
    const controller = found.directory.endsWith('cpuacct') ? 'cpuacct' : ''
    const line = text('/proc/self/cgroup')
      .split('\n')
      .find((each) => each.split(':')[1]!.split(',').includes(controller))
    writeFileSync(join(group, 'cgroup.procs'), String(process.pid))
    return new ProcessorTime(group, found.read, join(found.directory, line!.split(':')[2]!))
  }

  /** Seconds so far. */
  seconds(): number {
    return this.read(this.group) + softInterruptThreads()
  }

  /** When all that was started has ended. */
  end(): void {
    writeFileSync(join(this.before, 'cgroup.procs'), String(process.pid))
    rmdirSync(this.group)
  }
}

function softInterruptThreads(): number {
  if (threads.length === 0) {
    threads.push(
      ...readdirSync('/proc').filter(
        (pid) =>
          /^\d+$/.test(pid) && existsSync(`/proc/${pid}/comm`) && text(`/proc/${pid}/comm`).startsWith('ksoftirqd/'),
      ),
    )
  }
  return threads.reduce((sum, pid) => sum + Number(text(`/proc/${pid}/schedstat`).split(' ')[0]) / 1e9, 0)
}
const threads: string[] = []
