/** A namespace host with an agent of its own and a private /srv, for copies of data. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { credentials } from '@grpc/grpc-js'
import type { Agent } from '../../controller/agents/agent.js'
import { type GrpcAgent, grpcAgent } from '../../controller/agents/grpc-agent.js'
import type { HostSpec, TunnelSpec } from '../../proto/model/host-spec.js'
import { ip, name, spec, tunnel } from '../unit/agent/plan/specs.js'
import { NamespaceHost, type RunningProcess, until } from './namespace-host.js'

export const addresses = {
  old: { link: '10.88.0.1', other: '10.88.1.1' },
  new: { link: '10.88.0.2', other: '10.88.1.2' },
}
type Side = keyof typeof addresses

export class DataHost {
  private process: RunningProcess | undefined
  private client: GrpcAgent | undefined
  private constructor(
    readonly side: Side,
    readonly host: NamespaceHost,
    private readonly namespace: string,
    private readonly root: string,
    private readonly program: string,
  ) {}

  static async start(side: Side, program: string): Promise<DataHost> {
    const host = await NamespaceHost.start(side)
    await host.sh('mount -t tmpfs -o size=256m none /srv')
    // The shell behind nsenter is gone by the time we look: ask for what stays.
    const namespace = (await host.exec('readlink', '/proc/self/ns/net')).trim()
    const holder = processes(namespace).find(({ argv }) => argv[0] === 'sleep')!
    return new DataHost(side, host, namespace, `/proc/${holder.pid}/root`, program)
  }

  get tunnel(): TunnelSpec {
    const peer = this.side === 'old' ? 'new' : 'old'
    return tunnel(1, {
      ...{ driver: 'direct', device: 'eth0', peer: name(peer), remote: ip(addresses[peer].link), mtu: 1500 },
      ...{ local4: ip(addresses[this.side].link), peer4: ip(addresses[peer].link) },
      ...{ local6: ip(`fd88::${this.side === 'old' ? 1 : 2}`), peer6: ip(`fd88::${peer === 'old' ? 1 : 2}`) },
      ...{ peerAddresses: [ip(addresses[peer].link)], probe: { port: 52820, pairs: [] } },
    })
  }

  /** Starts the agent, and gives it the link as its tunnel when it is new here. */
  async serve(): Promise<void> {
    this.process = this.host.spawn(['node', this.program, 'serve'])
    await until(`the agent of ${this.side}`, 20_000, async () => this.process!.log.includes('"serves"')).catch(
      (error: Error) => {
        throw new Error(`${error.message}; it says: ${this.process!.log || 'nothing'}`)
      },
    )
    const channel = {
      ...{ address: `unix:${this.socket}`, credentials: credentials.createInsecure() },
      ...{ options: { 'grpc.default_authority': 'localhost', 'grpc.use_local_subchannel_pool': 1 } },
      ...{ failure: () => undefined, slowness: 1, close: async () => {} },
    }
    this.client = grpcAgent(name(this.side), channel, { lockId: () => '', call: () => () => {} })
    if ((await this.client.hello()).confirmed) return
    const wanted: HostSpec = { ...spec([this.tunnel], []), host: name(this.side) }
    await this.client.apply(wanted, 30_000)
    await this.client.confirm(1)
  }

  /** As this machine sees it. */
  get socket(): string {
    return `${this.root}/run/fleetmove/agent.sock`
  }
  /** What the agent has logged. */
  get said(): string {
    return this.process?.log ?? ''
  }

  get agent(): Agent {
    return this.client!
  }

  /** As a crash: nothing of the agent has a chance to clean up. */
  async killAgent(): Promise<void> {
    const agent = this.running('node').find(({ argv }) => argv.includes('serve'))!
    process.kill(agent.pid, 'SIGKILL')
    await until('the agent is dead', 5000, async () => !this.running('node').some(({ pid }) => pid === agent.pid))
    await this.client!.close()
  }

  running(program: string): { pid: number; argv: string[] }[] {
    return processes(this.namespace).filter(({ argv }) => argv[0]?.endsWith(program))
  }
  all(): { pid: number; argv: string[] }[] {
    return processes(this.namespace)
  }

  async end(): Promise<void> {
    await this.client?.close()
    await this.host.end()
  }
}

function processes(namespace: string): { pid: number; argv: string[] }[] {
  return readdirSync('/proc').flatMap((entry) => {
    try {
      if (!/^\d+$/.test(entry) || readlinkSync(`/proc/${entry}/ns/net`) !== namespace) return []
      return [{ pid: Number(entry), argv: readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0') }]
    } catch {
      return []
    }
  })
}
