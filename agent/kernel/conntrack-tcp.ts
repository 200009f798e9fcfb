/** The state of a TCP connection in an entry of connection tracking. */
import { cta, eachAttribute } from './conntrack-attributes.js'

/** enum tcp_conntrack. */
export const tcpStates = [
  'none',
  'syn-sent',
  'syn-received',
  'established',
  'fin-wait',
  'close-wait',
  'last-ack',
  'time-wait',
  'close',
  'syn-sent2',
] as const
export type TcpState = (typeof tcpStates)[number]

/** struct nfgenmsg stands before an entry's attributes. */
const headerLength = 4

/** Of a whole entry, without reading the rest; null where it isn't TCP. */
export function tcpStateOf(payload: Buffer): TcpState | null {
  let state: TcpState | null = null
  eachAttribute(payload, headerLength, payload.length, (type, start, end) => {
    if (type === cta.protoInfo) state = decodeTcpState(payload, start, end)
  })
  return state
}

/** CTA_PROTOINFO_TCP (1) → CTA_PROTOINFO_TCP_STATE (1). */
export function decodeTcpState(bytes: Buffer, from: number, to: number): TcpState | null {
  let state: TcpState | null = null
  eachTcp(bytes, from, to, (type, at) => {
    if (type === 1) state = tcpStates[bytes.readUInt8(at)] ?? null
  })
  return state
}

/**
 * Whether the kernel has seen the connection from its middle on only: then it looks less closely at it
 * (CTA_PROTOINFO_TCP_FLAGS_ORIGINAL (4): IP_CT_TCP_FLAG_BE_LIBERAL).
 */
export function isPickedUp(bytes: Buffer, from: number, to: number): boolean {
  let pickedUp = false
  eachTcp(bytes, from, to, (type, at) => {
    if (type === 4) pickedUp = (bytes.readUInt8(at) & 0x8) !== 0
  })
  return pickedUp
}

const eachTcp = (bytes: Buffer, from: number, to: number, take: (type: number, at: number) => void): void =>
  eachAttribute(bytes, from, to, (type, start, end) => {
    if (type === 1) eachAttribute(bytes, start, end, take)
  })
