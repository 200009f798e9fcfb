import type { HostFacts } from '../../proto/model/facts.js'
import type { RootAccess } from '../ssh/become.js'
import { factsScript } from './facts-script.js'
import { parseFacts } from './parse-facts.js'

/** Loading a kernel module or a slow DNS-bound sudo may take seconds; a host that needs more is broken. */
const factsTimeoutMs = 30_000

/**
 * Asks a host for its facts; nothing is changed there.
 *
 * @throws FleetmoveError('unreachable' | 'timeout'), and ('preflight') where the host can't run the script.
 */
export const collectFacts = async (root: RootAccess): Promise<HostFacts> => {
  const { code, stdout, stderr } = await root.exec(['sh', '-s'], { input: factsScript, timeoutMs: factsTimeoutMs })
  const facts = parseFacts(stdout)
  if (facts === undefined)
    throw root.connection.error(
      'preflight',
      `the host does not run a plain shell script: ${(stderr || stdout).trim().slice(0, 200) || `exit code ${code}`}`,
      'fleetmove needs a POSIX sh and root on the host.',
    )
  return facts
}
