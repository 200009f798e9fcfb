/** What `installHost` would do to a host, told without doing it. */
import { stat } from 'node:fs/promises'
import { installedAgent, unitFile } from './agent-service.js'
import type { ReachedHost } from './bootstrap-host.js'
import { agentFor } from './bundle.js'
import type { Payload } from './payload.js'
import { logFile, unitName, unitPath } from './remote-paths.js'
import { runtimeFor } from './runtime.js'

export interface ForeseenInstall {
  /** Sentences. */
  steps: string[]
  files: { path: string; content: string; present: string }[]
}

/** @param runs the same agent runs there already: then nothing is to do */
export async function foreseeInstall({ host, root, facts }: ReachedHost, runs: boolean): Promise<ForeseenInstall> {
  if (runs) return { steps: [], files: [] }
  const [runtime, agent] = [await runtimeFor(facts, host), await agentFor(facts, host)]
  const steps = [
    `put Node for the agent (${await megabytes(runtime)} MB, sent packed) into ${runtime.directory}, unless it is there`,
    `put the agent (${await megabytes(agent)} MB) into ${agent.directory}, unless it is there`,
  ]
  const verb = facts.installed.runningAgent === '' ? 'start' : 'restart'
  if (!facts.systemd) {
    return { steps: [...steps, `${verb} the agent as a daemon, which logs to ${logFile}`], files: [] }
  }
  const content = unitFile(installedAgent(runtime, agent))
  const { code, stdout } = await root.exec(['cat', unitPath])
  return {
    steps: [...steps, `write ${unitPath}, enable ${unitName} and ${verb} it`],
    files: [{ path: unitPath, content, present: code === 0 ? stdout : '' }],
  }
}

async function megabytes({ files }: Payload): Promise<string> {
  const sizes = await Promise.all(files.map(async ({ source }) => (await stat(source)).size))
  return (sizes.reduce((sum, size) => sum + size, 0) / 1e6).toFixed(1)
}
