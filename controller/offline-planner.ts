/** Steps on hosts without an agent: the agent's own program tells them, run here (docs/decisions). */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { encodeHostSpec } from '../proto/codec.js'
import type * as wire from '../proto/gen/fleetmove.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { HostSpec } from '../proto/model/host-spec.js'
import type { OfflineHost, OfflinePlan } from '../proto/model/offline-plan.js'
import { bundleDirectory } from './bootstrap/bundle.js'

/**
 * @returns for each host a plan for each of its specs, each as if those before it stood
 * @throws FleetmoveError 'internal' with what the program said
 */
export async function planOffline(hosts: readonly OfflineHost<HostSpec>[]): Promise<OfflinePlan[][]> {
  if (hosts.length === 0) return []
  const child = spawn(process.execPath, [join(bundleDirectory(), 'agent.cjs'), 'plan'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  // A program that has ended doesn't read on; its exit code tells.
  child.stdin.on('error', () => {})
  const request: OfflineHost<wire.HostSpec>[] = hosts.map(({ facts, specs }) => ({
    facts,
    specs: specs.map(encodeHostSpec),
  }))
  child.stdin.end(JSON.stringify(request))
  const [out, said, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  if (code === 0) return JSON.parse(out) as OfflinePlan[][]
  throw new FleetmoveError('internal', {
    message: `the agent's program can't plan here (exit code ${code}): ${said.trim()}`,
    hint: 'Run: npm run build',
  })
}
