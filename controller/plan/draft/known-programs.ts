/** What is known of programs that often listen: whether they keep state and where, and which ones stay behind. */

export interface KnownProgram {
  /** As the kernel names the process, or the last part of its path. */
  names: readonly string[]
  /** `none`: both sides may run at once. `data`: never two at once on the same data. `unsure`: asked for. */
  state: 'none' | 'data' | 'unsure'
  /** Its process works in its data directory (chdir(2)). */
  worksInData?: boolean
  /** Where its state usually is; proposed where it is there. */
  data?: readonly string[]
  /** The unit to start and stop, where the process's own is only a part of it. */
  unit?: string
  /** Without systemd. */
  run?: { start: string; stop: string }
  /** Helper of its control port. */
  ftp?: boolean
  /** What a human must look at. */
  check?: string
}

const web: Pick<KnownProgram, 'state' | 'check'> = {
  state: 'none',
  check: 'its configuration, certificates and files must be on the new host too, and uploads kept in step',
}

export const knownPrograms: readonly KnownProgram[] = [
  {
    names: ['nginx'],
    ...web,
    run: {
      start: 'pgrep -x nginx >/dev/null || nginx',
      stop: '! pgrep -x nginx >/dev/null || nginx -s quit',
    },
  },
  {
    names: ['apache2', 'httpd'],
    ...web,
    run: { start: 'apachectl start', stop: 'apachectl graceful-stop' },
  },
  { names: ['caddy', 'lighttpd', 'traefik', 'varnishd', 'haproxy', 'envoy', 'squid'], ...web },
  {
    names: ['postgres', 'postmaster'],
    state: 'data',
    worksInData: true,
    check: 'the same major version must be installed on the new host; replication has a shorter hold than a copy',
  },
  {
    names: ['mysqld', 'mariadbd', 'mysqld_safe'],
    state: 'data',
    worksInData: true,
    data: ['/var/lib/mysql'],
    check: 'the same version must be installed on the new host; replication has a shorter hold than a copy',
  },
  { names: ['redis-server', 'valkey-server', 'keydb-server'], state: 'data', worksInData: true },
  { names: ['mongod'], state: 'data', data: ['/var/lib/mongodb', '/var/lib/mongo'] },
  { names: ['memcached'], state: 'none', check: 'its cache starts empty on the new host' },
  { names: ['slapd'], state: 'data', data: ['/var/lib/ldap', '/etc/ldap/slapd.d'] },
  { names: ['influxd'], state: 'data', data: ['/var/lib/influxdb'] },
  { names: ['grafana', 'grafana-server'], state: 'data', data: ['/var/lib/grafana'] },
  { names: ['prometheus'], state: 'data', data: ['/var/lib/prometheus'] },
  { names: ['gitea', 'forgejo'], state: 'data', data: ['/var/lib/gitea', '/var/lib/forgejo'] },
  { names: ['minio'], state: 'unsure', check: 'its volumes belong into data:' },
  {
    names: ['master'],
    state: 'data',
    worksInData: true,
    unit: 'postfix.service',
    run: { start: 'postfix start', stop: 'postfix stop' },
    check:
      "the world knows a mail server by its address: see egress: in docs/recipes.md, and the new address's reverse name",
  },
  {
    names: ['exim4', 'exim'],
    state: 'data',
    data: ['/var/spool/exim4', '/var/spool/exim'],
    check:
      "the world knows a mail server by its address: see egress: in docs/recipes.md, and the new address's reverse name",
  },
  {
    names: ['dovecot', 'imap-login', 'pop3-login', 'lmtp', 'managesieve-log'],
    state: 'data',
    data: ['/var/vmail', '/var/mail'],
    unit: 'dovecot.service',
    run: { start: 'dovecot', stop: 'doveadm stop' },
    check: 'data: must name where the mailboxes are (doveconf mail_location)',
  },
  {
    names: ['named', 'nsd', 'knotd', 'unbound', 'pdns_server', 'pdns_recursor', 'coredns', 'dnsmasq'],
    state: 'none',
    check: 'its zones and keys must be on the new host too',
  },
  {
    names: ['vsftpd', 'proftpd', 'pure-ftpd'],
    state: 'unsure',
    data: ['/srv/ftp'],
    ftp: true,
    check: 'data: must name the directories that are uploaded to; over TLS list the passive ports (docs/recipes.md)',
  },
  { names: ['smbd', 'nmbd'], state: 'unsure', check: 'its shares belong into data:' },
]

/** Kept where they are, and why. */
const left: readonly { names: readonly string[]; why: string }[] = [
  { names: ['sshd', 'ssh', 'dropbear'], why: 'SSH: you need it on both hosts' },
  {
    names: ['dhclient', 'dhcpcd', 'udhcpc', 'systemd-network', 'NetworkManager'],
    why: "the host's own network configuration",
  },
  { names: ['systemd-resolve', 'avahi-daemon'], why: "the host's own name resolution" },
  { names: ['ntpd', 'chronyd', 'systemd-timesyn', 'openntpd'], why: "the host's own clock" },
  { names: ['rpcbind', 'rpc.statd', 'rpc.mountd', 'cupsd', 'cups-browsed'], why: 'not meant for the world' },
  {
    names: [
      ...['node_exporter', 'prometheus-node', 'zabbix_agentd', 'zabbix_agent2', 'nrpe', 'snmpd', 'munin-node'],
      ...['check_mk_agent', 'cmk-agent-ctl', 'telegraf', 'netdata', 'collectd', 'filebeat', 'metricbeat', 'promtail'],
      ...['fluent-bit', 'datadog-agent', 'trace-agent', 'salt-minion', 'puppet', 'glances', 'cadvisor'],
    ],
    why: 'monitoring and management of this one host',
  },
  { names: ['tailscaled', 'lldpd', 'multipathd', 'iscsid', 'openvpn'], why: "a link or a device of the host's own" },
  { names: ['dockerd', 'containerd', 'podman', 'kubelet', 'kube-proxy'], why: 'runs containers, and is none' },
]

/** The names by which a process may be known: the kernel cuts them at 15 characters. */
const isNamed = (names: readonly string[], process: { name: string; program: string }): boolean => {
  const file = process.program.slice(process.program.lastIndexOf('/') + 1)
  return names.some((name) => name === file || name.slice(0, 15) === process.name)
}

export const knownProgram = (process: { name: string; program: string }): KnownProgram | undefined =>
  knownPrograms.find((known) => {
    if (!isNamed(known.names, process)) return false
    // Many programs call their first process that.
    return process.name !== 'master' || process.program === '' || process.program.includes('postfix')
  })

/** Why a program stays where it is; undefined where it may move. */
export const whyLeft = (process: { name: string; program: string }): string | undefined =>
  process.program.startsWith('/usr/local/lib/fleetmove/')
    ? 'fleetmove itself'
    : left.find(({ names }) => isNamed(names, process))?.why

/** Every directory that the table names: a survey looks which ones are there. */
export const knownDirectories: readonly string[] = [...new Set(knownPrograms.flatMap(({ data }) => data ?? []))]
