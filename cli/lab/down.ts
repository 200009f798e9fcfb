import { FleetmoveError } from '../../proto/model/error.js'
import { killAndWait, waitGone } from './process.js'
import { bootId, type LabState, liveness, readState, removeState } from './state.js'

/**
 * Ends a lab, or what a crash left of one: all its processes, and with them its namespaces and mounts,
 * then its directory. False if there was none.
 */
export async function labDown(name: string): Promise<boolean> {
  const state = readState(name)
  if (!state) return removeState(name, undefined)
  if (liveness(state) === 'starting' && state.maker.pid !== process.pid)
    throw new FleetmoveError('locked', {
      message: `the practice network "${name}" is being started by process ${state.maker.pid}`,
      hint: 'Wait until that is done, or end that process',
    })
  await endProcesses(state)
  return removeState(name, state)
}

/** Kills the lab's init and waits for it: the kernel ends it only after everything in its pid namespace. */
export async function endProcesses(state: LabState): Promise<void> {
  if (state.bootId !== bootId()) return
  const gone =
    (state.init === undefined || (await killAndWait(state.init, 15_000))) &&
    (state.launcher === undefined || (await waitGone(state.launcher, 5_000)))
  if (!gone)
    throw new FleetmoveError('timeout', {
      message: `processes of the practice network "${state.name}" don't end`,
      hint: `See what process ${state.init?.pid} and its children wait for`,
    })
}
