/**
 * An SSH destination seen through the user's configuration. `ssh -G` is asked, because only ssh itself
 * evaluates Include, Match and tokens as the user expects.
 */
import { execFile } from 'node:child_process'
import { homedir, hostname, userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { FleetmoveError } from '../../proto/model/error.js'
import { parseSshTarget, type SshTarget } from './ssh-target.js'

export interface ResolvedTarget {
  /** As the operator wrote it: for messages. */
  written: string
  hostname: string
  port: number
  user: string
  /** Absolute paths, whether they exist or not, in the order to try them. */
  identityFiles: string[]
  identitiesOnly: boolean
  /** Path of the agent's socket, undefined without one. */
  agentSocket: string | undefined
  /** Destinations to go through, first hop first. */
  proxyJump: string[]
  /** User's files before global ones. */
  knownHostsFiles: string[]
  /** Names to look up in known_hosts, best first. */
  knownHostsNames: string[]
  /** HostKeyAlgorithms; empty where ssh wasn't there to say. */
  hostKeyAlgorithms: string[]
  connectTimeoutMs: number
}

export interface ResolveOptions {
  /** Another configuration file than ~/.ssh/config and /etc/ssh/ssh_config: `ssh -F`. */
  configFile?: string
  /** Told what was assumed, for -v. */
  log?: (message: string) => void
}

const defaultConnectTimeoutMs = 10_000

/**
 * How many times longer than usual everything on a host may take: whoever gives ssh more time to reach it
 * (ConnectTimeout) knows it to be slow, or far away.
 */
export const slownessOf = ({ connectTimeoutMs }: Pick<ResolvedTarget, 'connectTimeoutMs'>): number =>
  Math.max(1, connectTimeoutMs / defaultConnectTimeoutMs)
const defaultIdentities = ['id_rsa', 'id_ecdsa', 'id_ed25519']

/**
 * Resolves `[user@]host[:port]`. Without an ssh binary OpenSSH's defaults are taken, and `log` is told.
 *
 * @throws FleetmoveError('usage') for a malformed destination, a configuration that ssh refuses, and
 *   one that needs ProxyCommand.
 */
export const resolveTarget = async (written: string, options: ResolveOptions = {}): Promise<ResolvedTarget> => {
  const target = parseSshTarget(written)
  const argv = [
    ...(options.configFile === undefined ? [] : ['-F', options.configFile]),
    ...(target.port === undefined ? [] : ['-p', String(target.port)]),
    ...(target.user === undefined ? [] : ['-l', target.user]),
    '-G',
    '--',
    target.host,
  ]
  try {
    const { stdout } = await promisify(execFile)('ssh', argv, { timeout: 10_000 })
    return parseSshG(written, target, stdout, localContext())
  } catch (error) {
    if (error instanceof FleetmoveError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      options.log?.('There is no ssh command here: ~/.ssh/config is not read, and its defaults are taken.')
      return parseSshG(written, target, '', localContext())
    }
    const said = String((error as { stderr?: string }).stderr ?? '').trim()
    throw new FleetmoveError('usage', {
      message: `ssh can't resolve ${written}: ${said || (error as Error).message}`,
      hint: `Try: ssh ${argv.join(' ')}`,
      cause: error,
    })
  }
}

export interface LocalContext {
  home: string
  user: string
  hostname: string
  env: Readonly<Record<string, string | undefined>>
}

const localContext = (): LocalContext => ({
  home: homedir(),
  user: userInfo().username,
  hostname: hostname(),
  env: process.env,
})

/** Reads what `ssh -G` prints (one `keyword value` a line); what is missing gets OpenSSH's default. */
export const parseSshG = (written: string, target: SshTarget, text: string, local: LocalContext): ResolvedTarget => {
  const values = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const space = line.indexOf(' ')
    if (space === -1) continue
    const keyword = line.slice(0, space).toLowerCase()
    values.set(keyword, [...(values.get(keyword) ?? []), line.slice(space + 1)])
  }
  const one = (keyword: string): string | undefined => values.get(keyword)?.[0]
  const host = one('hostname') ?? target.host
  const port = Number(one('port') ?? target.port ?? 22)
  const user = one('user') ?? target.user ?? local.user

  const proxyCommand = one('proxycommand')
  if (proxyCommand !== undefined && proxyCommand !== 'none')
    throw new FleetmoveError('usage', {
      message: `${written} is reached by ProxyCommand in your SSH configuration, which fleetmove doesn't run`,
      hint: 'Use ProxyJump for this host, or give an address that can be reached directly.',
    })

  // TOKENS in ssh_config(5); -G expands none of them in IdentityFile and IdentityAgent.
  const tokens: Record<string, string> = {
    '%%': '%',
    '%d': local.home,
    '%h': host,
    '%L': local.hostname.split('.')[0] ?? '',
    '%l': local.hostname,
    '%n': target.host,
    '%p': String(port),
    '%r': user,
    '%u': local.user,
  }
  const path = (value: string): string =>
    value
      .replace(/^~(?=\/|$)/, () => local.home)
      .replace(/\$\{(\w+)\}/g, (whole, name: string) => local.env[name] ?? whole)
      .replace(/%./g, (token) => tokens[token] ?? token)
  const files = (keyword: string, defaults: string[]): string[] =>
    // A space within a name looks like one between names: names begin with / or ~.
    (one(keyword)?.split(/ +(?=[/~])/) ?? defaults).filter((name) => name !== 'none').map(path)

  const ssh = join(local.home, '.ssh')
  const alias = one('hostkeyalias')
  const jump = one('proxyjump')
  const timeout = Number(one('connecttimeout'))
  const name = host.toLowerCase()
  return {
    written,
    hostname: host,
    port,
    user,
    identityFiles: (values.get('identityfile') ?? defaultIdentities.map((file) => join(ssh, file)))
      .filter((file) => file !== 'none')
      .map(path),
    identitiesOnly: one('identitiesonly') === 'yes',
    agentSocket: agentSocket(one('identityagent'), path, local.env),
    proxyJump: jump === undefined || jump === 'none' ? [] : jump.split(','),
    knownHostsFiles: [
      ...files('userknownhostsfile', [join(ssh, 'known_hosts'), join(ssh, 'known_hosts2')]),
      ...files('globalknownhostsfile', ['/etc/ssh/ssh_known_hosts', '/etc/ssh/ssh_known_hosts2']),
    ],
    // check_host_key() tries the plain name too where a port other than 22 has no line of its own.
    knownHostsNames: alias !== undefined ? [alias.toLowerCase()] : port === 22 ? [name] : [`[${name}]:${port}`, name],
    hostKeyAlgorithms: one('hostkeyalgorithms')?.split(',') ?? [],
    connectTimeoutMs: Number.isFinite(timeout) && timeout > 0 ? timeout * 1000 : defaultConnectTimeoutMs,
  }
}

/** IdentityAgent: a path, `none`, `SSH_AUTH_SOCK` or the name of a variable; default $SSH_AUTH_SOCK. */
const agentSocket = (
  configured: string | undefined,
  path: (value: string) => string,
  env: LocalContext['env'],
): string | undefined => {
  if (configured === 'none') return undefined
  const variable = configured === undefined ? 'SSH_AUTH_SOCK' : /^\$?(SSH_AUTH_SOCK|(?<=\$)\w+)$/.exec(configured)?.[1]
  const socket = variable === undefined ? path(configured ?? '') : env[variable]
  return socket === '' ? undefined : socket
}
