/** Routing rules by rtnetlink (include/uapi/linux/fib_rules.h). */
import type { RuleSpec } from '../plan/desired.js'
import { routeProtocol } from '../plan/own.js'
import { addressFamily, familyFromNumber } from './ip-bytes.js'
import { isErrno, type Netlink } from './netlink.js'
import { attribute, flag, readAttributes, u8, u32 } from './netlink-message.js'
import type { Performers } from './step.js'

const message = { newRule: 32, deleteRule: 33, getRule: 34 } as const
const fra = { priority: 6, mark: 10, table: 15, mask: 16, protocol: 21 } as const
/** FR_ACT_TO_TBL */
const toTable = 1
const headerLength = 12

/** struct fib_rule_hdr with the table left to FRA_TABLE, since its own has one byte. */
function ruleMessage(rule: RuleSpec): Buffer {
  const header = Buffer.alloc(headerLength)
  header.writeUInt8(addressFamily(rule.family), 0)
  header.writeUInt8(toTable, 7)
  return Buffer.concat([
    header,
    attribute(fra.priority, u32(rule.priority)),
    attribute(fra.mark, u32(rule.mark)),
    attribute(fra.mask, u32(rule.mask)),
    attribute(fra.table, u32(rule.table)),
    attribute(fra.protocol, u8(routeProtocol)),
  ])
}

/** Rules that bear our protocol number. */
export async function listRules(netlink: Netlink): Promise<RuleSpec[]> {
  const rules: RuleSpec[] = []
  for (const family of [4, 6] as const) {
    const header = Buffer.alloc(headerLength)
    header.writeUInt8(addressFamily(family), 0)
    const messages = await netlink.dump(message.getRule, header).catch((error: unknown) => {
      if (isErrno(error, 'EAFNOSUPPORT')) return []
      throw error
    })
    for (const { payload } of messages) {
      const attributes = readAttributes(payload.subarray(headerLength))
      if (familyFromNumber(payload.readUInt8(0)) !== family) continue
      if (attributes.get(fra.protocol)?.readUInt8(0) !== routeProtocol) continue
      rules.push({
        family,
        priority: attributes.get(fra.priority)?.readUInt32LE(0) ?? 0,
        mark: attributes.get(fra.mark)?.readUInt32LE(0) ?? 0,
        mask: attributes.get(fra.mask)?.readUInt32LE(0) ?? 0,
        table: attributes.get(fra.table)?.readUInt32LE(0) ?? payload.readUInt8(4),
      })
    }
  }
  return rules
}

export const rulePerformers = (netlink: Netlink): Pick<Performers, 'add-rule' | 'delete-rule'> => ({
  'add-rule': async ({ rule }) => {
    try {
      await netlink.request(message.newRule, ruleMessage(rule), flag.create | flag.excl)
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error
    }
  },

  'delete-rule': async ({ rule }) => {
    try {
      await netlink.request(message.deleteRule, ruleMessage(rule))
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ESRCH', 'EAFNOSUPPORT')) throw error
    }
  },
})
