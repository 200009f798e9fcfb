/** What an operator sees who types a line at the controller: standard output and error as they come, without a terminal. */
import { main, type Practice } from './practice.js'

export interface Session {
  /** `$ LINE`, what it printed, and its exit code unless that is 0. */
  text: string
  code: number
}

/** Runs a line of shell in which `fleetmove` is the built command line. */
export async function typed(practice: Practice, line: string, timeoutMs = 180_000): Promise<Session> {
  const script = `exec 2>&1 </dev/null; fleetmove() { '${process.execPath}' '${main}' "$@"; }; ${line}`
  const { code, stdout } = await practice.lab.exec('controller', ['bash', '-c', script], { timeoutMs })
  return { text: `$ ${line}\n${stdout}${code === 0 ? '' : `exit code ${code}\n`}`, code }
}
