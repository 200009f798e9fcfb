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
  eachAttribute(bytes, from, to, (type, start, end) => {
    if (type !== 1) return
    eachAttribute(bytes, start, end, (inner, at) => {
      if (inner === 1) state = tcpStates[bytes.readUInt8(at)] ?? null
    })
  })
  return state
}
