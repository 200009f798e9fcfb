/**
 * Holds: new connections to a service's listeners wait while no host serves them, and go on the moment the
 * service is there again.
 *
 * The order of things is what makes it safe. First somebody listens to the queue, and the rules stand that could send
 * packets there, which takes a while and concerns nobody; then one transaction says which packets. At the end first
 * those who wait go on, in order, then the rules go, then the listener.
 */
import { FleetmoveError } from '../../proto/model/error.js'
import { loadText } from '../kernel/nft.js'
import { runTool, ToolFailed } from '../kernel/tool.js'
import type { Element } from '../plan/elements.js'
import {
  announceText,
  closeHoldText,
  type HeldListener,
  type HoldMeans,
  heldElements,
  heldKeys,
  holdChain,
  holdSlots,
  holdTable,
  madeRawChain,
  openHoldText,
  xtablesPrograms,
} from './hold-rules.js'
import { Holder } from './holder-process.js'
import type { HoldCounts, HoldLimits } from './waiting-room.js'
import { addXtables, removeRawTable, removeXtables, withoutRawTable } from './xtables.js'

export interface HoldRequest extends HoldLimits {
  listeners: readonly HeldListener[]
  means: HoldMeans
  /** Devices whose packets are let through: the tunnels'. */
  exceptDevices: readonly string[]
  /** Program and arguments of the process that holds, without its task: the agent itself with the verb `hold`. */
  holder: readonly string[]
  /** For the file that nft reads, which exists only meanwhile. */
  runDirectory: string
}

export interface HoldEnd {
  /**
   * 'released' by us, 'expired' after `maxMs`; 'lost' when the process that holds ended before: those who
   * waited, and all who came later, have to send again.
   */
  why: 'released' | 'expired' | 'lost'
  counts: HoldCounts
  /** From the call of `release` until the last one went on and new ones passed. */
  ms: number
}

export interface Hold {
  readonly means: HoldMeans
  held(): Promise<HoldCounts>
  /** Lets all go on; may be called again. Nothing of the hold is left on the host when it resolves. */
  release(): Promise<HoldEnd>
  /** Resolves when the hold is over, for whatever reason. */
  readonly ended: Promise<HoldEnd>
}

/** The keys of holds under way, by slot; the table goes with the last of them. */
const underWay = new Map<number, ReadonlySet<string>>()

let tail: Promise<unknown> = Promise.resolve()
/** One change of the table at a time: whoever removes it must be sure that nobody is about to use it. */
function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const result = tail.then(work)
  tail = result.catch(() => {})
  return result
}

export interface PreparedHold {
  readonly means: HoldMeans
  /**
   * Packets wait from when these stand. Call `begin` as soon as they do.
   * @param maxMs the longest that anybody waits: then all go on to wherever the rules send them
   */
  elements(maxMs: number): Element[]
  begin(maxMs: number): Hold
  /** In place of `begin`. Nothing is left on the host when it resolves. */
  cancel(): Promise<void>
}

/**
 * Everything but the one transaction that makes packets wait.
 * @throws FleetmoveError 'conflict' where a listener is held already; 'kernel' where rules or queue are refused:
 *   then nothing is left
 */
export async function prepareHold(request: HoldRequest): Promise<PreparedHold> {
  const { means, listeners } = request
  const keys = allKeys(listeners)
  const slot = reserve(keys)
  let holder: Holder | null = null
  const cancel = async (): Promise<void> => {
    await holder?.kill()
    await inTurn(() => removeRules(request, slot)).catch(() => {})
  }
  try {
    if (means !== 'drop') holder = await Holder.start(request, slot)
    await inTurn(() => openRules(request, slot, keys))
  } catch (error) {
    await cancel()
    throw error
  }
  return {
    means,
    elements: (maxMs) => heldElements(slot, listeners, maxMs),
    begin: (maxMs) => {
      holder?.begin(maxMs)
      return new RunningHold(request, slot, holder, maxMs)
    },
    cancel,
  }
}

/**
 * Removes what a dead agent's holds have left behind. Listeners that are still held stay so until the kernel
 * forgets them: their service may be between two hosts, and refuse.
 * @param evenLive removes those too
 * @returns whether nothing is left
 */
export const sweepHolds = (evenLive: boolean): Promise<boolean> =>
  inTurn(async () => {
    if (underWay.size > 0) return false
    const found = await listTable()
    if (found === null) return true
    if (!evenLive && keysIn(found).size > 0) return false
    await removeAll(found)
    return true
  })

class RunningHold implements Hold {
  readonly means: HoldMeans
  readonly ended: Promise<HoldEnd>
  private finishing: Promise<HoldEnd> | null = null
  private end: (end: HoldEnd | PromiseLike<HoldEnd>) => void = () => {}
  private readonly expiry: NodeJS.Timeout

  constructor(
    private readonly request: HoldRequest,
    private readonly slot: number,
    private readonly holder: Holder | null,
    maxMs: number,
  ) {
    this.means = request.means
    this.ended = new Promise((resolve) => {
      this.end = resolve
    })
    // Whoever wants to know asks for it.
    this.ended.catch(() => {})
    const expire = (): void => void this.finish('expired').catch(() => {})
    // The process that holds knows the time itself, and goes first: ours is for when it is gone, or there is none.
    this.expiry = setTimeout(expire, maxMs + (holder ? expiryGrace : 0))
    holder?.onExpired(expire)
  }

