/**
 * Opens SSH connections: jump hosts, host keys, login, and errors that say what to do next.
 */
import { connect as connectTcp, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Client } from 'ssh2'
import { FleetmoveError } from '../../proto/model/error.js'
import type { AskSecret } from './ask-secret.js'
import { hostKeyAlgorithms } from './host-key-algorithms.js'
import { hostKeyProblem, readKnownHosts } from './host-key-check.js'
import { type LoginLog, prepareLogin } from './identities.js'
import { knownKeyTypes } from './known-hosts.js'
import { type ResolvedTarget, resolveTarget } from './resolve-target.js'
import { SshConnection } from './ssh-connection.js'

export interface ConnectOptions {
  /** The host's name in fleet.yaml, for errors. */
  host?: string
  /** Left away where there is no terminal. */
  askSecret?: AskSecret | undefined
  /** `ssh -F`. */
  configFile?: string
  /** Told of assumptions, for -v. */
  log?: (message: string) => void
}

/** A session that has been silent for this long is asked for a sign of life; three silences end it. */
const keepaliveMs = 10_000
const maxJumps = 8
const closeGraceMs = 1_000

/**
 * Connects and logs in to `[user@]host[:port]`, through the jump hosts of the user's configuration,
 * each of them checked as strictly as the host itself.
 *
 * @throws FleetmoveError: `usage` (destination or configuration), `host-key`, `unreachable` (network,
 *   login), `timeout`.
 */
export const connectSsh = async (destination: string, options: ConnectOptions = {}): Promise<SshConnection> => {
  const target = await resolveTarget(destination, options)
  const hops = await resolveJumps(target, options, [])
  const clients: Client[] = []
  const transports: Duplex[] = []
  const close = (): void => {
    for (const client of [...clients].reverse()) client.end()
    // A host that is gone acknowledges no end.
    setTimeout(() => {
      for (const transport of transports) transport.destroy()
    }, closeGraceMs).unref()
  }
  try {
    for (const [index, hop] of [...hops, target].entries()) {
      const before = clients[index - 1]
      const deadline = deadlineAfter(hop, options.host)
      const role = index < hops.length ? `jump host ${hop.written}` : hop.written
      try {
        const transport = await deadline.guard(
          before === undefined
            ? tcp(hop, options.host)
            : through(before, hops[index - 1]?.written ?? '', hop, options.host),
        )
        transports.push(transport)
        clients.push(await deadline.guard(login(hop, role, transport, deadline, options)))
      } finally {
        deadline.clear()
      }
    }
    const client = clients.at(-1)
    if (client === undefined) throw new FleetmoveError('internal', { message: 'a connection without hops' })
    return new SshConnection(client, target, options.host, close)
  } catch (error) {
    close()
    throw error
  }
}

const resolveJumps = async (
  target: ResolvedTarget,
  options: ConnectOptions,
  above: readonly string[],
): Promise<ResolvedTarget[]> => {
  const hops: ResolvedTarget[] = []
  for (const [index, jump] of target.proxyJump.entries()) {
    if (above.length + hops.length >= maxJumps)
      throw new FleetmoveError('usage', {
        message: `more than ${maxJumps} jump hosts lead to ${target.written}: ${[...above, jump].join(' → ')}`,
        hint: 'Look for a ProxyJump in ~/.ssh/config that leads back to itself.',
        ...where(options.host),
      })
    const hop = await resolveTarget(jump, options)
    // Only the first hop's own ProxyJump counts: the others are reached through the hop before.
    if (index === 0) hops.push(...(await resolveJumps(hop, options, [...above, jump])))
    hops.push(hop)
  }
  return hops
}

interface Deadline {
  /** Rejects when time is up before `work` is done. */
  guard<T>(work: Promise<T>): Promise<T>
  /** Stops the clock while a person is asked. */
  pause<T>(work: () => Promise<T>): Promise<T>
  clear(): void
}

const deadlineAfter = (target: ResolvedTarget, host: string | undefined): Deadline => {
  let expire = (): void => {}
  const expired = new Promise<never>((_, reject) => {
    expire = () =>
      reject(
        new FleetmoveError('timeout', {
          message: `${at(target)} did not answer within ${target.connectTimeoutMs / 1000} s`,
          hint: `Check the address and that a firewall lets you in; try: ssh -v ${target.written}`,
          ...where(host),
        }),
      )
  })
  // Somebody may give up before time does.
  expired.catch(() => {})
  let timer = setTimeout(expire, target.connectTimeoutMs)
  return {
    guard: (work) => {
      work.catch(() => {})
      return Promise.race([work, expired])
    },
    pause: async (work) => {
      clearTimeout(timer)
      try {
        return await work()
      } finally {
        timer = setTimeout(expire, target.connectTimeoutMs)
      }
    },
    clear: () => clearTimeout(timer),
  }
}

const tcp = (target: ResolvedTarget, host: string | undefined): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connectTcp({
      host: target.hostname,
      port: target.port,
      noDelay: true,
      keepAlive: true,
      // Node gives each address of a name 250 ms by default, less than a far round trip with one loss.
      autoSelectFamilyAttemptTimeout: 2_500,
    })
    const timer = setTimeout(() => socket.destroy(), target.connectTimeoutMs)
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.removeAllListeners('error')
      resolve(socket)
    })
    socket.once('error', (error) => {
      clearTimeout(timer)
      reject(tcpError(target, error, host))
    })
  })

