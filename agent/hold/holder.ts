/**
 * The process that holds: it owns the queue's socket and nothing else, so that whatever ends it (a
 * fault of its own, the agent's death, an overrun) leaves the same behind: the kernel drops, clients retransmit.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { PacketQueue, type QueuedPacket } from '../kernel/packet-queue.js'
import { withoutOurMark } from './hold-rules.js'
import { encodeLine, type HolderCommand, type HolderEvent, type HolderTask, readLines } from './hold-wire.js'
import { bytesRead, readOpening } from './opening-packet.js'
import { WaitingRoom } from './waiting-room.js'

/**
 * Released a millisecond: a listener's backlog is 128 and more (listen(2)), and what overflows it is
 * dropped and waits a second after all.
 */
const packetsPerMs = 20
/** At most this much at once, however late the timer fires. */
const burst = 5 * packetsPerMs

/**
 * The verb `hold`: listens, says `ready`, and holds until told otherwise or until the time is over that `begin` gives.
 * @param argv one argument, a HolderTask as JSON
 * @returns exit code: 0 when closed in order
 */
export async function holdPackets([argument]: readonly string[]): Promise<number> {
  const task = JSON.parse(argument ?? '') as HolderTask
  const room = new WaitingRoom(task)
  const say = (event: HolderEvent): void => void process.stdout.write(encodeLine(event))
  let passing = false
  let end: (code: number) => void = () => {}
  const ended = new Promise<number>((resolve) => {
    end = resolve
  })
  const fail = (error: Error): void => {
    process.stderr.write(`hold: ${error.message}\n`)
    end(1)
  }

  const unmarked = (packet: QueuedPacket): QueuedPacket => ({ id: packet.id, mark: withoutOurMark(packet.mark) })
  const queue = await PacketQueue.open(task.queue, bytesRead, task.maxPackets + burst, {
    onPacket: (packet, bytes) => {
      const opening = readOpening(bytes)
      if (opening.kind === 'other' || (passing && room.size === 0)) {
        queue.accept([unmarked(packet)])
        if (opening.kind !== 'other') room.counts.released++
        return
      }
      const doomed = room.admit(packet, opening)
      if (doomed) queue.drop(doomed)
    },
    onLost: () => {
      room.counts.lost++
    },
    onFault: fail,
  })

  const drain = async (): Promise<void> => {
    let before = performance.now() - 1
    while (room.size > 0) {
      const now = performance.now()
      const due = Math.min(burst, Math.floor((now - before) * packetsPerMs))
      if (due > 0) {
        before = now
        queue.accept(room.leave(due).map(unmarked))
      }
      if (room.size > 0) await delay(1)
    }
  }

  let drained: Promise<void> | null = null
  const release = async (why: 'asked' | 'expired'): Promise<void> => {
    clearTimeout(expiry)
    passing = true
    drained ??= drain()
    await drained
    say({ type: 'empty', why })
  }
  const close = async (): Promise<void> => {
    await queue.caughtUp()
    await drain()
    // The answers to the last verdicts: what was lost of them.
    await queue.caughtUp()
    queue.close()
    say({ type: 'closed', counts: room.counts })
    end(0)
  }

  let expiry: NodeJS.Timeout | undefined
  readLines<HolderCommand>(process.stdin, (command) => {
    if (typeof command === 'object') expiry = setTimeout(() => void release('expired').catch(fail), command.begin)
    if (command === 'counts') say({ type: 'counts', counts: room.counts })
    if (command === 'release') void release('asked').catch(fail)
    if (command === 'close') void close().catch(fail)
  })
  // The agent is gone: nobody will switch, and nobody else could tell when.
  process.stdin.once('end', () => end(1))
  say({ type: 'ready' })
  return ended.finally(() => clearTimeout(expiry))
}
