/** The ways from a client to a server behind another host: fleetmove's, hand-written rules, and proxies. */

export const [oldAddress, newAddress] = ['203.0.113.10', '198.51.100.10']
/** Of the server. */
export const port = 8080

export const drivers = ['direct', 'wireguard', 'openvpn', 'wireguard-l2'] as const
export type Driver = (typeof drivers)[number]

/** Ends of the link that `direct` finds: a cable, as it were. */
export const [oldEnd, newEnd] = ['10.9.0.1', '10.9.0.2']

export const fleet = (driver: Driver) => ({
  fleet: 'bench',
  hosts: {
    old1: { ssh: `root@${oldAddress}`, addresses: [oldAddress], ...(driver === 'direct' ? { direct: oldEnd } : {}) },
    new1: { ssh: `root@${newAddress}`, addresses: [newAddress], ...(driver === 'direct' ? { direct: newEnd } : {}) },
  },
  tunnel: { driver },
  services: { web: { from: 'old1', to: 'new1', listen: [`tcp/${port}`], run: { start: 'true', stop: 'true' } } },
})

/** Runs in the old host: small answers at /, 4 MiB at /big. */
export const server = `mkdir -p /run/bench && cd /run/bench && truncate -s 4M big && cat >nginx.conf <<'END'
pid /run/bench/nginx.pid;
error_log /run/bench/error.log;
worker_processes 1;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http {
  access_log off;
  sendfile on;
  keepalive_requests 100000000;
  server {
    listen ${port} backlog=4096;
    location = / { return 200 "ok\\n"; }
    location = /big { root /run/bench; }
  }
}
END
nginx -c /run/bench/nginx.conf`

/** Port of each proxy on the new host. */
export const proxies = { rinetd: 9001, haproxy: 9002, 'nginx stream': 9003, socat: 9004 } as const
export type Proxy = keyof typeof proxies

/** Runs in the new host. Each as its manual shows it, with a limit of connections that none of them meets. */
export const startProxies = `set -e; mkdir -p /run/bench && cd /run/bench
echo '0.0.0.0 ${proxies.rinetd} ${oldAddress} ${port}' >rinetd.conf
cat >haproxy.conf <<'END'
global
  maxconn 8192
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen web
  bind 0.0.0.0:${proxies.haproxy}
  server old ${oldAddress}:${port}
END
cat >stream.conf <<'END'
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
pid /run/bench/stream.pid;
error_log /run/bench/stream.log;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
stream { server { listen ${proxies['nginx stream']} backlog=4096; proxy_pass ${oldAddress}:${port}; } }
END
rinetd -c /run/bench/rinetd.conf
haproxy -D -f haproxy.conf
nginx -c /run/bench/stream.conf
setsid socat TCP-LISTEN:${proxies.socat},fork,reuseaddr,backlog=4096 TCP:${oldAddress}:${port} </dev/null >/dev/null 2>&1 &`

/** fleetmove's table stays, and meets no packet: nft(8), "dormant". */
const asleep = 'add table inet fleetmove { flags dormant; }'
const awake = 'add table inet fleetmove'
const noHand = 'add table inet hand\ndelete table inet hand'

/** Marks and routing table are those that fleetmove has made for the tunnel: index 1. */
const [into, from, route] = ['0x03000000', '0x02000000', '0x02000000']
const hand = {
  new1: (device: string, mtu: number) => `add table inet hand
table inet hand {
  chain steer {
    type filter hook prerouting priority mangle;
    ct direction original ct mark ${into} meta mark set ${route}
  }
  chain open {
    type nat hook prerouting priority -110;
    ip daddr ${newAddress} tcp dport ${port} ct mark set ${into} meta mark set ${route} dnat ip to ${oldAddress}
  }
  chain leave {
    type filter hook postrouting priority mangle;
    oifname "${device}" meta mark set 0
    tcp flags syn tcp option maxseg size set ${mtu - 40}
  }
}`,
  old1: (device: string, mtu: number) => `add table inet hand
table inet hand {
  chain steer {
    type filter hook prerouting priority mangle;
    iifname "${device}" ct state new ct mark set ${from}
  }
  chain steer-answers {
    type route hook output priority mangle;
    ct direction reply ct mark ${from} meta mark set ${route}
  }
  chain leave {
    type filter hook postrouting priority mangle;
    oifname "${device}" meta mark set 0
    tcp flags syn tcp option maxseg size set ${mtu - 40}
  }
}`,
}

export type Rules = 'fleetmove' | 'hand-written' | 'none'

/** Commands of nft that make a host use these rules, and no others. */
export function useRules(rules: Rules, host: 'old1' | 'new1', device: string, mtu: number): string {
  if (rules === 'fleetmove') return [noHand, awake, ''].join('\n')
  return [noHand, asleep, ...(rules === 'hand-written' ? [hand[host](device, mtu)] : []), ''].join('\n')
}