const tcpError = (target: ResolvedTarget, error: NodeJS.ErrnoException, host: string | undefined): FleetmoveError => {
  const [message, hint] = ((): [string, string] => {
    switch (error.code) {
      case 'ECONNREFUSED':
        return [`${at(target)} refuses connections`, 'Check that sshd runs there and listens on that port.']
      case 'EHOSTUNREACH':
      case 'ENETUNREACH':
        return [`there is no route to ${at(target)}`, 'Check the address, and the network and VPN of this machine.']
      case 'ETIMEDOUT':
        return [`${at(target)} did not answer`, 'Check the address and that a firewall lets you in.']
      case 'ENOTFOUND':
        return [`the name ${target.hostname} is not in DNS`, 'Check the spelling, or write the address.']
      case 'EAI_AGAIN':
        return [
          `the name ${target.hostname} can't be looked up: DNS does not answer`,
          'Check the resolver of this machine.',
        ]
      default:
        return [`can't connect to ${at(target)}: ${error.message}`, `Try: ssh -v ${target.written}`]
    }
  })()
  return new FleetmoveError('unreachable', { message, hint, cause: error, ...where(host) })
}

const through = (jump: Client, jumpName: string, target: ResolvedTarget, host: string | undefined): Promise<Duplex> =>
  new Promise((resolve, reject) => {
    jump.forwardOut('127.0.0.1', 0, target.hostname, target.port, (error, channel) => {
      if (error === undefined) resolve(channel)
      else
        reject(
          new FleetmoveError('unreachable', {
            message: `jump host ${jumpName} can't reach ${at(target)}: ${error.message.replace(/^\(SSH\) Channel open failure: /, '')}`,
            hint: `Check on ${jumpName} that the address is reachable and that sshd_config has AllowTcpForwarding yes.`,
            cause: error,
            ...where(host),
          }),
        )
    })
  })

const login = async (
  target: ResolvedTarget,
  role: string,
  transport: Duplex,
  deadline: Deadline,
  options: ConnectOptions,
): Promise<Client> => {
  const knownHosts = await readKnownHosts(target.knownHostsFiles)
  const { log, handler } = await prepareLogin(target, options.askSecret, deadline.pause)
  const client = new Client()
  // ssh2 says only "Host denied" of a rejected key: the reason is kept here.
  let keyProblem: FleetmoveError | undefined
  let shookHands = false
  return new Promise<Client>((resolve, reject) => {
    const fail = (error: unknown): void => {
      client.end()
      transport.destroy()
      reject(error)
    }
    client.on('handshake', () => {
      shookHands = true
    })
    client.on('error', (error: Error & { level?: string }) => {
      // The agent has failed: ssh2 goes on with the next method by itself.
      if (error.level === 'agent') log.passedOver.push(`agent ${target.agentSocket}: ${error.message}`)
      else fail(keyProblem ?? loginError(target, role, error, shookHands, log, options.host))
    })
    client.on('close', () =>
      fail(
        keyProblem ?? loginError(target, role, new Error('the connection was closed'), shookHands, log, options.host),
      ),
    )
    client.on('ready', () => {
      client.removeAllListeners('close')
      client.removeAllListeners('error')
      // From here on SshConnection listens; a jump host has nobody else, and its end shows in what it carries.
      client.on('error', () => {})
      resolve(client)
    })
    client.connect({
      sock: transport,
      username: target.user,
      authHandler: handler,
      // Ours stops while a person is asked; ssh2's does not.
      readyTimeout: 0,
      keepaliveInterval: keepaliveMs,
      keepaliveCountMax: 3,
      algorithms: {
        serverHostKey: hostKeyAlgorithms(knownKeyTypes(knownHosts, target.knownHostsNames), target.hostKeyAlgorithms),
      },
      hostVerifier: (key: Buffer) => {
        keyProblem = hostKeyProblem(target, knownHosts, key, options.host)
        return keyProblem === undefined
      },
    })
  })
}

const loginError = (
  target: ResolvedTarget,
  role: string,
  error: Error & { level?: string },
  shookHands: boolean,
  log: LoginLog,
  host: string | undefined,
): FleetmoveError => {
  if (!shookHands)
    return new FleetmoveError('unreachable', {
      message: `no SSH session with ${role} at ${at(target)}: ${error.message}`,
      hint: `Check that the port is sshd's; sshd also closes early when it has too many logins at once (MaxStartups). Try: ssh -v ${target.written}`,
      cause: error,
      ...where(host),
    })
  const offered = log.offered.length === 0 ? 'no key was offered' : `offered: ${log.offered.join(', ')}`
  const notes = [
    ...log.passedOver,
    ...(log.accepted.length === 0 ? [] : [`the host accepts: ${log.accepted.join(', ')}`]),
    ...(error.level === 'client-authentication' ? [] : [error.message]),
  ]
  return new FleetmoveError('unreachable', {
    message: `${role} does not let ${target.user} in; ${[offered, ...notes].join('; ')}`,
    hint: log.passedOver.some((note) => note.includes('is encrypted'))
      ? 'Load the key into an agent first: eval "$(ssh-agent)" and ssh-add, or run fleetmove at a terminal.'
      : `Put your public key there (ssh-copy-id ${target.written}), or name its key by IdentityFile in ~/.ssh/config or load it by ssh-add.`,
    cause: error,
    ...where(host),
  })
}

const at = (target: ResolvedTarget): string => `${target.hostname} port ${target.port}`
const where = (host: string | undefined): { host?: string } => (host === undefined ? {} : { host })
