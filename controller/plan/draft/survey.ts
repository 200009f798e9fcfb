/**
 * What a host says about the programs that listen on it: the material that `init` drafts a fleet from. Made
 * by discover/parse-survey.ts; text comes from the host as it stands and is not trusted.
 */
import type { Ip } from '../../../proto/model/address.js'

export interface Survey {
  listeners: SurveyListener[]
  /** By process id: those that listen. */
  processes: ReadonlyMap<number, SurveyProcess>
  /** By name, as systemd shows them: `nginx.service`. */
  units: ReadonlyMap<string, SurveyUnit>
  /** What systemd itself listens on, and the unit that it starts then. */
  sockets: { listen: string; activates: string }[]
  containers: SurveyContainer[]
  /** TCP connections that stand, by the listening port. */
  flows: FlowCount[]
  /** Scripts of /etc/init.d. */
  initScripts: ReadonlySet<string>
  /** Directories of known programs that are there and not empty. */
  directories: ReadonlySet<string>
  /** IPv6 addresses that the kernel changes by itself (RFC 8981). */
  temporary: ReadonlySet<string>
  /** Ports that the kernel gives to clients, inclusive. */
  ephemeral: { from: number; to: number }
}

export interface SurveyListener {
  protocol: 'tcp' | 'udp'
  /** Where it is bound: one address, `4` for all of IPv4, `6` for all of IPv6, `both`. */
  bound: Ip | '4' | '6' | 'both'
  port: number
  /** Empty where the kernel itself listens, or it isn't known. */
  pids: number[]
}

export interface SurveyProcess {
  pid: number
  /** The kernel's name of it, at most 15 characters. */
  name: string
  /** Path of the program, '' where it can't be read. */
  program: string
  directory: string
  command: string
  user: string
  /** `nginx.service`; undefined without systemd, and for what a login session has started. */
  unit: string | undefined
  /** Id of the container that it runs in. */
  container: string | undefined
}

export interface SurveyUnit {
  name: string
  description: string
  /** Names below /var/lib. */
  stateDirectories: string[]
  workingDirectory: string
}

export interface SurveyContainer {
  id: string
  name: string
  image: string
  /** Docker Compose's project, its directory and the service's name in it. */
  compose: { project: string; directory: string; service: string } | undefined
  published: { protocol: 'tcp' | 'udp'; port: number; bound: SurveyListener['bound']; inside: number }[]
  /** Writable, and not a socket or another thing of the host's own. */
  mounts: { source: string; target: string }[]
  /** By the port inside. */
  flows: FlowCount[]
}

export interface FlowCount {
  port: number
  connections: number
  /** Distinct addresses. */
  clients: number
  /** Of those connections, the ones from the host itself. */
  local: number
}

/** What of the old host's programs is on the new one. */
export interface Presence {
  programs: ReadonlySet<string>
  units: ReadonlySet<string>
  containers: ReadonlySet<string>
  /** Directories that are there and not empty. */
  full: ReadonlySet<string>
}
