/** Figures for Prometheus while the spec asks for them: a text file that is replaced whole, or a unix socket. */
import { chmod, lstat, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { HostSpec } from '../../proto/model/host-spec.js'

/** As often as Prometheus asks by default, and more. */
const writeMs = 10_000
/** How a file of ours begins: another's is not replaced. */
const signature = '# Written by fleetmove; gone when it leaves this host.\n'

export class MetricsPublisher {
  /** Why nothing is published though it should be. */
  problem: string | undefined
  private target = ''
  private timer: NodeJS.Timeout | undefined
  private server: Server | undefined
  private queue: Promise<void> = Promise.resolve()

  /** @param read the figures as text */
  constructor(private readonly read: () => Promise<string>) {}

  /** Resolves when what stood before is gone. */
  follow(spec: HostSpec | null): Promise<void> {
    const target = spec?.log?.metrics ?? ''
    if (target === this.target) return this.queue
    const before = this.target
    this.target = target
    return this.alone(async () => {
      await this.stop(before)
      this.problem = undefined
      if (target.startsWith('unix:')) await this.serve(target.slice('unix:'.length))
      else if (target !== '') {
        await this.write(target)
        this.timer = setInterval(() => void this.alone(() => this.write(target)), writeMs)
        this.timer.unref()
      }
    })
  }

  /** At the end of the process: the file stays, for the figures go on with the next one. */
  close(): void {
    clearInterval(this.timer)
    this.server?.close()
    this.server?.closeAllConnections()
  }

  private alone(work: () => Promise<void>): Promise<void> {
    this.queue = this.queue.then(work).catch((error: Error) => {
      this.problem = `metrics: ${error.message}`
    })
    return this.queue
  }

  private async stop(target: string): Promise<void> {
    clearInterval(this.timer)
    this.server?.close()
    this.server?.closeAllConnections()
    this.server = undefined
    if (target.startsWith('unix:')) await rm(target.slice('unix:'.length), { force: true })
    else if (target !== '' && (await isOurs(target))) {
      await rm(target, { force: true })
      // Of an agent that was killed while it wrote.
      await rm(`${target}.new`, { force: true })
    }
  }

  private async write(path: string): Promise<void> {
    if (path !== this.target) return
    if (!(await isOurs(path))) throw new Error(`${path} is there and is not fleetmove's`)
    // The collector reads names that end in .prom, so not this one.
    await writeFile(`${path}.new`, signature + (await this.read()), { mode: 0o644 })
    await rename(`${path}.new`, path)
    this.problem = undefined
  }

  private async serve(path: string): Promise<void> {
    const found = await lstat(path).catch(() => undefined)
    if (found && !found.isSocket()) throw new Error(`${path} is there and is no socket`)
    await rm(path, { force: true })
    const server = createServer((_request, response) => {
      this.read().then(
        (text) => response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(text),
        (error: Error) => response.writeHead(500, { 'content-type': 'text/plain' }).end(`${error.message}\n`),
      )
    })
    this.server = server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(path, resolve)
    })
    await chmod(path, 0o660)
  }
}

/** Absent, or written by us. */
async function isOurs(path: string): Promise<boolean> {
  try {
    return (await readFile(path, 'utf8')).startsWith(signature)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true
    throw error
  }
}
