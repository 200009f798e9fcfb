/** Looks all the time at how many hosts a service runs on, the queue unless its pid file is given. */
import type { Lab } from '../../cli/lab/lab.js'
import { hosts } from './faults.js'
import { queuePid } from './fleet.js'
import { runs } from './kernel-state.js'

const everyMs = 20

export class Watch {
  private readonly timer: NodeJS.Timeout
  /** By performance.now(); undefined while it runs. */
  nowhereSince: number | undefined
  longestGapMs = 0

  constructor(lab: Lab, onTwice: () => void, pidFile = queuePid) {
    let twice = false
    this.timer = setInterval(() => {
      const count = hosts.filter((host) => runs(lab, host, pidFile)).length
      if (count > 1 && !twice) onTwice()
      twice = count > 1
      if (count > 0) this.nowhereSince = undefined
      else {
        this.nowhereSince ??= performance.now()
        this.longestGapMs = Math.max(this.longestGapMs, performance.now() - this.nowhereSince)
      }
    }, everyMs)
  }

  end(): void {
    clearInterval(this.timer)
  }
}
