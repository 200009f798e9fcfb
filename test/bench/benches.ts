import type { Bench } from './bench.js'
import { forwardBench } from './forward.js'
import { switchBench } from './switch.js'

export const benches: readonly Bench[] = [forwardBench, switchBench]
