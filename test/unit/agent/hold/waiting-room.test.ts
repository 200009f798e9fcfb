import fc from 'fast-check'
import { type Opening, WaitingRoom } from '../../../../agent/hold/waiting-room.js'

const syn = (flow: string): Opening => ({ kind: 'syn', flow })
const datagram = (bytes: number): Opening => ({ kind: 'datagram', bytes })
const packet = (id: number) => ({ id, mark: 0 })
const ids = (packets: { id: number }[]): number[] => packets.map(({ id }) => id)

test('leaves in the order of arrival', () => {
  const room = new WaitingRoom({ maxPackets: 10, maxBytes: 1000 })
  room.admit(packet(1), syn('a'))
  room.admit(packet(2), datagram(100))
  room.admit(packet(3), syn('b'))
  expect(room.counts).toMatchObject({ syns: 2, datagrams: 1, bytes: 100 })
  expect(ids(room.leave(2))).toEqual([1, 2])
  expect(ids(room.leave(2))).toEqual([3])
  expect(room.leave(2)).toEqual([])
  expect(room.counts).toMatchObject({ syns: 0, datagrams: 0, bytes: 0, released: 3 })
})

test('a SYN that is sent again takes the place of the first, which is dropped', () => {
  const room = new WaitingRoom({ maxPackets: 2, maxBytes: 0 })
  room.admit(packet(1), syn('a'))
  room.admit(packet(2), syn('b'))
  // Even where the room is full.
  expect(room.admit(packet(3), syn('a'))).toEqual(packet(1))
  expect(room.counts).toMatchObject({ syns: 2, repeated: 1, dropped: 0 })
  expect(ids(room.leave(10))).toEqual([3, 2])
  // Once it has gone on, the next is new.
  expect(room.admit(packet(4), syn('a'))).toBeNull()
})

test('what is too much is turned away', () => {
  const room = new WaitingRoom({ maxPackets: 3, maxBytes: 1000 })
  expect(room.admit(packet(1), datagram(600))).toBeNull()
  expect(room.admit(packet(2), datagram(600))).toEqual(packet(2))
  expect(room.admit(packet(3), datagram(400))).toBeNull()
  // SYNs need no bytes.
  expect(room.admit(packet(4), syn('a'))).toBeNull()
  expect(room.admit(packet(5), syn('b'))).toEqual(packet(5))
  expect(room.counts).toMatchObject({ syns: 1, datagrams: 2, bytes: 1000, dropped: 2 })
})

test('every packet is either dropped or leaves, once, and the limits hold at all times', () => {
  const event = fc.oneof(
    fc.record({ do: fc.constant('syn' as const), flow: fc.nat(5) }),
    fc.record({ do: fc.constant('datagram' as const), bytes: fc.integer({ min: 28, max: 400 }) }),
    fc.record({ do: fc.constant('leave' as const), count: fc.nat(4) }),
  )
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const limits = { maxPackets: 6, maxBytes: 1000 }
      const room = new WaitingRoom(limits)
      const judged: number[] = []
      let id = 0
      for (const each of events) {
        if (each.do === 'leave') judged.push(...ids(room.leave(each.count)))
        else {
          id++
          const doomed = room.admit(packet(id), each.do === 'syn' ? syn(String(each.flow)) : datagram(each.bytes))
          if (doomed) judged.push(doomed.id)
        }
        expect(room.counts.bytes).toBeLessThanOrEqual(limits.maxBytes)
        expect(room.size).toBeLessThanOrEqual(limits.maxPackets)
        expect(room.counts.syns + room.counts.datagrams).toBe(room.size)
      }
      judged.push(...ids(room.leave(room.size)))
      expect(judged.sort((a, b) => a - b)).toEqual(Array.from({ length: id }, (_, n) => n + 1))
      expect(room.counts).toMatchObject({ syns: 0, datagrams: 0, bytes: 0 })
    }),
  )
})
