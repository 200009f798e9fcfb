import { readFile } from 'node:fs/promises'
import { FleetmoveError } from '../../proto/model/error.js'
import {
  certAuthorityFor,
  fingerprint,
  hostKeyType,
  judgeHostKey,
  type KnownHostsEntry,
  parseKnownHosts,
} from './known-hosts.js'
import type { ResolvedTarget } from './resolve-target.js'
import { shellQuote } from './shell-quote.js'
import { parseSshTarget } from './ssh-target.js'

/** Reads a host's known_hosts files; one that isn't there counts as empty. */
export const readKnownHosts = async (files: readonly string[]): Promise<KnownHostsEntry[]> => {
  const entries: KnownHostsEntry[] = []
  for (const file of files) {
    try {
      entries.push(...parseKnownHosts(file, await readFile(file, 'utf8')))
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'ENOENT' || code === 'ENOTDIR') continue
      // A file that can't be read may hold a revocation: going on without it would be lax.
      throw new FleetmoveError('host-key', {
        message: `${file} can't be read: ${(error as Error).message}`,
        hint: 'Make the file readable, or take it out of UserKnownHostsFile.',
        cause: error,
      })
    }
  }
  return entries
}

/**
 * Judges the key that a host presents, strictly: StrictHostKeyChecking is not consulted, since nobody
 * is there to ask in the middle of a move.
 *
 * @returns undefined for a known key, else the FleetmoveError('host-key') to throw.
 */
export const hostKeyProblem = (
  target: ResolvedTarget,
  entries: readonly KnownHostsEntry[],
  key: Buffer,
  host?: string,
): FleetmoveError | undefined => {
  const verdict = judgeHostKey(entries, target.knownHostsNames, key)
  if (verdict.kind === 'known') return undefined
  const shown = `${hostKeyType(key)} ${fingerprint(key)}`
  const where = target.port === 22 ? target.hostname : `${target.hostname} port ${target.port}`
  const name = target.knownHostsNames[0] ?? target.hostname
  const file = target.knownHostsFiles[0] ?? 'known_hosts'
  const at = (entry: KnownHostsEntry): string => `${entry.file}:${entry.line}`
  const parts = ((): { message: string; hint: string } => {
    switch (verdict.kind) {
      case 'revoked':
        return {
          message: `the key of ${where} is revoked in ${at(verdict.entry)}: ${shown}`,
          hint: 'Give the host a new key, or connect to the host that you mean: a revoked key may be in other hands.',
        }
      case 'changed':
        return {
          message:
            `the key of ${where} has changed: it presents ${shown}, ` +
            `${at(verdict.entry)} has ${verdict.entry.keyType} ${fingerprint(verdict.entry.key)}`,
          hint:
            'Somebody may be in between. If the host was installed anew, compare the fingerprint with ' +
            `ssh-keygen -lf on the host, then: ${shellQuote(['ssh-keygen', '-f', verdict.entry.file, '-R', name])}`,
        }
      case 'unknown': {
        const authority = certAuthorityFor(entries, target.knownHostsNames)
        // Scanning would miss a host behind a jump host, and file it under a name that an alias replaces.
        const scannable = target.proxyJump.length === 0 && name.includes(target.hostname.toLowerCase())
        const port = target.port === 22 ? [] : ['-p', String(target.port)]
        const scan = `${shellQuote(['ssh-keyscan', ...port, target.hostname])} >> ${shellQuote([file])}`
        return {
          message:
            `the key of ${where} is not in known_hosts: ${shown}` +
            (authority === undefined
              ? ''
              : `; ${at(authority)} trusts a certificate authority (@cert-authority), which fleetmove doesn't support`),
          hint:
            `Compare the fingerprint with ssh-keygen -lf on the host, then run ${shellQuote(sshOnce(target))} once` +
            (scannable ? `, or: ${scan}` : ''),
        }
      }
    }
  })()
  return new FleetmoveError('host-key', host === undefined ? parts : { ...parts, host })
}

/** As the operator wrote it, so that the same configuration is used; ssh(1) takes no port behind a colon. */
const sshOnce = (target: ResolvedTarget): string[] => {
  const { user, host, port } = parseSshTarget(target.written)
  return ['ssh', ...(port === undefined ? [] : ['-p', String(port)]), user === undefined ? host : `${user}@${host}`]
}
