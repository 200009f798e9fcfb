import type { Bench } from './bench.js'
import { switchBench } from './switch.js'

export const benches: readonly Bench[] = [switchBench]
