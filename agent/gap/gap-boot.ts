/** Whether the service starts with the host that it may be leaving, for as long as its gap lasts. */
import type { holdBoot, releaseBoot } from '../boot.js'
import type { Gap } from './gap-state.js'

/** The move itself must not fail because of what a reboot would do: a failure is logged. */
export async function changeBoot(
  { service, plan }: Gap,
  work: typeof holdBoot | typeof releaseBoot,
  log: (message: string, detail: Record<string, unknown>) => void,
): Promise<void> {
  const { role, lifecycle, environment, timeoutMs } = plan
  if (role === 'target' || lifecycle.kind !== 'unit') return
  await work(service, lifecycle.unit, { environment, timeoutMs }).catch((error: Error) =>
    log('whether a unit starts with the host could not be changed', { service, error: error.message }),
  )
}
