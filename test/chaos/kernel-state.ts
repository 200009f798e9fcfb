/** What a host's ledger says and what its kernel holds, in a form that can be compared over time. */
import { readFileSync } from 'node:fs'
import type { LedgerBody } from '../../agent/ledger.js'
import type { Lab } from '../../cli/lab/lab.js'

/** The ledger, read from outside: null where there is none or the host is just booting. */
export function ledgerOf(lab: Lab, host: string): LedgerBody | null {
  try {
    const text = readFileSync(`/proc/${lab.pid(host)}/root/var/lib/fleetmove/ledger.json`, 'utf8')
    return JSON.parse(text.split('\n')[1]!) as LedgerBody
  } catch {
    return null
  }
}

/** Equal for the same confirmed state, whatever its generation; '' where nothing is confirmed. */
export function confirmedKey(ledger: LedgerBody | null): string {
  return ledger?.confirmed ? JSON.stringify({ ...ledger.confirmed, generation: 0 }) : ''
}

/** Records of clients come and go by themselves. */
const records = /^\t(set|map) (arrivals|late|silent|shed)\S* \{\n(?:.*\n)*?\t\}\n/gm
/** Numbers of devices only rise; a TUN device's own address is random (RFC 7217). */
const numbers = /^\d+: |@if\d+|fe80::\S+/gm

/**
 * Everything in the kernel that a change could leave, and the tunnels' processes; other processes, and files
 * that change with every call, are left out.
 */
export async function kernelState(lab: Lab, host: string): Promise<string> {
  const [state, files] = await Promise.all([lab.hostState(host), lab.changedFiles(host)])
  const [kernel = '', processes = ''] = state.replace(records, '').replace(numbers, '').split('== processes\n')
  const tunnels = processes.split('\n').filter((name) => /^(wireguard|openvpn)/.test(name))
  const lasting = files.filter(({ path }) => /^\/(etc|run\/wireguard)\b/.test(path))
  return [kernel, ...tunnels, ...lasting.map(({ path }) => path)].join('\n')
}

/** Lines that only one of them has. */
export function differing(was: string, is: string): string[] {
  const [before, now] = [was.split('\n'), is.split('\n')]
  return [
    ...before.filter((line) => !now.includes(line)).map((line) => `- ${line}`),
    ...now.filter((line) => !before.includes(line)).map((line) => `+ ${line}`),
  ]
}

/** Whether the process that a file in the host names is alive there. */
export function runs(lab: Lab, host: string, pidFile: string): boolean {
  try {
    const root = `/proc/${lab.pid(host)}/root`
    const pid = readFileSync(`${root}${pidFile}`, 'utf8').trim()
    return pid !== '' && !/^State:\tZ/m.test(readFileSync(`${root}/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
