/**
 * `agent dial`: joins stdin and stdout to the agent's socket, as `docker system dial-stdio` does. The
 * controller starts it over SSH, so the agent needs no network port.
 */
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { paths } from './plan/own.js'

const retryMs = 50

/** Written to stderr once the agent has taken the connection; the controller waits for it. */
export const connectedNotice = 'fleetmove-dial: connected'

/**
 * Pipes bytes both ways until both directions have ended. With `--check SECONDS` it only waits until an
 * agent takes connections. Returns the exit code: 1, with a sentence on stderr, where there is none.
 */
export const dial = async (argv: readonly string[], path: string = paths.socket): Promise<number> => {
  const check = argv[0] === '--check'
  const seconds = check ? Number(argv[1]) : 0
  if (argv.length !== (check ? 2 : 0) || !Number.isFinite(seconds)) {
    process.stderr.write('usage: dial [--check SECONDS]\n')
    return 64
  }
  let socket: Socket
  try {
    socket = await connectWithin(path, seconds * 1000)
  } catch (error) {
    process.stderr.write(`no agent answers at ${path}: ${(error as Error).message}\n`)
    return 1
  }
  if (check) {
    socket.destroy()
    return 0
  }
  process.stderr.write(`${connectedNotice}\n`)
  return pump(socket)
}

const connectWithin = async (path: string, waitMs: number): Promise<Socket> => {
  const deadline = performance.now() + waitMs
  for (;;) {
    try {
      return await connectOnce(path)
    } catch (error) {
      if (performance.now() >= deadline) throw error
      await delay(retryMs)
    }
  }
}

const connectOnce = (path: string): Promise<Socket> =>
  new Promise((resolve, reject) => {
    // The end of stdin closes one direction only: the agent's last words must still come through.
    const socket = connect({ path, allowHalfOpen: true })
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
  })

const pump = (socket: Socket): Promise<number> =>
  new Promise((resolve) => {
    const lost = (error: Error): void => {
      process.stderr.write(`the connection to the agent broke: ${error.message}\n`)
      socket.destroy()
      resolve(1)
    }
    socket.on('error', lost)
    // The controller is gone: nobody is left to tell.
    process.stdout.on('error', () => {
      socket.destroy()
      resolve(0)
    })
    process.stdin.pipe(socket)
    // Not piped with `end`: closing stdout is the exit's work, after its last byte is written.
    socket.pipe(process.stdout, { end: false })
    socket.on('end', () => {
      // Without the agent there is nothing to send to, whether stdin has ended or not.
      process.stdin.unpipe(socket)
      socket.end()
      process.stdout.write('', () => resolve(0))
    })
  })
