/**
 * Output that can't be written. `fleetmove status | head -1`: a reader that goes away is no error; a full disk is one,
 * but neither may end a move in the middle.
 */
import { fileProblem } from '../../controller/read-file.js'

let told = false

function lost(this: NodeJS.WriteStream, error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE' || told) return
  told = true
  process.exitCode = 1
  if (this === process.stderr) return
  process.stderr.write(
    `error: standard output can't be written: ${fileProblem(error)}\n  next: what was begun goes on; see fleetmove status for how it ended\n`,
  )
}

/** From now on a command goes on to its end, whoever reads. */
export function bearLostOutput(): void {
  for (const stream of [process.stdout, process.stderr])
    if (!stream.listeners('error').includes(lost)) stream.on('error', lost)
}
