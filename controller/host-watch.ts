/** One host under watch: a connection that is kept, asked every interval, and made again when it breaks. */
import { setTimeout as delay } from 'node:timers/promises'
import type { PulseReply } from '../proto/gen/fleetmove.js'
import type { TunnelSpec } from '../proto/model/host-spec.js'
import type { Name } from '../proto/model/names.js'
import type { Agent } from './agents/agent.js'
import { Site, type SiteOptions, type SiteTarget } from './site.js'

const againMs = 5000
const endMs = 1000

export interface HostState {
  host: Name
  state: 'connecting' | 'watched' | 'no-agent' | 'unreachable'
  /** Why not. */
  detail: string
}

interface TunnelSample {
  at: number
  index: number
  sent: number
  lost: number
  rttMs: number
  downForMs: number
  detail: string
}

export class WatchedHost {
  state: HostState
  /** The newest answer; undefined while there is none. */
  pulse: PulseReply | undefined
  private before: PulseReply | undefined
  private specs: readonly TunnelSpec[] = []
  private samples: TunnelSample[] = []
  private readonly ending = new AbortController()
  private work: Promise<void> = Promise.resolve()

  constructor(
    private readonly target: SiteTarget,
    private readonly options: SiteOptions,
    private readonly intervalMs: number,
  ) {
    this.state = { host: target.name, state: 'connecting', detail: '' }
  }

  /** Enough is known for a first look: two answers, or that there are none. */
  get settled(): boolean {
    return this.before !== undefined || this.state.state === 'unreachable' || this.state.state === 'no-agent'
  }

  begin(): void {
    this.work = this.run()
  }

  async end(): Promise<void> {
    this.ending.abort()
    // A host that doesn't answer is not waited for.
    await Promise.race([this.work, delay(endMs, undefined, { ref: false })])
  }

  /** New connections a second to a service by this host's address, between the last two answers. */
  rate(service: Name): number | null {
    const of = (pulse: PulseReply | undefined) => pulse?.services.find((each) => each.name === service)
    const [now, then] = [of(this.pulse), of(this.before)]
    if (!now || !then || !this.pulse || !this.before) return null
    const ms = this.pulse.atMs - this.before.atMs
    const opened = now.forwarded + now.served - then.forwarded - then.served
    // Less than before: the table was made anew.
    return ms > 0 && opened >= 0 ? (opened * 1000) / ms : null
  }

  tunnels(
    withinMs: number,
  ): (Pick<TunnelSpec, 'peer' | 'driver' | 'mtu'> &
    Pick<TunnelSample, 'sent' | 'lost' | 'downForMs' | 'detail'> & { rttMs: number | null })[] {
    const since = Date.now() - withinMs
    return this.specs.map(({ index, peer, driver, mtu }) => {
      const own = this.samples.filter((sample) => sample.index === index && sample.at >= since)
      const sum = (key: 'sent' | 'lost'): number => own.reduce((all, sample) => all + sample[key], 0)
      const last = own.at(-1)
      return {
        peer,
        driver,
        mtu,
        rttMs: last && last.rttMs > 0 ? last.rttMs : null,
        sent: sum('sent'),
        lost: sum('lost'),
        downForMs: last?.downForMs ?? 0,
        detail: last?.detail ?? '',
      }
    })
  }

  private async run(): Promise<void> {
    const { signal } = this.ending
    const pause = (ms: number): Promise<void> => delay(ms, undefined, { signal }).catch(() => {})
    while (!signal.aborted) {
      let site: Site | undefined
      try {
        site = await Site.connect(this.target, this.options)
        const agent = signal.aborted ? null : await site.agent()
        if (agent) await this.follow(agent, pause)
        else this.lose('no-agent', 'no agent runs there')
      } catch (error) {
        this.lose('unreachable', (error as Error).message)
      } finally {
        await site?.close().catch(() => {})
      }
      await pause(againMs)
    }
  }

  private async follow(agent: Agent, pause: (ms: number) => Promise<void>): Promise<void> {
    let generation = -1
    while (!this.ending.signal.aborted) {
      const due = performance.now() + this.intervalMs
      const pulse = await agent.pulse()
      const newest = Math.max(0, ...pulse.services.map((each) => each.generation))
      if (newest !== generation) {
        generation = newest
        const { trial, confirmed } = await agent.hello()
        this.specs = (trial ?? confirmed)?.tunnels ?? []
      }
      this.before = this.pulse
      this.pulse = pulse
      const at = Date.now()
      this.samples.push(...pulse.tunnels.map((tunnel) => ({ at, ...tunnel })))
      this.samples = this.samples.filter((sample) => sample.at > at - 60_000)
      this.state = { host: this.target.name, state: 'watched', detail: '' }
      await pause(Math.max(0, due - performance.now()))
    }
  }

  private lose(state: 'no-agent' | 'unreachable', detail: string): void {
    this.pulse = undefined
    this.before = undefined
    this.state = { host: this.target.name, state, detail }
  }
}
