/**
 * What is put on a host: directories whose name holds the hash of their files, so that whoever finds
 * one with the right name and right files has nothing to do, and an older agent keeps its own.
 */
import { createHash } from 'node:crypto'
import { libraryDirectory } from './remote-paths.js'

export interface PayloadFile {
  name: string
  /** Where it is on this machine. */
  source: string
  sha256: string
}

export interface Payload {
  kind: 'runtime' | 'agent'
  /** First 16 hex digits of the hash over all files. */
  hash: string
  /** Absolute, on the host. */
  directory: string
  files: PayloadFile[]
}

/** The payload of `files`; its hash is that of what `sha256sum` prints of them, in the given order. */
export const payloadOf = (kind: Payload['kind'], files: PayloadFile[]): Payload => {
  const hash = createHash('sha256').update(checksums(files)).digest('hex').slice(0, 16)
  return { kind, hash, directory: `${libraryDirectory}/${kind}-${hash}`, files }
}

/** As `sha256sum -c` reads it. */
export const checksums = (files: readonly PayloadFile[]): string =>
  files.map(({ sha256, name }) => `${sha256}  ${name}\n`).join('')
