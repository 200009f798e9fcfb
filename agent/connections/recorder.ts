/**
 * The process that writes the connection log, and does nothing else: whatever ends it, an overrun above all,
 * leaves the agent alone, which starts it again (supervise.ts).
 */
import { readdir, readFile } from 'node:fs/promises'
import { onDestroyed } from '../kernel/conntrack-events.js'
import { connectionLine, type Timeouts } from './connection-line.js'
import { ListenersFile } from './listeners-file.js'
import { LogFile } from './log-file.js'

export interface RecorderTask {
  /** Of the log. */
  path: string
  /** The file that has them. */
  listeners: string
}

const flushMs = 250
/** 64 MB in all; some 250 bytes a line. */
const limits = { bytes: 32 * 1024 * 1024, perSecond: 1000, burst: 5000 }

/**
 * The verb `connections`.
 * @param argv one argument, a RecorderTask as JSON
 */
export async function recordConnections([argument]: readonly string[]): Promise<number> {
  const task = JSON.parse(argument ?? '') as RecorderTask
  const listeners = new ListenersFile(task.listeners)
  const timeouts = await readTimeouts()
  const file = new LogFile(task.path, limits)
  return new Promise((resolve, reject) => {
    const close = onDestroyed((entry) => {
      const line = connectionLine(entry, listeners.find, timeouts, Date.now())
      if (line) file.add(line)
    }, reject)
    const timer = setInterval(() => {
      try {
        file.flush()
        listeners.refresh()
      } catch (error) {
        reject(error)
      }
    }, flushMs)
    // What ended before this, or while no such process ran, is not in the log.
    file.add({ at: new Date().toISOString(), begins: true })
    process.once('SIGTERM', () => {
      clearInterval(timer)
      close()
      file.flush()
      resolve(0)
    })
  })
}

const directory = '/proc/sys/net/netfilter'

async function readTimeouts(): Promise<Timeouts> {
  const names = (await readdir(directory)).filter((name) => /^nf_conntrack_(tcp|udp)_timeout/.test(name))
  const entries = await Promise.all(
    names.map(async (name) => [
      name.slice('nf_conntrack_'.length),
      Number(await readFile(`${directory}/${name}`, 'utf8')),
    ]),
  )
  return Object.fromEntries(entries) as Timeouts
}
