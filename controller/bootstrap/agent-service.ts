/**
 * The agent as a service on a host: a systemd unit, or a daemon of our own where systemd isn't init.
 */
import type { RootAccess } from '../ssh/become.js'
import type { Payload } from './payload.js'
import { libraryDirectory, logFile, pidFile, runDirectory, stateDirectory, unitName, unitPath } from './remote-paths.js'

export interface InstalledAgent {
  /** Paths on the host. */
  runtime: string
  agent: string
}

/** The command lines of an agent whose payloads are on the host. */
export const installedAgent = (runtime: Payload, agent: Payload): InstalledAgent => ({
  runtime: `${runtime.directory}/node`,
  agent: `${agent.directory}/agent.cjs`,
})

/** Node starts in 0.1 s; a host under load, or one that compiles its rules first, may need longer. */
const startSeconds = 20
const serviceTimeoutMs = 60_000

/**
 * What the agent does itself: it writes to the kernel's network by netlink, nft, wg and /proc/sys/net, and runs the
 * tunnel's process, which opens /dev/net/tun and becomes nobody. It looks into the operator's directories,
 * but what writes there, and every command from fleet.yaml, runs as a transient unit (agent/kernel/outside.ts),
 * so nothing of this sandbox touches the operator's services.
 *
 * Not forbidden: PrivateTmp, since data: may name a directory there; ProtectProc, since processes are looked up
 * by number; MemoryDenyWriteExecute, since V8 compiles; PrivateNetwork and PrivateUsers, since the host's network
 * is what it works on.
 */
const sandbox = `CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_DAC_READ_SEARCH CAP_KILL CAP_SETUID CAP_SETGID
NoNewPrivileges=yes
ProtectSystem=strict
StateDirectory=fleetmove
StateDirectoryMode=0700
ReadWritePaths=/run -/proc/sys/net
ProtectHome=read-only
PrivateDevices=yes
BindPaths=-/dev/net/tun
DeviceAllow=/dev/net/tun rw
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
LockPersonality=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@resources @obsolete
SystemCallErrorNumber=EPERM
UMask=0077
`

/**
 * The unit file. KillMode=process: tunnels are children, and must outlive a restart of the agent.
 * No RuntimeDirectory, since systemd would empty it at every stop. The watchdog's word comes from
 * systemd-notify, a child (NotifyAccess=all); its signal is KILL, since a process that hangs would only dump core.
 */
export const unitFile = ({ runtime, agent }: InstalledAgent): string => `[Unit]
Description=fleetmove agent
Documentation=man:systemd.service(5)
After=network.target
StartLimitIntervalSec=0

[Service]
ExecStart=${runtime} ${agent} serve
Restart=always
RestartSec=1
KillMode=process
TimeoutStopSec=15
WatchdogSec=60
WatchdogSignal=SIGKILL
NotifyAccess=all
SyslogIdentifier=fleetmove-agent
OOMScoreAdjust=-500
${sandbox}
[Install]
WantedBy=multi-user.target
`

const isSystemd = '[ -d /run/systemd/system ]'

/** Whether the pid file names a process that runs the agent, and not one that has got its number since. */
const isAlive =
  `alive() { pid=$(cat ${pidFile} 2>/dev/null) && [ -n "$pid" ] && ` +
  `tr "[:cntrl:]" " " 2>/dev/null <"/proc/$pid/cmdline" | grep -q "${libraryDirectory}/.* serve"; }`

/** TERM, ten seconds, KILL: the agent ends what it is doing with the kernel first. */
const stopDaemon =
  `${isAlive}; if alive; then kill "$pid"; n=0; while alive && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done; ` +
  `if alive; then kill -9 "$pid"; fi; fi; rm -f ${pidFile}`

/** SELinux: what systemd starts from a library's directory (lib_t) stays in init's own domain; from bin_t it is unconfined. */
const labelRuntime = `if command -v selinuxenabled >/dev/null && selinuxenabled; then chcon -t bin_t "$1"; fi`

