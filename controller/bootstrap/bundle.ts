import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FleetmoveError } from '../../proto/model/error.js'
import type { BasicFacts } from '../../proto/model/facts.js'
import { fileHash } from './file-hash.js'
import { type Payload, payloadOf } from './payload.js'
import { nodeArchitecture } from './runtime.js'
import { isSingleExecutable, unpackAgent } from './single-executable.js'

/**
 * Where the build has put the agent: `agent.cjs`, `netlink-x64.node` and `netlink-arm64.node`. Found
 * from the running code, which is a file in dist/cli, or this source with dist beside it; or inside of the
 * single executable.
 *
 * @throws FleetmoveError('internal') before the first build.
 */
export const bundleDirectory = (): string => {
  if (isSingleExecutable()) return unpackAgent()
  const here = dirname(fileURLToPath(import.meta.url))
  const candidates = [join(here, '..', 'agent'), join(here, '..', '..', 'dist', 'agent')]
  const found = candidates.find((directory) => existsSync(join(directory, 'agent.cjs')))
  if (found === undefined)
    throw new FleetmoveError('internal', {
      message: `the agent's bundle is not in ${candidates.join(' nor in ')}`,
      hint: 'Run: npm run build',
    })
  return found
}

/** The agent for a host's architecture. */
export const agentFor = async (
  facts: Pick<BasicFacts, 'arch'>,
  host?: string,
  directory = bundleDirectory(),
): Promise<Payload> => {
  const code = join(directory, 'agent.cjs')
  const addon = join(directory, `netlink-${nodeArchitecture(facts.arch, host)}.node`)
  return payloadOf('agent', [
    { name: 'agent.cjs', source: code, sha256: await fileHash(code) },
    { name: 'netlink.node', source: addon, sha256: await fileHash(addon) },
  ])
}
