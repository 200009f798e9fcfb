/** Keeps the process of the connection log running while the spec asks for it. */
import { join } from 'node:path'
import type { HostSpec } from '../../proto/model/host-spec.js'
import { type BoundProcess, startBound } from '../data/bound-process.js'
import { paths } from '../plan/own.js'
import { loggedListeners } from './connection-line.js'
import type { RecorderTask } from './recorder.js'

const restartMs = 1000

export class ConnectionLog {
  /** Why it doesn't run though it should. */
  problem: string | undefined
  private task = ''
  private running: BoundProcess | undefined
  private timer: NodeJS.Timeout | undefined

  /** Nothing happens where the listeners are the same. Resolves when what ran before has ended. */
  async follow(spec: HostSpec | null): Promise<void> {
    const listeners = spec?.log?.connections ? loggedListeners(spec) : []
    const task: RecorderTask = { path: join(paths.state, 'connections.jsonl'), listeners }
    const text = listeners.length > 0 ? JSON.stringify(task) : ''
    if (text === this.task) return
    this.task = text
    clearTimeout(this.timer)
    this.problem = undefined
    const before = this.running
    this.running = undefined
    // The new one listens before the old one ends: a line may come twice, but none is missed.
    if (text !== '') this.start()
    await before?.end()
  }

  async close(): Promise<void> {
    this.task = ''
    clearTimeout(this.timer)
    await this.running?.end()
  }

  private start(): void {
    const { task } = this
    let words = ''
    const running = startBound({
      argv: [process.execPath, process.argv[1]!, 'connections', task],
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
