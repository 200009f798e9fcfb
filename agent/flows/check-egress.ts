import { FleetmoveError } from '../../proto/model/error.js'
import type { HostSpec } from '../../proto/model/host-spec.js'
import { cgroupMount } from '../kernel/cgroup-mount.js'
import type { ListeningProcesses } from './listening-processes.js'

/**
 * Before anything changes: a rule that stands and chooses nobody would be a promise that isn't kept.
 * @throws FleetmoveError 'kernel' without cgroups of version 2; 'preflight' where a service's processes share what
 * they would be known by
 */
export async function checkEgress({ services }: HostSpec, listening: ListeningProcesses): Promise<void> {
  for (const service of services) {
    const { unit, listeners } = service.egress ?? {}
    if (unit !== undefined) await cgroupMount()
    if (!listeners) continue
    const { cgroups, shared } = await listening.choose(service)
    if (cgroups.length > 0) await cgroupMount()
    if (shared === undefined) continue
    throw new FleetmoveError('preflight', {
      message: `what ${service.name} opens itself can't be told apart: ${shared}`,
      hint: `name egress_from: of ${service.name} in fleet.yaml: { unit: … }, { container: … }, { uid: … } or { source: … }`,
    })
  }
}
