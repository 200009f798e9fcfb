/**
 * What this host must remember over a restart, in one file that is replaced whole: the confirmed spec,
 * a trial that isn't confirmed yet, and the sysctls as they were found.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { FleetmoveError } from '../proto/model/error.js'
import type { HostSpec } from '../proto/model/host-spec.js'
import type { Gap } from './gap/gap-state.js'
import type { Found } from './plan/difference.js'

export interface LedgerBody {
  confirmed: HostSpec | null
  trial: Trial | null
  found: Found
  /** The highest generation ever taken: an older controller that comes back can change nothing. */
  generation: number
  /** Moves in their gap: what an agent must go on with that was killed or restarted in it. */
  gaps: readonly Gap[]
}

export interface Trial {
  spec: HostSpec
  /** Epoch milliseconds at which the agent undoes it alone. */
  deadline: number
  /** /proc/sys/kernel/random/boot_id: a trial doesn't outlive the kernel it was applied to. */
  bootId: string
}

const format = 'fleetmove-ledger-1'
const empty: LedgerBody = { confirmed: null, trial: null, found: {}, generation: 0, gaps: [] }

export class Ledger {
  private constructor(
    private readonly path: string,
    private body: LedgerBody,
  ) {}

  /**
   * @param path of the file; an absent one is an empty ledger.
   * @throws FleetmoveError 'ledger' when it is torn, foreign or unreadable.
   */
  static async open(path: string): Promise<Ledger> {
    let text: string
    try {
      text = await readOwn(path)
    } catch (cause) {
      if (cause instanceof FleetmoveError) throw cause
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return new Ledger(path, empty)
      throw new FleetmoveError('ledger', {
        message: `can't read ${path}: ${(cause as Error).message}`,
        hint: 'look at that file and its directory: both must be readable by root',
        cause,
      })
    }
    return new Ledger(path, parse(path, text))
  }

  get current(): Readonly<LedgerBody> {
    return this.body
  }

  /**
   * On disk before it returns; on failure neither the file nor `current` has changed.
   * @throws FleetmoveError 'ledger' (full or read-only disk…).
   */
  async save(change: Partial<LedgerBody>): Promise<void> {
    const body = { ...this.body, ...change }
    const text = JSON.stringify(body)
    const temporary = `${this.path}.new`
    try {
      await mkdir(dirname(this.path), { recursive: true, mode: 0o700 })
      await rm(temporary, { force: true })
      const file = await open(
        temporary,
        constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
        0o600,
      )
      try {
        await file.writeFile(`${format} ${checksum(text)}\n${text}\n`)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, this.path)
      // The new name is durable only when its directory is.
      const directory = await open(dirname(this.path), constants.O_RDONLY)
      try {
        await directory.sync()
      } finally {
        await directory.close()
      }
    } catch (cause) {
      throw new FleetmoveError('ledger', {
        message: `can't write ${this.path}: ${(cause as Error).message}; nothing was changed`,
        hint: 'free space on that file system, or make it writable, and run the command again',
        cause,
      })
    }
    this.body = body
  }

  /**
   * For what must go on whether or not the disk takes it: `current` has changed in any case, and the next save
   * that succeeds writes that, too.
   * @returns why it isn't on disk; null where it is.
   */
  async saveIfPossible(change: Partial<LedgerBody>): Promise<FleetmoveError | null> {
    try {
      await this.save(change)
      return null
    } catch (error) {
      this.note(change)
      return error as FleetmoveError
    }
  }

  /** Changes `current` alone: the next save writes it. */
  note(change: Partial<LedgerBody>): void {
    this.body = { ...this.body, ...change }
  }

  /** Removes the file; afterwards this is an empty ledger. */
  async forget(): Promise<void> {
    await rm(this.path, { force: true })
    this.body = empty
  }
}

/** The file's text, where nobody but this user can have written it. */
async function readOwn(path: string): Promise<string> {
  // O_NONBLOCK: a pipe of that name must not hang the agent.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const { uid, mode } = await file.stat()
    if (uid !== process.geteuid!() || (mode & 0o022) !== 0) {
      throw new FleetmoveError('ledger', {
        message: `${path} may have been written by others: it belongs to user ${uid} and has mode 0${(mode & 0o777).toString(8)}`,
        hint: `look at it and at who changed it; if it is sound: chown root: ${path} && chmod 600 ${path}`,
      })
    }
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}

const checksum = (text: string): string => createHash('sha256').update(text).digest('hex')

function parse(path: string, text: string): LedgerBody {
  const [head = '', json = ''] = text.split('\n')
  if (head === `${format} ${checksum(json)}`) return { ...empty, ...(JSON.parse(json) as Partial<LedgerBody>) }
  const what = head.startsWith(`${format} `) ? 'is torn (its checksum is wrong)' : 'is not a ledger of this version'
  throw new FleetmoveError('ledger', {
    message: `${path} ${what}`,
    hint: `look at it; if you can do without it, move it away and run \`fleetmove up\`, which sets this host up anew`,
  })
}
