/**
 * Elements of sets and maps by nf_tables' netlink (include/uapi/linux/netfilter/nf_tables.h). A change takes a
 * fraction of a millisecond where nft(8) takes tens, which matters while clients wait; and nft can only list
 * elements, which takes ten times as long as to count them.
 */
import ipaddr from 'ipaddr.js'
import type { Ip } from '../../proto/model/address.js'
import { bySet, type Element, type ElementChange, partsOf } from '../plan/elements.js'
import { table } from '../plan/own.js'
import { bytesToIp, ipToBytes } from './ip-bytes.js'
import { isErrno, type Netlink } from './netlink.js'
import { attribute, flag, nest, readAttributes, readText, text, u8, u16be, u32be } from './netlink-message.js'

/** NFNL_SUBSYS_NFTABLES. */
const nftables = 10
/** NFT_MSG_NEWSETELEM, NFT_MSG_GETSETELEM, NFT_MSG_DELSETELEM. */
const message = { new: (nftables << 8) | 12, get: (nftables << 8) | 13, delete: (nftables << 8) | 14 } as const
/** struct nfgenmsg: NFPROTO_INET, NFNETLINK_V0. */
const inet = Buffer.from([1, 0, 0, 0])
/** enum nft_set_elem_list_attributes, nft_list_attributes, nft_set_elem_attributes, nft_data_attributes, nft_verdict_attributes. */
const list = { table: 1, set: 2, elements: 3, element: 1 } as const
const elem = { key: 1, data: 2, timeout: 4 } as const
const data = { value: 1, verdict: 2 } as const
const verdict = { code: 1, chain: 2 } as const
/** NF_DROP, NF_ACCEPT; NFT_GOTO, which is negative. */
const code = { drop: 0, accept: 1, goto: -4 >>> 0 } as const
const none = Buffer.alloc(0)
/** IPPROTO_TCP and IPPROTO_UDP. */
const protocols = { tcp: 6, udp: 17 } as const

/** An attribute's length has 16 bits: of the longest elements, with a chain and a timeout, some 90 bytes each. */
const perMessage = 500
/** So many fit into the socket's send buffer (208 KiB by default). */
export const mostElements = 2000

/**
 * All or nothing, and done when it resolves. At most `mostElements`.
 * @throws NetlinkError 'ENOENT' where one that is to be removed, a set, or a chain isn't there
 */
export function changeElements(netfilter: Netlink, { remove, add }: ElementChange): Promise<void> {
  return netfilter.batch(nftables, [
    ...messagesOf(remove).map((payload) => ({ type: message.delete, flags: 0, payload })),
    ...messagesOf(add).map((payload) => ({ type: message.new, flags: flag.create, payload })),
  ])
}

/** @returns `key : verdict` of each element of a verdict map, in no order; none where there is no such map, too */
export async function listVerdicts(netfilter: Netlink, map: string): Promise<string[]> {
  const messages = await dumpElements(netfilter, map)
  return messages.flatMap((elements) =>
    splitAttributes(elements).map((element) => {
      const found = readAttributes(element)
      const key = readAttributes(found.get(elem.key) ?? none).get(data.value) ?? none
      return `${keyText(key)} : ${verdictText(readAttributes(found.get(elem.data) ?? none).get(data.verdict) ?? none)}`
    }),
  )
}

/** @returns how many elements a map of our table has; 0 where there is no such map, too */
export async function countElements(netfilter: Netlink, map: string): Promise<number> {
  const messages = await dumpElements(netfilter, map)
  return messages.reduce((sum, elements) => sum + splitAttributes(elements).length, 0)
}

/** The lists of elements, one a message. */
async function dumpElements(netfilter: Netlink, set: string): Promise<Buffer[]> {
  const request = Buffer.concat([inet, attribute(list.table, text(table)), attribute(list.set, text(set))])
  try {
    const messages = await netfilter.dump(message.get, request)
    return messages.flatMap(({ payload }) => readAttributes(payload.subarray(inet.length)).get(list.elements) ?? [])
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}

/** What each attribute holds, where all are of one type. */
function splitAttributes(bytes: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let offset = 0; offset + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(offset)
    if (length < 4 || offset + length > bytes.length) break
    found.push(bytes.subarray(offset + 4, offset + length))
    offset += (length + 3) & ~3
  }
  return found
}

/** One payload for each set, or several where it has many. */
const messagesOf = (all: readonly Element[]): Buffer[] =>
  bySet(all, perMessage).map(({ table, set, elements }) =>
    Buffer.concat([
      inet,
      attribute(list.table, text(table)),
      attribute(list.set, text(set)),
      nest(list.elements, ...elements.map(elementBytes)),
    ]),
  )

const elementBytes = ({ key, verdict: words, timeoutMs }: Element): Buffer =>
  nest(
    list.element,
    nest(elem.key, attribute(data.value, keyBytes(key))),
    ...(words === undefined ? [] : [nest(elem.data, nest(data.verdict, ...verdictAttributes(words)))]),
    ...(timeoutMs === undefined ? [] : [attribute(elem.timeout, u64be(Math.ceil(timeoutMs)))]),
  )

function verdictAttributes(words: string): Buffer[] {
  const [word, chain] = words.split(' ') as [keyof typeof code, string | undefined]
  const attributes = [attribute(verdict.code, u32be(code[word]))]
  return chain === undefined ? attributes : [...attributes, attribute(verdict.chain, text(chain))]
}

function verdictText(bytes: Buffer): string {
  const found = readAttributes(bytes)
  const number = found.get(verdict.code)?.readUInt32BE(0)
  const word = Object.entries(code).find(([, each]) => each === number)?.[0] ?? `verdict ${number}`
  const chain = found.get(verdict.chain)
  return chain ? `${word} ${readText(chain)}` : word
}

const u64be = (value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

/** The parts of a concatenation fill four bytes each, an address as many as it has. */
const keyBytes = (key: string): Buffer =>
  Buffer.concat(
    partsOf(key).map((part) => {
      const bytes = Object.hasOwn(protocols, part)
        ? u8(protocols[part as keyof typeof protocols])
        : ipaddr.isValid(part) && /[.:]/.test(part)
          ? ipToBytes(part as Ip)
          : u16be(Number(part))
      return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)])
    }),
  )

/** The inverse of `keyBytes`. */
function keyText(bytes: Buffer): string {
  const address = bytes.subarray(0, Math.max(0, bytes.length - 8))
  const [protocol, port] = [bytes[address.length], bytes.subarray(address.length + 4)]
  const name = Object.entries(protocols).find(([, number]) => number === protocol)?.[0] ?? String(protocol)
  const parts = [...(address.length > 0 ? [bytesToIp(address)] : []), name, String(port.readUInt16BE(0))]
  return parts.join(' . ')
}
