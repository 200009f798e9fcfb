import { agentBench } from './agent.js'
import type { Bench } from './bench.js'
import { cliBench } from './cli.js'
import { forwardBench } from './forward.js'
import { scaleBench } from './scale.js'
import { setupBench } from './setup.js'
import { simulatedBench } from './simulated.js'
import { recreateBench, switchBench } from './switch.js'

export const benches: readonly Bench[] = [
  forwardBench,
  switchBench,
  recreateBench,
  scaleBench,
  simulatedBench,
  setupBench,
  agentBench,
  cliBench,
]
