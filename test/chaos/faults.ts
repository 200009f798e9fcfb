/** What befalls a run: struck at one moment, and healed before the command is run again. */
import type { Practice, Started } from '../e2e/practice.js'
import { holdMs, queuePid, startQueue } from './fleet.js'
import { confirmedKey, differing, kernelState, ledgerOf, runs } from './kernel-state.js'
import type { Random } from './random.js'

export const hosts = ['old1', 'new1'] as const
export type Host = (typeof hosts)[number]

/** Every host's kernel, by what its ledger has confirmed, as it was when nothing was on trial. */
export type Known = Map<string, string>

export interface Struck {
  practice: Practice
  running: Started
  /** The host that is meant; some faults are about both. */
  host: Host
  random: Random
  known: Known
  /** Told of what must not be. */
  violation: (text: string) => void
  /** Counts what was compared with `known`. */
  compared: (how: 'equal' | 'different' | 'unknown') => void
}

export interface Fault {
  /** Whose connections it may harm: `forwarded` those by the other host, `host` all that touch the host. */
  harms: 'nobody' | 'forwarded' | 'host'
  /** @returns what heals it, once the run has ended. */
  strike(struck: Struck): Promise<Heal>
}

export type Heal = () => Promise<void>

/** Long enough to come to its end on a busy machine where nothing is struck. */
export const trialMs = 4000
/** Of the agent's timer and its undoing, on a busy machine. */
const undoMs = 15_000

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const nothing = async (): Promise<void> => {}

const restartAgent = `set -- $words; setsid sh -c 'echo $$ >/run/fleetmove/agent.pid; umask 022; cd /; exec "$@"' sh "$@" </dev/null >>/var/lib/fleetmove/agent.log 2>&1 &`
const killAgent = `pid=$(cat /run/fleetmove/agent.pid 2>/dev/null) || exit 0
words=$(tr '\\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) || exit 0
kill -9 "$pid"`

/** Also of a run that will never come back: whatever was on trial, the hosts must end it by themselves. */
async function awaitUndone({ practice, violation }: Struck, since: number): Promise<void> {
  await sleep(Math.max(0, since + trialMs + 300 - Date.now()))
  for (const host of hosts) {
    while (ledgerOf(practice.lab, host)?.trial) {
      if (Date.now() > since + trialMs + undoMs)
        return violation(`${host}: still on trial ${Date.now() - since} ms after contact was lost`)
      await sleep(50)
    }
  }
  await awaitSomewhere(practice, violation, since)
  for (const host of hosts) {
    while ((ledgerOf(practice.lab, host)?.gaps ?? []).length > 0) {
      if (Date.now() > since + holdMs + undoMs)
        return violation(`${host}: still in the gap ${Date.now() - since} ms after contact was lost`)
      await sleep(50)
    }
  }
}

/** No longer than clients may wait, and what a stop, a start and a look take on a busy machine. */
export async function awaitSomewhere(
  practice: Practice,
  violation: (text: string) => void,
  since: number,
): Promise<void> {
  while (!hosts.some((host) => runs(practice.lab, host, queuePid))) {
    if (Date.now() > since + holdMs + undoMs)
      return violation(`the queue runs nowhere ${Date.now() - since} ms after contact was lost`)
    await sleep(50)
  }
}

/** Nobody but the agents was at work: each host must be what it was when it last confirmed. */
async function compare({ practice, known, violation, compared }: Struck): Promise<void> {
  for (const host of hosts) {
    const key = `${host} ${confirmedKey(ledgerOf(practice.lab, host))}`
    const was = known.get(key)
    if (was === undefined) {
      compared('unknown')
      continue
    }
    // The ledger forgets a trial before the kernel does.
    let left: string[] = []
    for (const end = Date.now() + undoMs; Date.now() < end; await sleep(100)) {
      left = differing(was, await kernelState(practice.lab, host))
      if (left.length === 0) break
    }
    compared(left.length === 0 ? 'equal' : 'different')
    if (left.length > 0) violation(`${host} is not what it was: ${left.slice(0, 6).join(' | ')}`)
  }
}

/** Contact is lost at both hosts in one moment: the run stands still meanwhile. */
async function cutBoth(struck: Struck, also: () => void): Promise<number> {
  const { practice, running } = struck
  running.signal('SIGSTOP')
  for (const host of hosts) await practice.lab.cut('controller', host)
  const since = Date.now()
  also()
  running.signal('SIGCONT')
  return since
}

async function healBoth(practice: Practice): Promise<void> {
  for (const host of hosts) await practice.lab.heal('controller', host)
}

