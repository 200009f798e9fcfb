/** A service's lifecycle and health as the wire has them, as the agent does them. */
import type { z } from 'zod'
import { familyOf } from '../proto/model/address.js'
import { FleetmoveError } from '../proto/model/error.js'
import type { HostSpec } from '../proto/model/host-spec.js'
import type { HealthCheck } from './health.js'
import type { LifecycleMeans } from './lifecycle.js'
import type { requests } from './requests.js'

export function meansOf({
  unit,
  container,
  composeFile,
  composeService,
  start,
  stop,
}: z.infer<typeof requests.lifecycle>['lifecycle']): LifecycleMeans {
  if (composeFile !== '') return { kind: 'compose', file: composeFile, composeService }
  if (unit !== '') return { kind: 'unit', unit }
  if (container !== '') return { kind: 'container', container }
  return { kind: 'run', start, stop }
}

export function checkOf(
  check: Omit<z.infer<typeof requests.health>, 'service' | 'timeoutMs'>,
  spec: HostSpec | null,
): HealthCheck {
  const { kind, url, command, address, port } = check
  if (kind === 'http') return { kind, url }
  if (kind === 'command') return { kind, command }
  if (address === '' || port === 0)
    throw new FleetmoveError('invalid', { message: 'health: tcp needs an address and a port' })
  const tunnel = spec?.tunnels[0]
  const from = familyOf(address) === 4 ? tunnel?.local4 : tunnel?.local6
  // A link-local address (driver direct) would need its device named, too.
  return { kind, address, port, from: from?.startsWith('fe80:') ? undefined : from }
}
