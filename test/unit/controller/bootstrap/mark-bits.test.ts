import { markBits } from '../../../../controller/bootstrap/mark-bits.js'

const all = 0xffffffff

it.each([
  // Kubernetes, Tailscale, Calico: their own bits.
  ['-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000', 0x4000],
  ['-A ts-forward -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000', 0xff0000],
  ['\t\tmeta mark set meta mark & 0xff00ffff | 0x00040000', 0xff0000],
  ['\t\tcounter packets 0 bytes 0 meta mark set mark and 0xff00ffff xor 0x40000', 0xff0000],
  ['-A ts-input -m mark --mark 0x40000/0xff0000 -j ACCEPT', 0x40000],
  ['\t\tmeta mark & 0x00ff0000 == 0x00040000 accept', 0x40000],
  ['-A cali-FORWARD -j MARK --set-xmark 0x0/0xe0000', 0xe0000],
  ['\t\tct mark set ct mark | 0x00000100', 0x100],
  // All of a mark: what is written is gone for everybody else.
  ['-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff', all],
  ['-A PREROUTING -j CONNMARK --restore-mark', all],
  ['-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xff0000 --ctmask 0xff0000', 0xff0000],
  ['-A POSTROUTING -j CONNMARK --save-mark --nfmask 0xff0000 --ctmask 0xffff', 0xffffff],
  ['-A PREROUTING -j MARK --set-xmark 0x0/0xffffffff', all],
  ['-A PREROUTING -j MARK --set-mark 0x1', all],
  ['\t\tmeta l4proto udp meta mark set ct mark', all],
  ['\t\tmeta l4proto udp meta mark 0x0000ca6c ct mark set meta mark', all],
  ['\t\tmeta mark set 0x00000001', all],
  ['\t\tmeta mark set ip saddr map { 192.0.2.1 : 0x00000001 }', all],
  // Ours, and what has nothing to do with it.
  ['\t\tct mark & 0xff000000 == 0x02000000 accept', 0x02000000],
  ['\t\ttcp dport 22 accept comment "fleetmove"', 0],
  ['-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT', 0],
  ['\t\tct mark != 0x00000000 accept', 0],
])('%s', (rule, bits) => {
  expect(markBits(rule)).toBe(bits)
})
