/**
 * gRPC to an agent over an SSH connection. grpc-js dials addresses only, so it is given a Unix socket
 * in a directory that nobody else may enter; every connection to it becomes one to the agent's socket: by
 * sshd itself where root is logged in and sshd forwards sockets, else by an `agent dial` on the host, a process
 * that takes a fifth of a second of a processor to start. No port is opened on either side.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ChannelCredentials, type ChannelOptions, credentials } from '@grpc/grpc-js'
import { FleetmoveError } from '../../proto/model/error.js'
import { AgentGone } from '../agents/agent-gone.js'
import type { RootAccess } from '../ssh/become.js'
import { slownessOf } from '../ssh/resolve-target.js'
import type { RemoteProcess, RemoteStream } from '../ssh/ssh-connection.js'
import type { InstalledAgent } from './agent-service.js'
import { socketPath } from './remote-paths.js'

export interface AgentChannel {
  /** For `new AgentClient(address, credentials, options)`. */
  address: string
  credentials: ChannelCredentials
  options: ChannelOptions
  /** Why the last connection failed or broke: gRPC itself only knows that it did. */
  failure(): FleetmoveError | undefined
  /** How many times longer than usual calls may take. */
  slowness: number
  /** Ends the connections and removes the socket; close the client first. */
  close(): Promise<void>
}

/** agent/dial.ts says this on stderr when the agent has taken the connection. */
const connectedNotice = 'fleetmove-dial: connected'
const dialTimeoutMs = 20_000

const channelOptions: ChannelOptions = {
  // Each agent has its own socket; a shared pool would only keep closed ones alive.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_http_proxy': 0,
  // A Unix socket's path is no name for the :authority header; servers refuse its slashes.
  'grpc.default_authority': 'localhost',
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  // SSH has keepalives of its own; a call that was not answered must not be sent twice by itself.
  'grpc.enable_retries': 0,
}

/**
 * Opens a channel to the agent that runs on a host. Returns once the agent has taken a connection, so
 * that a host without an agent is told here and not by a deadline.
 *
 * @throws FleetmoveError('unreachable' | 'timeout').
 */
export const openChannel = async (root: RootAccess, { runtime, agent }: InstalledAgent): Promise<AgentChannel> => {
  const directory = await mkdtemp(join(tmpdir(), 'fleetmove-'))
  const open = new Set<Socket>()
  let ready: RemoteStream | undefined
  let failure: FleetmoveError | undefined
  let closed = false
  let byProcess = root.openSocket === undefined

  const connect = async (): Promise<RemoteStream> => {
    const stream = byProcess ? undefined : await root.openSocket?.(socketPath)
    if (stream) return stream
    // Where it fails, too, it says why.
    const process = await dialAgent(root, [runtime, agent, 'dial'])
    byProcess = true
    return process
  }

  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
    socket.on('error', () => {})
    const taken = ready
    ready = undefined
    const stream = taken === undefined ? connect() : Promise.resolve(taken)
    stream.then(
      (remote) => {
        connectBoth(socket, remote, (error) => {
          if (!closed) failure = error
        })
      },
      (error) => {
        failure = error instanceof FleetmoveError ? error : root.connection.error('internal', String(error))
        socket.destroy()
      },
    )
  })

  const close = async (): Promise<void> => {
    closed = true
    ready?.channel.close()
    for (const socket of open) socket.destroy()
    await new Promise<void>((resolve) => server.close(() => resolve()))
    await rm(directory, { recursive: true, force: true })
  }
  try {
    const path = join(directory, 'agent.sock')
    await listen(server, path)
    ready = await connect()
    return {
      address: `unix:${path}`,
      credentials: credentials.createInsecure(),
      options: channelOptions,
      failure: () => failure,
      slowness: slownessOf(root.connection.target),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

const listen = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })

/** Runs `agent dial` on the host, and waits for the agent to take the connection. */
const dialAgent = async (root: RootAccess, argv: readonly string[]): Promise<RemoteProcess> => {
  const process = await root.start(argv)
  const { channel, exited } = process
  let said = ''
  let connected = false
  const withinMs = dialTimeoutMs * slownessOf(root.connection.target)
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      channel.close()
      reject(
        root.connection.error(
          'timeout',
          `the agent did not take a connection within ${withinMs / 1000} s`,
          'If the host is only slow: with ConnectTimeout 60 in ~/.ssh/config everything there may take six times as long.',
        ),
      )
    }, withinMs)
    channel.stderr.on('data', (chunk: Buffer) => {
      // Kept short: of a connection that lasts for days only the first and last words matter.
      said = (said + chunk.toString('utf8')).slice(-2_000)
      if (!said.includes(connectedNotice)) return
      clearTimeout(timer)
      connected = true
      resolve()
    })
    // Nobody reads stdout of a dial that has failed, and ssh2 reports no end before it is read.
    channel.stderr.once('end', () => {
      if (!connected) channel.resume()
    })
    channel.stderr.resume()
    exited.then(
      ({ code, signal }) => {
        clearTimeout(timer)
        const { host } = root.connection
        reject(
          new AgentGone({
            message: `no connection to the agent: ${said.trim() || signal || `exit code ${code}`}`,
            hint: 'run `fleetmove up`: it starts the agent and puts everything back',
            ...(host === undefined ? {} : { host }),
          }),
        )
      },
      (error) => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
  return process
}

const connectBoth = (
  socket: Socket,
  { channel, exited }: RemoteStream,
  failed: (error: FleetmoveError) => void,
): void => {
  socket.pipe(channel)
  channel.pipe(socket)
  socket.on('close', () => channel.close())
  exited.then(
    () => socket.destroySoon(),
    (error) => {
      failed(error)
      socket.destroy()
    },
  )
}
