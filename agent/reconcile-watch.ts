/**
 * Tells when the kernel's state changes, as ip-monitor(8) and `nft monitor` (nft(8), "MONITOR") print it.
 * Programs of their own, because a queue of events that overflows ends the process that reads it by the
 * netlink package.
 */
import { type BoundProcess, startBound } from './data/bound-process.js'

/**
 * Only what is taken away: our sets grow with every client, and whatever is added beside our table doesn't
 * touch it. A table or a chain goes with its rules; elements that time out aren't told of.
 */
const nft = ['nft', 'monitor', 'destroy'] as const
/** netconf (rtnetlink's RTM_NEWNETCONF) tells of rp_filter and forwarding, but not of accept_ra. */
const ip = ['ip', '-o', 'monitor', 'link', 'address', 'route', 'rule', 'netconf'] as const

/**
 * Routers learn thousands of routes a second: of routes only those by our devices, in our tables, and
 * default ones. Every link, because one that isn't ours may carry ours (driver direct), and every address, because
 * one that has moved stands on a device of the host's own.
 */
const relevantIp =
  /\bfmw?\d|\b(lookup|table) 5[12]\d\d\b|^(Deleted )?(blackhole )?default\b|^(Deleted )?\d+: \S+ *<|^(Deleted )?\d+: \S+ +inet6? |\b(rp_filter|forwarding) |^(Deleted )?5180:/m
const relevantNft = /\bfleetmove\b/
/**
 * Chains, rules and tables of other firewalls, old and new: they may drop what is ours from now on, or have
 * lost a rule of ours. Not those that only translate: Kubernetes changes them all day.
 */
const foreign = ['nft', 'monitor', 'ruleset'] as const
const relevantForeign = /^\S+ (table|chain|rule) (ip6?|inet) (?!fleetmove\b|nat\b|mangle\b|raw\b)/m

const restartMs = 10_000

export interface Watch {
  /** What can't be watched now, and why; a sentence without a full stop each. */
  readonly blind: readonly string[]
  close(): Promise<void>
}

/** @param onChange called often, and also for changes that don't concern us */
export function watchKernel(onChange: () => void): Watch {
  const watchers = [
    new Watcher(ip, relevantIp, onChange),
    new Watcher(nft, relevantNft, onChange),
    new Watcher(foreign, relevantForeign, onChange),
  ]
  return {
    get blind() {
      return watchers.flatMap(({ problem }) => problem ?? [])
    },
    close: async () => {
      await Promise.all(watchers.map((watcher) => watcher.close()))
    },
  }
}

class Watcher {
  problem: string | undefined
  private running: BoundProcess | undefined
  private timer: NodeJS.Timeout | undefined
  private closed = false
  /** The beginning of a line that hasn't ended. */
  private rest = ''

  constructor(
    private readonly argv: readonly string[],
    private readonly relevant: RegExp,
    private readonly onChange: () => void,
  ) {
    this.start()
  }

  async close(): Promise<void> {
    this.closed = true
    clearTimeout(this.timer)
    await this.running?.end()
  }

  private start(): void {
    let words = ''
    const running = startBound({
      argv: this.argv,
      directory: '',
      onOutput: (text) => this.read(text),
      // Lost events are told here ("No buffer space available"): the next look sees what they were.
      onComplaint: (text) => {
        words = (words + text).slice(-500)
        this.onChange()
      },
    })
    this.running = running
    this.problem = undefined
    const again = (why: string): void => {
      if (this.closed) return
      this.problem = `${this.argv.slice(0, 3).join(' ')}: ${why}`
      this.timer = setTimeout(() => {
        this.start()
        // What happened meanwhile was not told.
        this.onChange()
      }, restartMs)
      this.timer.unref()
    }
    running.exit.then(
      (code) => again(words.trim() || `ended (${code === null ? 'by a signal' : `exit code ${code}`})`),
      (error: Error) => again(error.message),
    )
  }

  private read(text: string): void {
    const lines = this.rest + text
    const end = lines.lastIndexOf('\n') + 1
    this.rest = lines.slice(end).slice(-4096)
    if (this.relevant.test(lines.slice(0, end))) this.onChange()
  }
}
