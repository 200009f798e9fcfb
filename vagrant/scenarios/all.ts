/** Every scenario, in the order in which they run. */
import { agentUnit, runCommands } from './agent-unit.js'
import { compose } from './compose.js'
import { docker } from './docker.js'
import { egressUnit } from './egress-unit.js'
import { firewalls } from './firewalls.js'
import { machinesOnly } from './machines-only.js'
import { mainJob } from './main-job.js'
import { moves } from './moves.js'
import { reboots } from './reboots.js'
import type { Scenario } from './scenario.js'

export const scenarios: readonly Scenario[] = [
  ...mainJob,
  agentUnit,
  runCommands,
  ...moves,
  ...docker,
  ...compose,
  egressUnit,
  ...reboots,
  ...firewalls,
  ...machinesOnly,
]
