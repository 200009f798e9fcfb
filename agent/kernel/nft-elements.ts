/**
 * How many elements a map of our table has, by nf_tables' netlink (include/uapi/linux/netfilter/nf_tables.h):
 * nft(8) can only list them, which takes ten times as long.
 */
import { table } from '../plan/own.js'
import { isErrno, type Netlink } from './netlink.js'
import { attribute, readAttributes, text } from './netlink-message.js'

/** NFT_MSG_GETSETELEM of NFNL_SUBSYS_NFTABLES. */
const getElements = (10 << 8) | 13
/** struct nfgenmsg: NFPROTO_INET, NFNETLINK_V0. */
const inet = Buffer.from([1, 0, 0, 0])
/** enum nft_set_elem_list_attributes. */
const list = { table: 1, set: 2, elements: 3 } as const

/** @returns 0 where there is no such map, too */
export async function countElements(netfilter: Netlink, map: string): Promise<number> {
  const request = Buffer.concat([inet, attribute(list.table, text(table)), attribute(list.set, text(map))])
  try {
    const messages = await netfilter.dump(getElements, request)
    return messages.reduce((sum, { payload }) => {
      const elements = readAttributes(payload.subarray(inet.length)).get(list.elements)
      return sum + (elements ? countAttributes(elements) : 0)
    }, 0)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return 0
    throw error
  }
}

/** An element is an attribute; all are of one type. */
function countAttributes(bytes: Buffer): number {
  let count = 0
  for (let offset = 0; offset + 4 <= bytes.length; count += 1) {
    const length = bytes.readUInt16LE(offset)
    if (length < 4) break
    offset += (length + 3) & ~3
  }
  return count
}
