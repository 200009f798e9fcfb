/** One machine at the other end: its SSH connection, root on it, and the agent once it runs. */
import type { HostFacts } from '../proto/model/facts.js'
import type { Name } from '../proto/model/names.js'
import type { Agent } from './agents/agent.js'
import { type GrpcAgent, grpcAgent } from './agents/grpc-agent.js'
import { type InstalledAgent, installedAgent, removeAgent, startAgent } from './bootstrap/agent-service.js'
import { agentFor } from './bootstrap/bundle.js'
import { openChannel } from './bootstrap/channel.js'
import { collectFacts } from './bootstrap/facts.js'
import { runtimeFor } from './bootstrap/runtime.js'
import { upload } from './bootstrap/upload.js'
import type { AskSecret } from './ssh/ask-secret.js'
import { asRoot, type Become, type RootAccess } from './ssh/become.js'
import { connectSsh } from './ssh/connect.js'
import type { SshConnection } from './ssh/ssh-connection.js'

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
}

export class Site {
  private constructor(
    readonly name: Name,
    private readonly target: SiteTarget,
    private readonly options: SiteOptions,
    private readonly connection: SshConnection,
    private readonly root: RootAccess,
    readonly facts: HostFacts,
  ) {}

  private opened: GrpcAgent | undefined

  /** Connects and collects facts; changes nothing on the host. */
  static async connect(target: SiteTarget, options: SiteOptions): Promise<Site> {
    const { connection, root } = await login(target, options)
    try {
      return new Site(target.name, target, options, connection, root, await collectFacts(root))
    } catch (error) {
      await connection.close()
      throw error
    }
  }

  /**
   * The running agent of this version, or null where none runs.
   * @throws FleetmoveError 'unreachable' when another version runs: `fleetmove up` replaces it.
   */
  async agent(): Promise<Agent | null> {
    if (this.opened) return this.opened
    if (!this.facts.installed.socket) return null
    this.opened = grpcAgent(this.name, await openChannel(this.root, await this.installed()))
    return this.opened
  }

  /** Uploads what is missing, starts the agent if it isn't running, and opens it. */
  async install(): Promise<{ agent: Agent; bytes: number; started: boolean }> {
    const runtime = await runtimeFor(this.facts, this.name)
    const bundle = await agentFor(this.facts, this.name)
    const bytes = (await upload(this.root, runtime)) + (await upload(this.root, bundle))
    const installed = installedAgent(runtime, bundle)
    const started = (await startAgent(this.root, installed, this.facts.systemd)) === 'started'
    this.opened ??= grpcAgent(this.name, await openChannel(this.root, installed))
    return { agent: this.opened, bytes, started }
  }

  /** Uses the agent over a connection of its own: proof that the host can still be reached from anew. */
  async anew<T>(use: (agent: Agent) => Promise<T>): Promise<T> {
    const { connection, root } = await login(this.target, this.options)
    try {
      const agent = grpcAgent(this.name, await openChannel(root, await this.installed()))
      try {
        return await use(agent)
      } finally {
        await agent.close()
      }
    } finally {
      await connection.close()
    }
  }

  /** Removes every file of ours; the agent has left before. */
  async remove(): Promise<void> {
    await this.opened?.close()
    this.opened = undefined
    await removeAgent(this.root)
  }

  async close(): Promise<void> {
    await this.opened?.close()
    await this.connection.close()
  }

  private async installed(): Promise<InstalledAgent> {
    return installedAgent(await runtimeFor(this.facts, this.name), await agentFor(this.facts, this.name))
  }
}

async function login(target: SiteTarget, options: SiteOptions): Promise<{ connection: SshConnection; root: RootAccess }> {
  const connection = await connectSsh(target.ssh, {
    host: target.name,
    askSecret: options.askSecret,
    log: (message) => options.log(target.name, message),
  })
  return { connection, root: asRoot(connection, target.become, options.askSecret) }
}
