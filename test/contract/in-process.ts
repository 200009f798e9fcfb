/** A command line of fleetmove in this process: what it prints, and its exit code. */
import { runProgram } from '../../cli/program.js'

export interface Ended {
  code: number
  stdout: string
  stderr: string
}

export async function fleetmove(...args: string[]): Promise<Ended> {
  const said = { stdout: '', stderr: '' }
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    jest.spyOn(process[name], 'write').mockImplementation((chunk) => {
      said[name] += String(chunk)
      return true
    }),
  )
  const before = process.exitCode
  process.exitCode = 0
  try {
    await runProgram(['node', 'fleetmove', ...args])
    return { code: Number(process.exitCode), ...said }
  } finally {
    process.exitCode = before
    for (const spy of spies) spy.mockRestore()
  }
}
