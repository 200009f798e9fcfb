/** What rsync(1) prints, read. Pure. */

export interface CopyProgress {
  /** Of the files gone through in this pass. */
  bytes: number
  percent: number
  bytesPerSecond: number
  filesLeft: number
  filesKnown: number
  /** Whether the sender has listed everything. */
  counted: boolean
}

export interface CopyStats {
  files: number
  totalBytes: number
  transferredFiles: number
  deletedFiles: number
  /** Contents that were sent because the receiver hadn't got them. */
  literalBytes: number
  /** All that came over the wire. */
  receivedBytes: number
}

export const noStats: CopyStats = {
  files: 0,
  totalBytes: 0,
  transferredFiles: 0,
  deletedFiles: 0,
  literalBytes: 0,
  receivedBytes: 0,
}

const units: Readonly<Record<string, number>> = { B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 }

/**
 * A line of `--info=progress2 --no-human-readable`: `1234567  12%  10.50MB/s    0:00:12 (xfr#5, ir-chk=95/100)`;
 * ir-chk while files are still being listed, to-chk when all are known. The count of files stands only where a file
 * has just ended; within one, a large one above all, it is what it was in the progress before.
 * @returns null for other lines
 */
export function parseProgress(line: string, before: CopyProgress | null): CopyProgress | null {
  const match = /^\s*(\d+)\s+(\d+)%\s+([\d.]+)([kMGT]?B)\/s\s+[\d:?]+(?: \(xfr#\d+, (to|ir)-chk=(\d+)\/(\d+)\))?/.exec(
    line,
  )
  if (!match) return null
  const [, bytes, percent, rate, unit, kind, left, known] = match
  const files = kind
    ? { filesLeft: Number(left), filesKnown: Number(known), counted: kind === 'to' }
    : // The one that is under way, if nothing was said yet.
      { filesLeft: before?.filesLeft ?? 1, filesKnown: before?.filesKnown ?? 1, counted: before?.counted ?? false }
  return {
    bytes: Number(bytes),
    percent: Number(percent),
    bytesPerSecond: Number(rate) * units[unit!]!,
    ...files,
  }
}

const statLines: Readonly<Record<string, keyof CopyStats>> = {
  'Number of files': 'files',
  'Number of deleted files': 'deletedFiles',
  'Number of regular files transferred': 'transferredFiles',
  'Total file size': 'totalBytes',
  'Literal data': 'literalBytes',
  'Total bytes received': 'receivedBytes',
}

/** A line of `--stats --no-human-readable`: `Literal data: 123 bytes`, `Number of files: 5 (reg: 3, dir: 2)`. */
export function parseStat(line: string): Partial<CopyStats> {
  const match = /^([A-Z][a-z ]+): (\d+)/.exec(line)
  const key = statLines[match?.[1] ?? '']
  return key ? { [key]: Number(match![2]) } : {}
}

export const addStats = (one: CopyStats, other: CopyStats): CopyStats => ({
  files: one.files + other.files,
  totalBytes: one.totalBytes + other.totalBytes,
  transferredFiles: one.transferredFiles + other.transferredFiles,
  deletedFiles: one.deletedFiles + other.deletedFiles,
  literalBytes: one.literalBytes + other.literalBytes,
  receivedBytes: one.receivedBytes + other.receivedBytes,
})

/**
 * Exit codes of rsync(1) by what they mean here.
 * - `whole`: everything was copied; 24 (files vanished while they were copied) is that too
 * - `changing`: 23, and every complaint is of a file that changed under the reader's hands
 * - `connection`: the daemon or the tunnel; the same call again goes on where this one ended
 * - `failed`: anything else
 */
export function meaningOf(
  code: number | null,
  complaints: readonly string[],
): 'whole' | 'changing' | 'connection' | 'failed' {
  if (code === 0 || code === 24) return 'whole'
  // 20: one of the two was ended by a signal, as the sender is when its agent ends.
  if (code === 5 || code === 10 || code === 12 || code === 20 || code === 30 || code === 35)
    return noSpace(complaints) ? 'failed' : 'connection'
  if (code === 23 && complaints.every(isOfChange)) return 'changing'
  return 'failed'
}

/** A receiver that runs out of space ends first, and its parent may only see the connection break. */
export const noSpace = (complaints: readonly string[]): boolean =>
  complaints.some((line) => /No space left on device|Disk quota exceeded/.test(line))

const isOfChange = (line: string): boolean =>
  /has vanished|vanished:|read errors mapping .*No data available|failed verification|^rsync error: some files/.test(
    line,
  )
