import type { Duplex, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Client, ClientChannel } from 'ssh2'
import { FleetmoveError } from '../../proto/model/error.js'
import { type ResolvedTarget, slownessOf } from './resolve-target.js'
import { Slots } from './slots.js'

export interface ExecOptions {
  /** What the command reads from stdin; without it stdin is empty. */
  input?: Buffer | string | Readable
  /** Milliseconds until the command is ended; default one minute. */
  timeoutMs?: number
  /** Of stdout and of stderr; more is an error. Default 8 MiB. */
  maxOutputBytes?: number
}

export interface ExecResult {
  /** Exit code, null where a signal ended the command. */
  code: number | null
  /** `SIGTERM`, or undefined. */
  signal: string | undefined
  stdout: string
  stderr: string
}

/** How a remote command ended. */
export interface RemoteExit {
  code: number | null
  signal: string | undefined
}

/**
 * A running command: `channel` reads its stdout and writes its stdin, `channel.stderr` its stderr. Both
 * must be read, or the command stalls; stderr may be paused: attach to it, then `resume()` it.
 */
export interface RemoteProcess {
  channel: ClientChannel
  /** Rejects with FleetmoveError('unreachable') where the connection is lost before the command ends. */
  exited: Promise<RemoteExit>
}

/** Bytes to and from something on the host. */
export interface RemoteStream {
  channel: Duplex & { close(): void }
  /** Settles when it is over; rejects where the connection was lost. */
  exited: Promise<unknown>
}

const defaultTimeoutMs = 60_000
const defaultMaxOutputBytes = 8 * 1024 * 1024
/** sshd's MaxSessions is 10 by default; two are left for those who changed it a little. */
const maxSessions = 8

/** Asks sshd to end a command. ssh2's own `signal` does nothing once stdin has ended, though sshd would listen. */
const terminate = (channel: ClientChannel): void => {
  const { outgoing, _client } = channel as unknown as {
    outgoing?: { id: number; state: string }
    _client?: { _protocol?: { signal?(channel: number, name: string): void } }
  }
  // To sshd a request for a channel that we have closed is a breach: it ends the whole connection.
  if (outgoing?.state === 'open' || outgoing?.state === 'eof') _client?._protocol?.signal?.(outgoing.id, 'TERM')
}

