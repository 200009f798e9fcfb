/** The configuration of the rsync daemon that lets one peer read some directories: rsyncd.conf(5). Pure. */
import type { Ip } from '../../proto/model/address.js'

export interface DaemonConfig {
  /** Holds everything of this daemon; its own path without spaces. */
  directory: string
  address: Ip
  port: number
  peer: Ip
  user: string
  modules: number
}

export const moduleName = (index: number): string => `d${index}`
/** A symbolic link to the directory: a path in rsyncd.conf is trimmed, continued by \ and has %variables%. */
export const moduleLink = (directory: string, index: number): string => `${directory}/${moduleName(index)}`
export const secretsFile = (directory: string): string => `${directory}/secrets`
export const logFile = (directory: string): string => `${directory}/log`

/** Longer than any pause in a copy: rsync keeps a connection alive while it compares large files. */
const silenceSeconds = 600
/** One copies; one more may be there still, of a receiver that was killed. */
const connections = 4

export function daemonConfig({ directory, address, port, peer, user, modules }: DaemonConfig): string {
  const lines = [
    `address = ${address}`,
    `port = ${port}`,
    `lock file = ${directory}/lock`,
    `log file = ${logFile(directory)}`,
    `hosts allow = ${peer}`,
    // Waits for a name server otherwise, for every connection.
    'reverse lookup = no',
    `auth users = ${user}`,
    `secrets file = ${secretsFile(directory)}`,
    `max connections = ${connections}`,
    `timeout = ${silenceSeconds}`,
    'list = no',
    'read only = yes',
    'use chroot = yes',
    // Links are copied as they are; the chroot keeps the daemon from following one out.
    'munge symlinks = no',
    // Owners by number: neither host needs to know the other's names. The default is nobody, who can't read all.
    'uid = 0',
    'gid = 0',
    'numeric ids = yes',
  ]
  for (let index = 0; index < modules; index++) {
    lines.push(`[${moduleName(index)}]`, `path = ${moduleLink(directory, index)}`)
  }
  return `${lines.join('\n')}\n`
}
