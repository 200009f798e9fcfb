import type { BasicFacts, HostFacts } from '../../proto/model/facts.js'
import type { RootAccess } from '../ssh/become.js'
import { basicsScript, factsScript } from './facts-script.js'
import { parseFacts } from './parse-facts.js'

/** Loading a kernel module or a slow DNS-bound sudo may take seconds, and each process of the script its turn where thirty wait for a processor. */
const factsTimeoutMs = 90_000

/**
 * Asks a host for its facts; nothing is changed there.
 *
 * @throws FleetmoveError('unreachable' | 'timeout'), and ('preflight') where the host can't run the script.
 */
export const collectFacts = (root: RootAccess): Promise<HostFacts> => ask(root, factsScript)

/** The same for the few that every command needs: a hundredth of the work. */
export const collectBasics = (root: RootAccess): Promise<BasicFacts> => ask(root, basicsScript)

const ask = async (root: RootAccess, script: string): Promise<HostFacts> => {
  const asked = root.exec(['sh', '-s'], { input: script, timeoutMs: factsTimeoutMs })
  const { code, stdout, stderr } = await asked.catch(async (error) => {
    // It may be that sudo never came to its turn.
    await refuseShell(root)
    throw error
  })
  const facts = parseFacts(stdout)
  if (facts === undefined) await refuseShell(root)
  if (facts === undefined)
    throw root.connection.error(
      'preflight',
      `the host does not run a plain shell script: ${(stderr || stdout).trim().slice(0, 200) || `exit code ${code}`}`,
      'fleetmove needs a POSIX sh and root on the host.',
    )
  return facts
}

/** @throws FleetmoveError('unreachable') unless the user who is logged in can run a command at all */
const refuseShell = async ({ connection }: RootAccess): Promise<void> => {
  const { user, hostname } = connection.target
  const { code, stdout, stderr } = await connection.exec('true')
  if (code !== 0)
    throw connection.error(
      'unreachable',
      `${user}@${hostname} lets us in but runs no commands: ${(stderr + stdout).trim() || `exit code ${code}`}`,
      'Give that user a login shell (chsh -s /bin/sh), or log in as another one.',
    )
}
