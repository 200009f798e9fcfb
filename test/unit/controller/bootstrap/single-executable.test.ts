import { toPlainNode } from '../../../../controller/bootstrap/single-executable.js'

const fuseName = ['NODE_SEA', 'FUSE_fce680ab2cc467b6e072b8b5df1996b2'].join('_')

/** An ELF file with one note segment, and a fuse behind it. */
function elf({ name = 'NODE_SEA_BLOB', fuse = '1', content = 'fleetmove itself' } = {}): Buffer {
  const header = Buffer.alloc(64)
  header.write('\x7fELF\x02\x01\x01', 0, 'latin1')
  header.writeBigUInt64LE(64n, 32)
  header.writeUInt16LE(56, 54)
  header.writeUInt16LE(1, 56)
  const label = Buffer.alloc(Math.ceil((name.length + 1) / 4) * 4)
  label.write(name)
  const note = Buffer.alloc(12)
  note.writeUInt32LE(name.length + 1, 0)
  note.writeUInt32LE(content.length, 4)
  const segment = Buffer.concat([note, label, Buffer.from(content)])
  const entry = Buffer.alloc(56)
  entry.writeUInt32LE(4, 0)
  entry.writeBigUInt64LE(120n, 8)
  entry.writeBigUInt64LE(BigInt(segment.length), 32)
  return Buffer.concat([header, entry, segment, Buffer.from(`…${fuseName}:${fuse}…`)])
}

it('takes fleetmove out and leaves Node, the same one for every release', () => {
  const [one, other] = [elf({ content: 'release one.....' }), elf({ content: 'release two.....' })]
  expect(toPlainNode(one)).toBe(true)
  expect(toPlainNode(other)).toBe(true)
  expect(one.equals(other)).toBe(true)
  expect(one.includes('release')).toBe(false)
  expect(one.includes(`${fuseName}:0`)).toBe(true)
})

it.each([
  ['a plain Node', elf({ fuse: '0' })],
  ['an executable without a blob', elf({ name: 'GNU' })],
  ['another file', Buffer.from('#!/bin/sh\n'.repeat(20))],
  ['an empty file', Buffer.alloc(0)],
])('leaves %s alone', (_what, file) => {
  const before = Buffer.from(file)
  expect(toPlainNode(file)).toBe(false)
  expect(file.equals(before)).toBe(true)
})