  async held(): Promise<HoldCounts> {
    const counts = await this.holder?.counts()
    if (counts) return counts
    const { counts: last, dropped } = await this.countsWithoutHolder()
    return { ...last, dropped }
  }

  release(): Promise<HoldEnd> {
    return this.finish('released')
  }

  private finish(why: 'released' | 'expired'): Promise<HoldEnd> {
    if (!this.finishing) {
      this.finishing = this.letGo(why)
      this.end(this.finishing)
    }
    return this.finishing
  }

  private async letGo(why: 'released' | 'expired'): Promise<HoldEnd> {
    clearTimeout(this.expiry)
    const begun = performance.now()
    const { holder, request, slot } = this
    // Before the rules go, or later datagrams of a flow would overtake the ones that waited.
    const inOrder = (await holder?.release()) ?? false
    const before = inOrder ? null : await inTurn(() => this.countsWithoutHolder())
    let closed: HoldCounts | null = null
    let ms = 0
    await inTurn(async () => {
      await loadText(request.runDirectory, closeHoldText(slot, request.listeners))
      ms = performance.now() - begun
      closed = (await holder?.close()) ?? null
      await removeRules(request, slot)
    })
    const counts = closed ?? { ...nobody, ...before?.counts, dropped: before?.dropped ?? 0 }
    return { why: holder && !closed ? 'lost' : why, counts, ms }
  }

  /** Without a process that counts only the rule's own counter tells how many came. */
  private async countsWithoutHolder(): Promise<{ counts: HoldCounts; dropped: number }> {
    const found = (await listTable()) ?? ''
    const chain = found.slice(found.indexOf(`chain ${holdChain(this.slot)} {`))
    return { counts: nobody, dropped: Number(/counter packets (\d+)/.exec(chain)?.[1] ?? 0) }
  }
}

const nobody: HoldCounts = { syns: 0, datagrams: 0, bytes: 0, released: 0, repeated: 0, dropped: 0, lost: 0 }
/** How much later than the process that holds we act ourselves. */
const expiryGrace = 250

const allKeys = (listeners: readonly HeldListener[]): Set<string> =>
  new Set([...heldKeys(listeners, 4), ...heldKeys(listeners, 6)])

function reserve(keys: ReadonlySet<string>): number {
  for (const held of underWay.values()) {
    const twice = [...keys].find((key) => held.has(key))
    if (twice) throw new FleetmoveError('conflict', { message: `${twice} is being held already` })
  }
  for (let slot = 0; slot < holdSlots; slot++) {
    if (underWay.has(slot)) continue
    underWay.set(slot, keys)
    return slot
  }
  throw new FleetmoveError('conflict', {
    message: `${holdSlots} services are being held already`,
    hint: 'move fewer services at a time',
  })
}

async function openRules(request: HoldRequest, slot: number, keys: ReadonlySet<string>): Promise<void> {
  if (request.means === 'xtables-queue') {
    const programs = xtablesPrograms(request.listeners)
    await loadText(request.runDirectory, announceText(slot, await withoutRawTable(programs)))
    for (const program of programs) await addXtables(program, slot)
  }
  // What a dead agent has left of this service's last hold: nothing is in a gap now, so it only does harm.
  for (let attempt = 1; ; attempt++) {
    const stale = new Set([...keysIn((await listTable()) ?? '')].filter((key) => keys.has(key)))
    const { means, listeners, exceptDevices } = request
    try {
      return await loadText(request.runDirectory, openHoldText(means, slot, listeners, exceptDevices, stale))
    } catch (error) {
      // A stale key may expire between the listing and its deletion.
      if (attempt === 2 || stale.size === 0) throw error
    }
  }
}

/** Frees the slot. The last hold takes the table with it: the host is as it was found. */
async function removeRules(request: HoldRequest, slot: number): Promise<void> {
  underWay.delete(slot)
  if (request.means === 'xtables-queue') {
    for (const program of xtablesPrograms(request.listeners)) await removeXtables(program, slot)
  }
  if (underWay.size > 0) return
  const found = await listTable()
  // Others' holds, of an agent that died, are the kernel's to end.
  if (found !== null && keysIn(found).size === 0) await removeAll(found)
}

/** @param found the table as it stands: it names the slots and what they needed, a dead agent's too */
async function removeAll(found: string): Promise<void> {
  const has = (chain: string): boolean => found.includes(`chain ${chain} {`)
  if (has('guard')) {
    for (const program of ['iptables', 'ip6tables']) {
      for (let slot = 0; slot < holdSlots; slot++) if (has(holdChain(slot))) await removeXtables(program, slot)
      if (has(madeRawChain(program))) await removeRawTable(program)
    }
  }
  // Last: if we end before, the next one still knows.
  await runTool('nft', ['delete', 'table', 'inet', holdTable])
}

/** What stands, as nft writes it; null where there is no table of ours. */
async function listTable(): Promise<string | null> {
  try {
    return await runTool('nft', ['list', 'table', 'inet', holdTable])
  } catch (error) {
    if (error instanceof ToolFailed && /No such file or directory/.test(error.stderr)) return null
    throw error
  }
}

const keysIn = (listing: string): Set<string> =>
  new Set([...listing.matchAll(/(\S+ \. (?:tcp|udp) \. \d+) timeout /g)].map((match) => match[1]!))
