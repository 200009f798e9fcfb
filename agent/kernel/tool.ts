/**
 * The few programs of the host that this layer runs (nft, wg, ip): their words as they stand, output bounded, messages
 * in English.
 */
import { execFile } from 'node:child_process'
import { ToolShell } from './tool-shell.js'

/** Debian's packages, whose names most distributions share. */
const packages: { readonly [tool: string]: string } = { nft: 'nftables', wg: 'wireguard-tools', ip: 'iproute2' }

/** What to do about a program that is missing. */
export const installHint = (tool: string): string => `install the package ${packages[tool] ?? tool}`

/** The program isn't installed. */
export class ToolMissing extends Error {
  readonly tool: string
  constructor(tool: string) {
    super(`${tool} is not installed`)
    this.name = 'ToolMissing'
    this.tool = tool
  }
}

/** The program ran and failed; `message` is what it wrote to stderr. */
export class ToolFailed extends Error {
  readonly tool: string
  readonly stderr: string
  constructor(tool: string, stderr: string, status: string) {
    super(stderr.trim() || `${tool} failed (${status}) without a word`)
    this.name = 'ToolFailed'
    this.tool = tool
    this.stderr = stderr
  }
}

/** A service's PATH may lack the sbin directories, where most of these tools are. */
export const toolPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const timeout = 30_000
/** A ruleset of 10,000 rules lists as about 4 MB of JSON. */
const largestOutput = 64 * 1024 * 1024

const environment = { PATH: toolPath, LC_ALL: 'C' }
let shell: ToolShell | undefined

/** From now on a shell starts the programs: for a process that lives long. @param directory in memory, for its files */
export function keepToolShell(directory: string): void {
  shell = new ToolShell({ directory, environment, largestOutput })
}

/**
 * @returns what the program wrote to stdout
 * @throws ToolMissing, ToolFailed
 */
export async function runTool(tool: string, args: readonly string[]): Promise<string> {
  if (!shell) return runDirectly(tool, args)
  const { status, stdout, stderr } = await shell.run([tool, ...args], timeout).catch((error: Error) => {
    throw new ToolFailed(tool, error.message, '')
  })
  if (status === 0) return stdout
  if (status === 127) throw new ToolMissing(tool)
  throw new ToolFailed(tool, stderr, status > 128 ? `signal ${status - 128}` : `status ${status}`)
}

function runDirectly(tool: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(tool, args, { env: environment, timeout, maxBuffer: largestOutput }, (error, stdout, stderr) => {
      if (!error) resolve(stdout)
      else if (error.code === 'ENOENT') reject(new ToolMissing(tool))
      else reject(new ToolFailed(tool, stderr, error.signal ?? `status ${error.code}`))
    })
  })
}
