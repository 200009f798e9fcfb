/** Keeps the process of the connection log running while the spec asks for it. */
import { join } from 'node:path'
import type { HostSpec } from '../../proto/model/host-spec.js'
import { type BoundProcess, startBound } from '../data/bound-process.js'
import { paths } from '../plan/own.js'
import { loggedListeners } from './connection-line.js'
import { removeListeners, writeListeners } from './listeners-file.js'
import type { RecorderTask } from './recorder.js'

const restartMs = 1000
const task: RecorderTask = {
  path: join(paths.state, 'connections.jsonl'),
  listeners: join(paths.run, 'connections.json'),
}

export class ConnectionLog {
  /** Why it doesn't run though it should. */
  problem: string | undefined
  private wanted = ''
  private running: BoundProcess | undefined
  private timer: NodeJS.Timeout | undefined

  /** A process that runs is told of other listeners, and goes on. Where none are left, resolves when it has ended. */
  async follow(spec: HostSpec | null): Promise<void> {
    const listeners = spec?.log?.connections ? loggedListeners(spec) : []
    const text = listeners.length > 0 ? JSON.stringify(listeners) : ''
    if (text === this.wanted) return
    this.problem = undefined
    if (text === '') {
      removeListeners(task.listeners)
      return this.close()
    }
    try {
      writeListeners(task.listeners, listeners)
    } catch (error) {
      // Asked for again with the next spec; until then it goes on as it was.
      this.problem = `the connection log can't be told its listeners: ${(error as Error).message}`
      return
    }
    const begins = this.wanted === ''
    this.wanted = text
    if (begins) this.start()
  }

  async close(): Promise<void> {
    this.wanted = ''
    clearTimeout(this.timer)
    const before = this.running
    this.running = undefined
    await before?.end()
  }

  private start(): void {
    let words = ''
    const running = startBound({
      argv: [process.execPath, process.argv[1]!, 'connections', JSON.stringify(task)],
      directory: '',
      onComplaint: (text) => {
        words = (words + text).slice(-300)
      },
    })
    this.running = running
    const again = (why: string): void => {
      if (this.running !== running) return
      this.problem = `the connection log stopped and is started again: ${why}`
      this.timer = setTimeout(() => this.start(), restartMs)
      this.timer.unref()
    }
    running.exit.then(
      (code) =>
        again(
          words.trim() || `ended by ${code === null ? 'a signal: more came than it could read' : `exit code ${code}`}`,
        ),
      (error: Error) => again(error.message),
    )
  }
}
