import type { HostFacts } from '../../proto/model/facts.js'
import type { InstalledAgent } from './agent-service.js'
import { libraryDirectory } from './remote-paths.js'

/** Of the agent that runs on a host, whichever version it is; nothing where none is known to. */
export const runningPaths = ({ installed }: HostFacts): Partial<InstalledAgent> => ({
  ...(installed.runningRuntime === ''
    ? {}
    : { runtime: `${libraryDirectory}/runtime-${installed.runningRuntime}/node` }),
  ...(installed.runningAgent === '' ? {} : { agent: `${libraryDirectory}/agent-${installed.runningAgent}/agent.cjs` }),
})
