/** The example of the documentation: every part of a fleet file once. */
export const exampleFleet = `fleet: spring-move
hosts:
  old:
    ssh: root@203.0.113.10
    addresses: [203.0.113.10, "2001:db8:a::10"]
  new:
    ssh: deploy@198.51.100.20
    become: sudo
    addresses:
      - { public: 198.51.100.20, local: 10.0.0.5 }
      - "2001:db8:b::20"
tunnel:
  port: 51820
  driver: auto
services:
  web:
    from: old
    to: new
    listen: [tcp/80, tcp/443, udp/443]
    addresses: { 203.0.113.10: 198.51.100.20 }
    strategy: rolling
    unit: nginx.service
    health: { http: "http://127.0.0.1:80/healthz" }
    wave: 1
  mail:
    from: old
    to: new
    listen: [tcp/25, tcp/587]
    strategy: recreate
    hold: 15s
    drain: 60s
    run: { stop: "systemctl stop postfix", start: "systemctl start postfix" }
    data: [/var/spool/postfix]
    egress: new
vantages:
  probe1: { ssh: ops@198.18.9.9 }
`
