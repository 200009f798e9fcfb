/** A file of an archive. */
export interface TarEntry {
  name: string
  mode: number
  content: Buffer
}

const block = 512

/**
 * A tar archive in ustar form (POSIX pax, "ustar Interchange Format") of plain files owned by root,
 * without times: the same files always give the same bytes. Names have at most 100 characters.
 */
export const tar = (entries: readonly TarEntry[]): Buffer =>
  Buffer.concat([
    ...entries.flatMap(({ name, mode, content }) => [
      header(name, mode, content.length),
      content,
      Buffer.alloc((block - (content.length % block)) % block),
    ]),
    Buffer.alloc(2 * block),
  ])

const header = (name: string, mode: number, size: number): Buffer => {
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
