import { realpathSync } from 'node:fs'
import type { HostFile } from './host-files.js'

/**
 * `fleetmove` as a command of the practice controller: the very program that starts the network. Nothing
 * where it was started otherwise (by a test, from source).
 */
export function ownCommand(): HostFile[] {
  const program = process.argv[1]
  if (!program || !/\/(fleetmove[^/]*|cli\/main\.js)$/.test(program)) return []
  // A single executable is its own program.
  const programs = new Set([realpathSync(process.execPath), realpathSync(program)])
  const words = [...programs].map((word) => `'${word.replaceAll("'", `'\\''`)}'`)
  return [{ path: '/usr/local/bin/fleetmove', text: `#!/bin/sh\nexec ${words.join(' ')} "$@"\n`, mode: 0o755 }]
}