const startUnitScript = [
  `set -eu; ${labelRuntime}; new=${unitPath}.new; cat >"$new"`,
  `if cmp -s "$new" ${unitPath} && systemctl -q is-active ${unitName}; then rm "$new"; echo unchanged; exit 0; fi`,
  `mv "$new" ${unitPath}; systemctl daemon-reload; systemctl -q enable ${unitName}`,
  `systemctl restart ${unitName}; echo started`,
].join('; ')

const startDaemonScript = [
  'set -eu; runtime=$1; agent=$2; umask 077',
  `mkdir -p ${runDirectory} ${stateDirectory}`,
  `${isAlive}; if alive && tr "[:cntrl:]" " " <"/proc/$pid/cmdline" | grep -qF "$runtime $agent serve"; then echo unchanged; exit 0; fi`,
  stopDaemon,
  `setsid sh -c 'echo $$ >${pidFile}; umask 022; cd /; exec "$@"' sh "$runtime" "$agent" serve </dev/null >>${logFile} 2>&1 & echo started`,
].join('; ')

const logScript = `if ${isSystemd}; then journalctl -q --no-pager -o cat -n 10 -u ${unitName}; else tail -n 10 ${logFile}; fi`

/**
 * Starts the agent, or restarts it where another version runs, and waits until it takes connections.
 *
 * @returns `unchanged` where the same version ran already, without a look at whether it answers.
 * @throws FleetmoveError('health') with the agent's last words.
 */
export const startAgent = async (
  root: RootAccess,
  installed: InstalledAgent,
  systemd: boolean,
): Promise<'unchanged' | 'started'> => {
  const { runtime, agent } = installed
  const started = systemd
    ? await root.exec(['sh', '-c', startUnitScript, 'sh', runtime], {
        input: unitFile(installed),
        timeoutMs: serviceTimeoutMs,
      })
    : await root.exec(['sh', '-c', startDaemonScript, 'sh', runtime, agent], { timeoutMs: serviceTimeoutMs })
  // Whoever opens a channel to it sees whether it answers.
  if (started.code === 0 && started.stdout.trim() === 'unchanged') return 'unchanged'
  const answers =
    started.code === 0
      ? await root.exec([runtime, agent, 'dial', '--check', String(startSeconds)], { timeoutMs: serviceTimeoutMs })
      : started
  if (answers.code === 0) return 'started'
  const log = await root.exec(['sh', '-c', logScript])
  const words = [answers.stderr, log.stdout].flatMap((text) =>
    text.split('\n').map((line) => line.trim().slice(0, 200)),
  )
  throw root.connection.error(
    'health',
    `the agent doesn't start: ${words.filter((line) => line !== '').join('; ') || `exit code ${answers.code}`}`,
    systemd ? `Look at: journalctl -u ${unitName}` : `Look at ${logFile} on the host.`,
  )
}

const removeScript = [
  `if ${isSystemd}; then systemctl -q disable --now ${unitName} 2>/dev/null; rm -f ${unitPath} ${unitPath}.new; ` +
    `systemctl daemon-reload; systemctl reset-failed ${unitName} 2>/dev/null; fi`,
  stopDaemon,
  // The programs last: by them the next run sees that there is something left to remove.
  `rm -rf ${stateDirectory} ${runDirectory} && rm -rf ${libraryDirectory}`,
  `for left in ${libraryDirectory} ${stateDirectory} ${runDirectory}; do [ -e $left ] && echo $left; done`,
  'true',
].join('; ')

/**
 * Stops the agent and removes all that was installed, its ledger and keys too; works on what is half
 * there, and on nothing. What the agent has made in the kernel it takes down itself, by the Leave call,
 * which comes first.
 *
 * @throws FleetmoveError('conflict') that names what can't be removed.
 */
export const removeAgent = async (root: RootAccess): Promise<void> => {
  const { stdout, stderr } = await root.exec(['sh', '-c', removeScript], { timeoutMs: serviceTimeoutMs })
  const left = stdout.trim()
  if (left !== '')
    throw root.connection.error(
      'conflict',
      `${left.replaceAll('\n', ', ')} can't be removed: ${stderr.trim()}`,
      'Look what holds them: a mount, or an immutable file (lsattr).',
    )
}
