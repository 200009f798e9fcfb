import type { LabTopology } from './topology.js'

/** A fleet.yaml for the practice network: the web server on old1 moves to new1, by both families. */
export function exampleFleet(topology: LabTopology): string {
  const address = (host: string, family: 'v4' | 'v6') => topology.hosts[host]?.[family][0] ?? ''
  const old4 = address('old1', 'v4')
  const old6 = address('old1', 'v6')
  const new4 = address('new1', 'v4')
  const new6 = address('new1', 'v6')
  return `fleet: practice
hosts:
  old1:
    ssh: root@${old4}
    addresses: [${old4}, "${old6}"]
  new1:
    ssh: root@${new4}
    addresses: [${new4}, "${new6}"]
tunnel:
  port: 51820
  driver: auto
services:
  web:
    from: old1
    to: new1
    listen: [tcp/80]
    addresses: { ${old4}: ${new4}, "${old6}": "${new6}" }
    strategy: rolling
    run:
      start: "pgrep -x nginx >/dev/null || nginx"
      stop: "! pgrep -x nginx >/dev/null || nginx -s quit"
    health: { http: "http://127.0.0.1:80/healthz" }
vantages:
  client1: { ssh: root@${address('client1', 'v4')} }
  client2: { ssh: root@${address('client2', 'v4')} }
`
}