/** A connection that is logged in. Commands run without a terminal, up to eight at once. */
export class SshConnection {
  private readonly slots = new Slots(maxSessions)
  private lost: FleetmoveError | undefined
  /** Settles when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>

  constructor(
    private readonly client: Client,
    readonly target: ResolvedTarget,
    /** The host's name in fleet.yaml. */
    readonly host: string | undefined,
    private readonly end: () => void,
  ) {
    this.closed = new Promise((resolve) => {
      client.on('error', (error) => this.lose(error))
      client.on('close', () => {
        this.lose()
        resolve()
      })
    })
  }

  /** A FleetmoveError that bears this host's name. */
  error(code: FleetmoveError['code'], message: string, hint?: string, cause?: unknown): FleetmoveError {
    return new FleetmoveError(code, {
      message,
      ...(hint === undefined ? {} : { hint }),
      ...(this.host === undefined ? {} : { host: this.host }),
      ...(cause === undefined ? {} : { cause }),
    })
  }

  /**
   * Runs one command line in the user's login shell, and waits for its end. Any exit code is a result.
   *
   * @throws FleetmoveError: `unreachable` (connection lost), `timeout`, `invalid` (too much output).
   */
  async exec(command: string, options: ExecOptions = {}): Promise<ExecResult> {
    return this.collect(await this.start(command), command, options)
  }

  /** Feeds a process its input and gathers its output: the second half of `exec`. */
  async collect(process: RemoteProcess, command: string, options: ExecOptions = {}): Promise<ExecResult> {
    const { channel, exited } = process
    const timeoutMs = (options.timeoutMs ?? defaultTimeoutMs) * slownessOf(this.target)
    const limit = options.maxOutputBytes ?? defaultMaxOutputBytes
    const shown = command.length > 80 ? `${command.slice(0, 79)}…` : command
    return new Promise((resolve, reject) => {
      let stopped = false
      const stop = (error: FleetmoveError): void => {
        if (stopped) return
        stopped = true
        clearTimeout(timer)
        // Since OpenSSH 7.9, and not for root logins, where sshd has nobody of lower rank to send it:
        // there a command ends when it reads the end of its stdin or writes to the closed channel.
        terminate(channel)
        channel.close()
        reject(error)
      }
      const timer = setTimeout(
        () =>
          stop(
            this.error(
              'timeout',
              `"${shown}" did not end within ${timeoutMs / 1000} s`,
              'Look on the host what it waits for.',
            ),
          ),
        timeoutMs,
      )
      const gather = (stream: Readable): (() => string) => {
        const chunks: Buffer[] = []
        let length = 0
        stream.on('data', (chunk: Buffer) => {
          length += chunk.length
          if (length > limit) stop(this.error('invalid', `"${shown}" printed more than ${limit} bytes`))
          else if (!stopped) chunks.push(chunk)
        })
        stream.resume()
        return () => Buffer.concat(chunks).toString('utf8')
      }
      const stdout = gather(channel)
      const stderr = gather(channel.stderr)
      if (options.input === undefined || typeof options.input === 'string' || Buffer.isBuffer(options.input))
        channel.end(options.input)
      // A command may end without reading all of its input: its exit code tells, not the broken pipe.
      else pipeline(options.input, channel, { end: true }).catch(() => channel.end())
      exited.then(
        (exit) => {
          clearTimeout(timer)
          resolve({ ...exit, stdout: stdout(), stderr: stderr() })
        },
        (error) => {
          clearTimeout(timer)
          reject(error)
        },
      )
    })
  }

  /** Starts one command line and returns at once; the caller reads stdout and stderr, or it stalls. */
  async start(command: string): Promise<RemoteProcess> {
    if (this.lost !== undefined) throw this.lost
    const release = await this.slots.take()
    try {
      return await new Promise<RemoteProcess>((resolve, reject) => {
        this.client.exec(command, (error, channel) => {
          if (error !== undefined) reject(error)
          // Listening begins here and not after an await: the exit of a quick command may be in the
          // same packet as its start, and ssh2 tells both in one go.
          else resolve({ channel, exited: this.exitOf(channel, release) })
        })
      })
    } catch (error) {
      release()
      throw (
        this.lost ??
        this.error(
          'unreachable',
          `sshd on ${this.target.hostname} opens no further session: ${(error as Error).message}`,
          'Raise MaxSessions in sshd_config, or close other sessions of this connection.',
          error,
        )
      )
    }
  }

  /**
   * Lets sshd connect to a Unix socket as the user who is logged in (PROTOCOL in OpenSSH, "direct-streamlocal"):
   * no process is started for it.
   *
   * @returns undefined where sshd forwards no sockets, or nobody listens there: it doesn't tell which.
   */
  async openSocket(path: string): Promise<RemoteStream | undefined> {
    if (this.lost !== undefined) throw this.lost
    const channel = await new Promise<ClientChannel | undefined>((resolve) => {
      this.client.openssh_forwardOutStreamLocal(path, (error, opened) => resolve(error ? undefined : opened))
    })
    if (channel === undefined) return undefined
    channel.on('error', () => {})
    const exited = new Promise<void>((resolve, reject) => {
      channel.on('close', () => (this.lost === undefined ? resolve() : reject(this.lost)))
    })
    exited.catch(() => {})
    return { channel, exited }
  }

  private exitOf(channel: ClientChannel, release: () => void): Promise<RemoteExit> {
    channel.on('error', () => {})
    const exited = new Promise<RemoteExit>((resolve, reject) => {
      let exit: RemoteExit | undefined
      channel.on('exit', (code: number | null, signal?: string) => {
        exit = { code, signal }
      })
      channel.on('close', () => {
        release()
        if (exit !== undefined) resolve(exit)
        // A connection that is lost says so before it closes its channels.
        else
          reject(
            this.lost ??
              this.error('unreachable', `sshd on ${this.target.hostname} ended a command without saying how`),
          )
      })
    })
    exited.catch(() => {})
    return exited
  }

  /** Ends the connection and those to its jump hosts. */
  async close(): Promise<void> {
    this.end()
    await this.closed
  }

  private lose(cause?: Error): void {
    this.lost ??= this.error(
      'unreachable',
      `the SSH connection to ${this.target.hostname} was lost${cause === undefined ? '' : `: ${cause.message}`}`,
      'Run the command again: it goes on where it was.',
      cause,
    )
  }
}
