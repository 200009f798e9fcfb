import type { BasicFacts } from '../../proto/model/facts.js'
import type { InstalledAgent } from './agent-service.js'
import { libraryDirectory } from './remote-paths.js'

/** Of the agent that runs on a host, whichever version it is; undefined where none is known to. */
export const runningPaths = ({ installed }: BasicFacts): InstalledAgent | undefined =>
  installed.socket && installed.runningRuntime !== '' && installed.runningAgent !== ''
    ? {
        runtime: `${libraryDirectory}/runtime-${installed.runningRuntime}/node`,
        agent: `${libraryDirectory}/agent-${installed.runningAgent}/agent.cjs`,
      }
    : undefined
