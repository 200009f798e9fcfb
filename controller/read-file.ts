/** Files that the operator names: read within bounds, and told in words when they can't be. */
import { open } from 'node:fs/promises'

const words: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or directory',
  ENOTDIR: 'a part of its path is no directory',
  EISDIR: 'it is a directory',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space is left on the device',
  ENAMETOOLONG: 'the name is too long',
  ELOOP: 'its symbolic links go in a circle',
}

/** What Node says of a file that can't be opened, read or written, for people. */
export const fileProblem = ({ code, message }: NodeJS.ErrnoException): string => words[code ?? ''] ?? message

/**
 * The whole file, or one byte more than `most` of it: then it is larger. A pipe or a device has no size to ask for
 * beforehand, and some never end.
 */
export async function readAtMost(path: string, most: number): Promise<Buffer> {
  const file = await open(path, 'r')
  try {
    const chunks: Buffer[] = []
    for (let left = most + 1; left > 0; ) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(Math.min(left, 65_536)), 0, Math.min(left, 65_536))
      if (bytesRead === 0) break
      chunks.push(buffer.subarray(0, bytesRead))
      left -= bytesRead
    }
    return Buffer.concat(chunks)
  } finally {
    await file.close()
  }
}
