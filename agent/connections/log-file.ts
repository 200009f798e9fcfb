/** Lines in a file that never grows beyond a bound, and never faster than a rate. */
import { appendFileSync, renameSync, statSync } from 'node:fs'

export interface LogLimits {
  /** Of one file; the one before is kept beside as PATH.1. */
  bytes: number
  perSecond: number
  /** At once, after a quiet time. */
  burst: number
}

export class LogFile {
  private size: number
  private allowance: number
  private refilled: number
  private left = 0
  private pending: string[] = []

  constructor(
    private readonly path: string,
    private readonly limits: LogLimits,
    private readonly clock: () => number = Date.now,
  ) {
    this.size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
    this.allowance = limits.burst
    this.refilled = clock()
  }

  /** Keeps a line for the next `flush`; what is too much is only counted. */
  add(entry: object): void {
    const now = this.clock()
    const { burst, perSecond } = this.limits
    this.allowance = Math.min(burst, this.allowance + ((now - this.refilled) * perSecond) / 1000)
    this.refilled = now
    if (this.allowance < 1) {
      this.left += 1
      return
    }
    this.allowance -= 1
    this.pending.push(`${JSON.stringify(entry)}\n`)
  }

  flush(): void {
    if (this.left > 0) {
      this.pending.push(`${JSON.stringify({ at: new Date(this.clock()).toISOString(), leftOut: this.left })}\n`)
      this.left = 0
    }
    if (this.pending.length === 0) return
    const text = this.pending.join('')
    this.pending = []
    if (this.size > 0 && this.size + text.length > this.limits.bytes) {
      renameSync(this.path, `${this.path}.1`)
      this.size = 0
    }
    appendFileSync(this.path, text, { mode: 0o600 })
    this.size += Buffer.byteLength(text)
  }
}
