import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FleetmoveError } from '../../proto/model/error.js'
import type { HostFacts } from '../../proto/model/facts.js'
import { fileHash } from './file-hash.js'
import { type Payload, payloadOf } from './payload.js'
import { nodeArchitecture } from './runtime.js'

/**
 * Where the build has put the agent: `agent.cjs`, `netlink-x64.node` and `netlink-arm64.node`. Found
 * from the running code, which is either dist/controller/bootstrap or the source beside dist.
 *
 * @throws FleetmoveError('internal') before the first build.
 */
export const bundleDirectory = (): string => {
  const top = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
  const found = [join(top, 'agent'), join(top, 'dist', 'agent')].find((directory) =>
    existsSync(join(directory, 'agent.cjs')),
  )
  if (found === undefined)
    throw new FleetmoveError('internal', {
      message: `the agent's bundle is neither in ${join(top, 'agent')} nor in ${join(top, 'dist', 'agent')}`,
      hint: 'Run: npm run build',
    })
  return found
}

/** The agent for a host's architecture. */
export const agentFor = async (facts: HostFacts, host?: string, directory = bundleDirectory()): Promise<Payload> => {
  const code = join(directory, 'agent.cjs')
  const addon = join(directory, `netlink-${nodeArchitecture(facts.arch, host)}.node`)
  return payloadOf('agent', [
    { name: 'agent.cjs', source: code, sha256: await fileHash(code) },
    { name: 'netlink.node', source: addon, sha256: await fileHash(addon) },
  ])
}
