/** What `up` does, written down for Ansible. */
import type { Pair } from './pairs.js'

export const configuration = (forks: number): string => `[defaults]
inventory = inventory
forks = ${forks}
gathering = explicit
interpreter_python = /usr/bin/python3
[ssh_connection]
pipelining = True
`

export const inventory = (pairs: readonly Pair[]): string =>
  pairs
    .flatMap((pair) => [
      `${pair.old} ansible_host=${pair.oldAddress} ansible_user=root peer=${pair.new} remote=${pair.newAddress} own=169.254.9.1 there=169.254.9.2 from=${pair.newAddress} to=${pair.oldAddress} forwards=0`,
      `${pair.new} ansible_host=${pair.newAddress} ansible_user=root peer=${pair.old} remote=${pair.oldAddress} own=169.254.9.2 there=169.254.9.1 from=${pair.newAddress} to=${pair.oldAddress} forwards=1`,
      '',
    ])
    .join('\n')

const lib = '/usr/local/lib/fleetmove'
const state = '/var/lib/fleetmove'

/** Ansible's own template language fills in the names between double braces. */
const rules = `table inet recipe
delete table inet recipe
table inet recipe {
  chain steer {
    type filter hook prerouting priority mangle;
    iifname "fm1" ct state new ct mark set 0x02000000
    ct direction original ct mark 0x03000000 meta mark set 0x02000000
  }
  chain steer-answers {
    type route hook output priority mangle;
    ct direction reply ct mark 0x02000000 meta mark set 0x02000000
  }
  chain open {
    type nat hook prerouting priority -110;
{% if forwards == '1' or forwards == 1 %}
    ip daddr {{ from }} tcp dport 80 ct mark set 0x03000000 meta mark set 0x02000000 dnat ip to {{ to }}
{% endif %}
  }
  chain leave {
    type filter hook postrouting priority mangle;
    oifname "fm1" meta mark set 0
    oifname "fm1" tcp flags syn tcp option maxseg size set 1380
  }
}
`

const link = `set -e
ip link show fm1 >/dev/null 2>&1 && exit 0
wireguard-go fm1 >/dev/null 2>&1
wg setconf fm1 ${state}/wg.conf
ip addr add {{ own }}/30 dev fm1
ip link set fm1 mtu 1420 up
ip route add default dev fm1 table 5181
ip route add blackhole default metric 1000 table 5181
ip rule add priority 5180 fwmark 0x02000000/0xfe000000 lookup 5181
echo changed
`

const tasks = [
  {
    name: 'directories',
    file: { path: '{{ item }}', state: 'directory', mode: '0700' },
    loop: [lib, state, '/run/fleetmove'],
  },
  ...(['runtime', 'agent'] as const).flatMap((kind) => [
    { name: `${kind}: directory`, file: { path: `${lib}/${kind}`, state: 'directory', mode: '0755' } },
    {
      name: kind,
      unarchive: {
        src: `{{ lookup('fileglob', '/root/.cache/fleetmove/${kind}-*.tar.gz') }}`,
        dest: `${lib}/${kind}`,
        creates: `${lib}/${kind}/${kind === 'runtime' ? 'node' : 'agent.cjs'}`,
      },
    },
  ]),
  {
    name: 'agent runs',
    shell: `setsid ${lib}/runtime/node ${lib}/agent/agent.cjs serve </dev/null >${state}/log 2>&1 &`,
    args: { creates: '/run/fleetmove/agent.sock' },
  },
  {
    name: 'key',
    shell: `umask 077; wg genkey >${state}/key`,
    args: { creates: `${state}/key` },
  },
  { name: 'public key', shell: `wg pubkey <${state}/key`, register: 'public', changed_when: false },
  { name: 'private key', shell: `cat ${state}/key`, register: 'private', changed_when: false },
  {
    name: 'WireGuard',
    copy: {
      content:
        '[Interface]\nListenPort = 51820\nPrivateKey = {{ private.stdout }}\n[Peer]\nPublicKey = {{ hostvars[peer].public.stdout }}\nEndpoint = {{ remote }}:51820\nAllowedIPs = 0.0.0.0/0\nPersistentKeepalive = 25\n',
      dest: `${state}/wg.conf`,
      mode: '0600',
    },
  },
  { name: 'tunnel', shell: link, register: 'link', changed_when: "'changed' in link.stdout" },
  {
    name: 'sysctls',
    copy: {
      content: 'net.ipv4.conf.fm1.rp_filter = 2\nnet.ipv4.conf.fm1.forwarding = 1\nnet.ipv4.conf.eth0.forwarding = 1\n',
      dest: '/etc/sysctl.d/recipe.conf',
    },
    register: 'sysctls',
  },
  { name: 'sysctls are set', command: 'sysctl -qp /etc/sysctl.d/recipe.conf', when: 'sysctls.changed' },
  { name: 'rules', copy: { content: rules, dest: `${state}/rules.nft` }, register: 'rules' },
  { name: 'rules are loaded', command: `nft -f ${state}/rules.nft`, when: 'rules.changed' },
  { name: 'tunnel carries', command: 'ping -c1 -W5 {{ there }}', changed_when: false },
]

// Only the pairs' hosts are in the inventory.
export const playbook = [{ hosts: 'all', tasks }]

/** The hosts as they were. Each has processes of its own, and no other Node among them. */
export const undo = `for pid in $(pgrep -x 'node|wireguard-go'); do kill $pid; done
ip rule del priority 5180; ip route flush table 5181; ip link del fm1 2>/dev/null
nft delete table inet recipe
echo 0 >/proc/sys/net/ipv4/conf/eth0/forwarding
rm -rf ${lib} ${state} /run/fleetmove /etc/sysctl.d/recipe.conf /root/.ansible`
