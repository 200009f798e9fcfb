/** Every scenario, in the order in which they run. */
import { mainJob } from './main-job.js'
import type { Scenario } from './scenario.js'

export const scenarios: readonly Scenario[] = [...mainJob]