const disk = (script: string): Fault => ({
  harms: 'nobody',
  async strike({ practice, host }) {
    const mounted = await practice.shell(host, `cd / && [ -d /var/lib/fleetmove ] && ${script} && echo yes || true`)
    if (!mounted.includes('yes')) return nothing
    return async () => {
      // A tmpfs that covers the disk has the newer files; what was removed in it must not come back.
      await practice.shell(
        host,
        `mkdir -p /run/lab/kept && if grep -q ' /var/lib/fleetmove tmpfs ' /proc/mounts; then
           rm -f /var/lib/fleetmove/filler; cp -a /var/lib/fleetmove/. /run/lab/kept/; umount -l /var/lib/fleetmove
           find /var/lib/fleetmove -mindepth 1 -delete; cp -a /run/lab/kept/. /var/lib/fleetmove/
         else umount -l /var/lib/fleetmove; fi; rm -rf /run/lab/kept`,
      )
    }
  },
})

export const faults = {
  'kill controller': {
    harms: 'nobody',
    async strike({ running }) {
      running.kill()
      return nothing
    },
  },
  /** As an init would, it is started again after a second. */
  'kill agent': {
    harms: 'nobody',
    async strike({ practice, host }) {
      const said = await practice.shell(host, `${killAgent}; (sleep 1; ${restartAgent}) >/dev/null 2>&1 & echo killed`)
      // A run that had done its work before isn't judged while the agent is away.
      const isBack = `kill -0 "$(cat /run/fleetmove/agent.pid)" && ls /run/fleetmove/agent.sock || true`
      return async () => {
        const end = Date.now() + undoMs
        while (said.includes('killed') && Date.now() < end && !(await practice.shell(host, isBack)).includes('sock'))
          await sleep(100)
      }
    },
  },
  /** Nobody starts it again. */
  'lose agent': {
    harms: 'nobody',
    async strike({ practice, host }) {
      await practice.shell(host, killAgent)
      return nothing
    },
  },
  /** The controller's machine dies while it is cut off. */
  'cut off for good': {
    harms: 'nobody',
    async strike(struck) {
      const since = await cutBoth(struck, () => struck.running.kill())
      await awaitUndone(struck, since)
      await compare(struck)
      return () => healBoth(struck.practice)
    },
  },
  /** It comes back when the hosts have given it up. */
  'cut off for a while': {
    harms: 'nobody',
    async strike(struck) {
      const since = await cutBoth(struck, () => {})
      const ledgers = (): ReturnType<typeof ledgerOf>[] => hosts.map((host) => ledgerOf(struck.practice.lab, host))
      const tried = ledgers().map((ledger) => ledger?.trial?.spec.generation)
      await awaitUndone(struck, since)
      const undone = ledgers().some((ledger, i) => tried[i] !== undefined && ledger?.confirmed?.generation !== tried[i])
      await compare(struck)
      await healBoth(struck.practice)
      const { code } = await struck.running.ended
      if (code === 0 && undone) struck.violation('what the hosts had undone was called success')
      return nothing
    },
  },
  /** From one host only, for less than its trial lasts. */
  'cut short': {
    harms: 'nobody',
    async strike({ practice, host, random }) {
      await practice.lab.cut('controller', host)
      await sleep(200 + random.next() * 1000)
      await practice.lab.heal('controller', host)
      return nothing
    },
  },
  'cut tunnel': {
    harms: 'nobody',
    async strike({ practice, random }) {
      await practice.lab.cut('old1', 'new1')
      await sleep(500 + random.next() * 2000)
      await practice.lab.heal('old1', 'new1')
      return nothing
    },
  },
  'fill disk': disk(
    `mkdir -p /run/lab/kept && cp -a /var/lib/fleetmove/. /run/lab/kept/ && mount -t tmpfs -o size=256k,mode=0700 full /var/lib/fleetmove && cp -a /run/lab/kept/. /var/lib/fleetmove/ && rm -rf /run/lab/kept && { cat /dev/zero >/var/lib/fleetmove/filler 2>/dev/null || true; }`,
  ),
  'read-only disk': disk(
    'mount --bind /var/lib/fleetmove /var/lib/fleetmove && mount -o remount,bind,ro /var/lib/fleetmove',
  ),
  reboot: {
    harms: 'host',
    async strike({ practice, host, running }) {
      // As a unit that is enabled where it runs. The run stands still, or the queue might be stopped behind this look.
      running.signal('SIGSTOP')
      const queue = runs(practice.lab, host, queuePid)
      await practice.lab.reboot(host)
      if (queue) await practice.shell(host, startQueue)
      running.signal('SIGCONT')
      return nothing
    },
  },
  'flush foreign': {
    harms: 'forwarded',
    async strike({ practice, host }) {
      await practice.shell(host, 'nft flush ruleset')
      return nothing
    },
  },
  'flush ours': {
    harms: 'forwarded',
    async strike({ practice, host, random }) {
      const way = random.pick([
        'nft delete table inet fleetmove',
        'ip rule flush protocol 146; ip -6 rule flush protocol 146',
        'for t in $(seq 5181 5184); do ip route flush table $t; ip -6 route flush table $t; done',
        'ip link set fm1 down',
        'ip link delete fm1',
      ])
      await practice.shell(host, `{ ${way}; } 2>/dev/null || true`)
      return nothing
    },
  },
} satisfies Record<string, Fault>

export type FaultName = keyof typeof faults
export const faultNames = Object.keys(faults) as FaultName[]
