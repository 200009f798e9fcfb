/** A fleet as `init` proposes it: what goes into fleet.yaml, and what is said beside it. */
import type { Ip } from '../../../proto/model/address.js'
import type { Presence, Survey } from './survey.js'

/** A remark beside a key; a doubt is for the operator to settle. */
export interface Remark {
  text: string
  doubt: boolean
  /** Beside this key of the host or service; undefined: ahead of it. */
  key?: string
}

export interface DraftAddress {
  public: Ip
  /** Undefined: the host itself has the public one. */
  local: Ip | undefined
}

export interface DraftHost {
  name: string
  ssh: string
  become: 'none' | 'sudo'
  addresses: DraftAddress[]
  remarks: Remark[]
}

export interface DraftListener {
  protocol: 'tcp' | 'udp'
  from: number
  to: number
  helper: 'ftp' | undefined
}

export interface DraftService {
  name: string
  from: string
  to: string
  listen: DraftListener[]
  /** Undefined: the hosts' addresses in order. */
  addresses: { old: Ip; new: Ip }[] | undefined
  strategy: 'rolling' | 'recreate'
  unit: string | undefined
  container: string | undefined
  run: { start: string; stop: string } | undefined
  data: string[]
  localhost: boolean
  remarks: Remark[]
}

/** Something that listens and is not proposed. */
export interface Left {
  host: string
  /** `sshd tcp/22` */
  what: string
  why: string
  doubt: boolean
}

export interface DraftFleet {
  name: string
  hosts: DraftHost[]
  tunnelPort: number
  services: DraftService[]
  left: Left[]
}

/** One end of a move. */
export interface DraftEnd {
  name: string
  addresses: readonly DraftAddress[]
  survey: Survey
  systemd: boolean
}

export interface DraftPair {
  old: DraftEnd
  new: DraftEnd
  /** Of the old host's programs, on the new one. */
  presence: Presence
}

export const remark = (text: string, key?: string): Remark => ({
  text,
  doubt: false,
  ...(key === undefined ? {} : { key }),
})
export const doubt = (text: string, key?: string): Remark => ({
  text,
  doubt: true,
  ...(key === undefined ? {} : { key }),
})
