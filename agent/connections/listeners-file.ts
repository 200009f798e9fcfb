/**
 * The listeners of the connection log, in a file: the process that writes the log reads them anew when they change,
 * and needn't be started again, which would lose what ends meanwhile. A command line might also be too short for them.
 */
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type LoggedListener, listenerFinder } from './connection-line.js'

/** Replaced whole. */
export function writeListeners(path: string, listeners: readonly LoggedListener[]): void {
  writeFileSync(`${path}.new`, JSON.stringify(listeners), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

export const removeListeners = (path: string): void => rmSync(path, { force: true })

export class ListenersFile {
  /** The service of a listener. */
  find: ReturnType<typeof listenerFinder> = listenerFinder([])
  private inode = 0

  /** @throws when there is no such file */
  constructor(private readonly path: string) {
    this.read()
  }

  /** Reads it again if it has been replaced; one that is gone was the last word, and its reader is about to end. */
  refresh(): void {
    const found = statSync(this.path, { throwIfNoEntry: false })
    if (found && found.ino !== this.inode) this.read()
  }

  private read(): void {
    this.inode = statSync(this.path).ino
    this.find = listenerFinder(JSON.parse(readFileSync(this.path, 'utf8')) as LoggedListener[])
  }
}
