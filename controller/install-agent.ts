/** An agent comes to a host: told while it does, and kept in the record. */
import type { Name } from '../proto/model/names.js'
import type { Agent } from './agents/agent.js'
import { type Progress, timed } from './progress.js'
import type { Recorder } from './record.js'
import type { Installed, Site } from './site.js'

export interface Installing {
  agents: Map<Name, Agent>
  progress: Progress
  record: Recorder
}

export async function installAgent(
  { agents, progress, record }: Installing,
  { name }: Site,
  install: () => Promise<Installed>,
): Promise<void> {
  const { agent, bytes, started } = await timed(progress, name, 'agent', install, ({ bytes, started }) =>
    [bytes > 0 ? `${(bytes / 1e6).toFixed(1)} MB sent` : 'nothing sent', started ? 'started' : 'runs already'].join(
      ', ',
    ),
  )
  agents.set(name, agent)
  const steps = [
    ...(bytes > 0 ? ['put the agent and its runtime into /usr/local/lib/fleetmove'] : []),
    ...(started ? ['start the agent as a service of the host'] : []),
  ]
  if (steps.length > 0) record.add({ type: 'host', host: name, what: 'installed', steps })
}
