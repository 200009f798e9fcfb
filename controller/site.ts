/** One machine at the other end, and the agent once it runs there. */
import { FleetmoveError } from '../proto/model/error.js'
import type { BasicFacts, HostFacts } from '../proto/model/facts.js'
import type { Name } from '../proto/model/names.js'
import type { Agent } from './agents/agent.js'
import { type GrpcAgent, grpcAgent } from './agents/grpc-agent.js'
import { type InstalledAgent, removeAgent } from './bootstrap/agent-service.js'
import {
  installHost,
  type ReachedHost,
  type ReachOptions,
  reachAgentHost,
  reachHost,
  runsExpected,
} from './bootstrap/bootstrap-host.js'
import { type AgentChannel, openChannel } from './bootstrap/channel.js'
import { collectFacts } from './bootstrap/facts.js'
import { type ForeseenInstall, foreseeInstall } from './bootstrap/foresee-install.js'
import { runningPaths } from './bootstrap/running-paths.js'
import type { AskSecret } from './ssh/ask-secret.js'
import { asRoot, type Become } from './ssh/become.js'
import { connectSsh } from './ssh/connect.js'
import type { ExecOptions, ExecResult } from './ssh/ssh-connection.js'

/** Where a machine is and how we become root there. */
export interface SiteTarget {
  name: Name
  ssh: string
  become: Become
}

export interface SiteOptions {
  askSecret: AskSecret | undefined
  /** Told of assumptions, for -v. */
  log: (host: string, message: string) => void
  /** Told of each call to an agent before it is sent; what it returns, when that call is over. */
  call: (host: string, name: string) => (failed: boolean) => void
}

export interface Installed {
  agent: Agent
  /** Sent; 0 where all was there. */
  bytes: number
  started: boolean
}

export class Site {
  private opened: GrpcAgent | undefined
  /** The agent that was opened. */
  private paths: InstalledAgent | undefined
  /** Of this run's lock on this host, '' while there is none. */
  lockId = ''

  private constructor(
    private readonly target: SiteTarget,
    private readonly options: ReachOptions,
    private readonly reached: ReachedHost<BasicFacts>,
    /** The same host with all its facts, where they were asked for. */
    private readonly examined: ReachedHost | undefined,
    private readonly call: SiteOptions['call'],
  ) {}

  /**
   * Connects and collects facts; changes nothing on the host.
   * @param all whether all facts are needed, as for an installation, and not only those to speak with an agent
   */
  static async connect(target: SiteTarget, { askSecret, log, call }: SiteOptions, all = false): Promise<Site> {
    const options = { askSecret, log: (message: string) => log(target.name, message) }
    const access = { ...target, host: target.name }
    const examined = all ? await reachHost(access, options) : undefined
    return new Site(target, options, examined ?? (await reachAgentHost(access, options)), examined, call)
  }

  get name(): Name {
    return this.target.name
  }
  get basics(): BasicFacts {
    return this.reached.facts
  }
  /** @throws FleetmoveError 'internal' unless it was connected for all of them */
  get facts(): HostFacts {
    return this.whole.facts
  }
  private get whole(): ReachedHost {
    if (this.examined) return this.examined
    throw new FleetmoveError('internal', { message: 'facts of a host that was not asked for them', host: this.name })
  }

  /**
   * The running agent, or null where none runs: one that died may have left its socket.
   * @param other what to do with another version's agent: `pass over` counts it as none, since `install`
   *   will replace it; `use` asks it as it is (the wire only ever grows).
   * @throws FleetmoveError 'conflict' when another version runs: `fleetmove up` replaces it.
   */
  async agent(other: 'refuse' | 'pass over' | 'use' = 'refuse'): Promise<Agent | null> {
    const running = runningPaths(this.basics)
    if (!this.opened && running) {
      if (other === 'use' || (await this.runsExpected())) {
        this.opened = this.talk(await openChannel(this.reached.root, running))
        this.paths = running
      } else if (other === 'refuse') {
        throw new FleetmoveError('conflict', {
          message: "the agent that runs there is another version's",
          hint: 'run `fleetmove up`: it replaces the agent and leaves forwarding alone; or use the version that set the hosts up',
          host: this.name,
        })
      }
    }
    return this.opened ?? null
  }

  /** Whether the agent that `install` would start runs already. */
  runsExpected(): Promise<boolean> {
    return runsExpected(this.reached)
  }

  /** What `install` would do; changes nothing. */
  async foreseeInstall(): Promise<ForeseenInstall> {
    return foreseeInstall(this.whole, await this.runsExpected())
  }

  /** Runs a command as root that only looks. */
  look(argv: readonly string[], options?: ExecOptions): Promise<ExecResult> {
    return this.reached.root.exec(argv, options)
  }

  /** Uploads what is missing, starts the agent if this version isn't running, and opens it. */
  install(): Promise<Installed> {
    return this.installOn(this.whole)
  }

  /** The same where an agent has left something behind that only an agent can take back. */
  async revive(): Promise<Installed> {
    const facts = await collectFacts(this.reached.root)
    return this.installOn({ ...this.reached, facts })
  }

  private async installOn(host: ReachedHost): Promise<Installed> {
    const { installed, sent, service } = await installHost(host)
    this.opened ??= this.talk(await openChannel(this.reached.root, installed))
    this.paths = installed
    return { agent: this.opened, bytes: sent, started: service === 'started' }
  }

  /** Uses the agent over a connection of its own: proof that the host can still be reached from anew. */
  async anew<T>(use: (agent: Agent) => Promise<T>): Promise<T> {
    if (!this.paths) throw new FleetmoveError('internal', { message: 'no agent is known there', host: this.name })
    const connection = await connectSsh(this.target.ssh, { ...this.options, host: this.name })
    try {
      const root = asRoot(connection, this.target.become, this.options.askSecret)
      const agent = this.talk(await openChannel(root, this.paths))
      try {
        return await use(agent)
      } finally {
        await agent.close()
      }
    } finally {
      await connection.close()
    }
  }

  private talk(channel: AgentChannel): GrpcAgent {
    return grpcAgent(this.name, channel, { lockId: () => this.lockId, call: (name) => this.call(this.name, name) })
  }

  /** Whether anything of ours is on the host. */
  get touched(): boolean {
    return this.basics.installed.directory || this.basics.installed.socket || this.opened !== undefined
  }

  /** Removes every file of ours; the agent has left before. */
  async remove(): Promise<void> {
    await this.opened?.close()
    this.opened = undefined
    await removeAgent(this.reached.root)
  }

  async close(): Promise<void> {
    await this.opened?.close()
    await this.reached.root.connection.close()
  }
}
