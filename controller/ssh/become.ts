/**
 * Commands as root. With sudo, one conversation covers all its ways (NOPASSWD, a remembered password,
 * a password to ask for): sudo is told to prompt with a word of our own on stderr, and the command
 * says another one there when it begins. So the password is sent only where sudo reads it, never into
 * the command's stdin, and a wrong one is known by the second prompt instead of hanging.
 */
import { randomBytes } from 'node:crypto'
import type { FleetmoveError } from '../../proto/model/error.js'
import type { AskSecret } from './ask-secret.js'
import { shellQuote } from './shell-quote.js'
import type { ExecOptions, ExecResult, RemoteProcess, RemoteStream, SshConnection } from './ssh-connection.js'

export type Become = 'none' | 'sudo'

/** Time for sudo to let us in once it has the password: PAM delays refusals by a few seconds. */
const sudoTimeoutMs = 30_000

/** Runs commands on one host as root. */
export interface RootAccess {
  readonly connection: SshConnection
  /** Runs `argv` and waits for its end; as SshConnection.exec. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>
  /** Starts `argv`; returns when it runs, so everything on its stdin and stdout is the command's own. */
  start(argv: readonly string[]): Promise<RemoteProcess>
  /**
   * Connects to a Unix socket as SshConnection.openSocket. Undefined unless root itself is logged in: sshd connects as
   * the user of the session, whatever sudo would allow.
   */
  readonly openSocket: ((path: string) => Promise<RemoteStream | undefined>) | undefined
}

/**
 * Root on a connected host: by logging in as root (`none`; whether that is so, the facts tell), or by sudo.
 * The password is asked for at most once, and only if sudo wants one.
 *
 * Both methods throw FleetmoveError('unreachable') where sudo refuses.
 */
export const asRoot = (connection: SshConnection, become: Become, askSecret?: AskSecret): RootAccess => {
  let password: Promise<string> | undefined
  const sudoPassword = (): Promise<string> | undefined => {
    if (askSecret === undefined) return undefined
    password ??= askSecret(
      `sudo password of ${connection.target.user} on ${connection.host ?? connection.target.hostname}: `,
    )
    return password
  }
  const forget = (): void => {
    password = undefined
  }
  const start = (argv: readonly string[]): Promise<RemoteProcess> =>
    become === 'none' ? connection.start(shellQuote(argv)) : startWithSudo(connection, argv, sudoPassword, forget)
  return {
    connection,
    start,
    openSocket:
      become === 'none' && connection.target.user === 'root' ? (path) => connection.openSocket(path) : undefined,
    exec: async (argv, options) => connection.collect(await start(argv), argv.join(' '), options),
  }
}

const startWithSudo = async (
  connection: SshConnection,
  argv: readonly string[],
  sudoPassword: () => Promise<string> | undefined,
  forget: () => void,
): Promise<RemoteProcess> => {
  const nonce = randomBytes(8).toString('hex')
  const prompt = `<sudo-${nonce}>`
  const begun = `<begun-${nonce}>`
  // `exec "$@"` leaves no shell between sudo and the command. One line and no backslash: the login
  // shell that takes it apart may be csh or fish, which read those differently.
  const process = await connection.start(
    shellQuote(['sudo', '-S', '-p', prompt, '--', 'sh', '-c', `printf %s "${begun}" >&2; exec "$@"`, 'sh', ...argv]),
  )
  const { channel, exited } = process
  const refused = (why: string, hint: string): FleetmoveError =>
    connection.error(
      'unreachable',
      `sudo on ${connection.target.hostname} refuses ${connection.target.user}: ${why}`,
      hint,
    )

  let prompts = 0
  let said = ''
  await new Promise<void>((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined
    let settled = false
    const settle = (error?: unknown): void => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      channel.stderr.off('data', onData)
      if (error === undefined) resolve()
      else {
        // Nobody listens any more; unread output would keep 'close' from coming.
        channel.stderr.resume()
        channel.resume()
        channel.end()
        reject(error)
      }
    }
    const wait = (): void => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        channel.close()
        settle(
          refused(
            `it did not start the command within ${sudoTimeoutMs / 1000} s${said.trim() === '' ? '' : ` (${said.trim()})`}`,
            'Try sudo there by hand: it may ask for more than a password.',
          ),
        )
      }, sudoTimeoutMs)
    }
    const answer = async (): Promise<void> => {
      clearTimeout(timer)
      const secret = await sudoPassword()
      if (secret === undefined)
        throw refused(
          'it wants a password, and there is no terminal to ask for it',
          'Run fleetmove at a terminal, or allow NOPASSWD for this user in sudoers.',
        )
      if (settled) return
      wait()
      channel.write(`${secret}\n`)
    }
    const onData = (chunk: Buffer): void => {
      said += chunk.toString('utf8')
      const start = said.indexOf(begun)
      if (start !== -1) {
        const rest = said.slice(start + begun.length)
        settle()
        channel.stderr.pause()
        if (rest !== '') channel.stderr.unshift(Buffer.from(rest))
        return
      }
      const seen = said.split(prompt).length - 1
      if (seen === prompts) return
      prompts = seen
      if (seen === 1) answer().catch(settle)
      else {
        forget()
        settle(
          refused('the password is wrong', 'Run the command again and type the password of that user on that host.'),
        )
      }
    }
    channel.stderr.on('data', onData)
    // Nobody reads stdout of a command that has not begun, and ssh2 reports no end before it is read.
    channel.stderr.once('end', () => {
      if (!settled) channel.resume()
    })
    exited.then(
      ({ code }) => {
        const words = said.replaceAll(prompt, '').trim()
        settle(
          refused(words || `exit code ${code}`, 'Allow sudo for this user in sudoers, or use another user in `ssh:`.'),
        )
      },
      (error) => settle(error),
    )
    wait()
  })
  return process
}
