/** What scenarios know of the machines that they run on. */
import type { ChildProcess } from 'node:child_process'
import type { ExecOptions, ExecResult } from '../cli/lab/exec.js'

/** What not every substrate can. A scenario that needs what isn't there is skipped, and the table says why. */
export type Ability =
  | 'systemd'
  | 'reboot'
  | 'docker'
  | 'firewalls'
  | 'netem'
  | 'kernel-wireguard'
  | 'wireguard-go'
  | 'releases'

/** A network of hosts that runs. Hosts are called by their names in vagrant/topology.json. */
export interface Substrate {
  readonly name: string
  /** Why an ability isn't there; undefined for one that is. */
  lacks(ability: Ability): string | undefined
  /** On the controller and the clients: Node, and the directory that holds fleetmove's dist/ and test/load/. */
  readonly node: string
  readonly tree: string
  /** How many times longer than on this machine itself everything may take: 1, or what an emulated processor costs. */
  readonly patience: number
  /** Runs a command to its end: as root, without a shell. */
  exec(host: string, argv: readonly string[], options?: ExecOptions): Promise<ExecResult>
  /** Starts a command; `kill` ends it and its children. */
  spawn(host: string, argv: readonly string[]): ChildProcess
  /** Writes a file. */
  copy(host: string, path: string, content: string | Buffer, mode?: number): Promise<void>
  /** Resolves when the host serves again. */
  reboot(host: string): Promise<void>
  /** Drops, at the router, everything between two hosts of different subnets; `heal` undoes it. */
  cut(one: string, other: string): Promise<void>
  heal(one: string, other: string): Promise<void>
  /** Starts to note packets on a host, tcpdump's words for them; `stop` gives its lines. */
  capture(host: string, filter: string): Promise<{ stop(): Promise<string[]> }>
  /** What differs from the host's first files, where the substrate knows a quicker way than to read all. */
  changedFiles?(host: string): Promise<string[]>
  end(): Promise<void>
}

export type Releases = Readonly<Record<string, string>>

/** How a scenario's hosts are had: fresh ones for every scenario. */
export interface SubstrateMaker {
  readonly name: 'nspawn' | 'vagrant' | 'namespaces'
  /** Why it can't work on this machine; undefined where it can. */
  whyNot(): Promise<string | undefined>
  /** What is done once, before the first scenario. */
  prepare(say: (line: string) => void): Promise<void>
  /** What it can't, known without starting it. */
  lacks(ability: Ability): string | undefined
  /** @param releases hosts that don't run the usual Debian release: name → Debian's word, as `trixie` */
  start(hosts: readonly string[], releases: Releases): Promise<Substrate>
  /** After the last scenario. */
  close(): Promise<void>
}
