import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'

/** A file of an archive. */
export interface TarEntry {
  name: string
  mode: number
  /** Where it is on this machine. */
  source: string
}

const block = 512

/**
 * A tar archive in ustar form (POSIX pax, "ustar Interchange Format"), in pieces: plain files owned by
 * root, without times, so that the same files always give the same bytes. Names have at most 100
 * characters.
 */
export async function* tar(entries: readonly TarEntry[]): AsyncGenerator<Buffer> {
  for (const { name, mode, source } of entries) {
    const { size } = await stat(source)
    yield tarHeader(name, mode, size)
    for await (const chunk of createReadStream(source, { highWaterMark: 1024 * 1024 })) yield chunk
    yield Buffer.alloc((block - (size % block)) % block)
  }
  yield Buffer.alloc(2 * block)
}

/** The 512 bytes ahead of one file of `size` bytes. */
export const tarHeader = (name: string, mode: number, size: number): Buffer => {
  const bytes = Buffer.alloc(block)
  const octal = (value: number, offset: number, width: number): void => {
    bytes.write(value.toString(8).padStart(width - 1, '0'), offset, 'latin1')
  }
  bytes.write(name, 0, 100, 'utf8')
  octal(mode, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(size, 124, 12)
  octal(0, 136, 12)
  bytes.write('0', 156, 'latin1')
  bytes.write('ustar\x0000', 257, 'latin1')
  // The checksum is taken with its own field full of spaces.
  bytes.fill(' ', 148, 156)
  const sum = bytes.reduce((total, byte) => total + byte, 0)
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return bytes
}
