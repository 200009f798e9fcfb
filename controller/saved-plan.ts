/** A plan on disk: `fleetmove plan -o FILE` writes it, `fleetmove up FILE` reads it. */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { access, open, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import { FleetmoveError } from '../proto/model/error.js'
import type { FleetPlan } from './plan/fleet-plan.js'
import { fileProblem, readAtMost } from './read-file.js'

const format = 'fleetmove plan'
const version = 1
/** Thousands of services come to some megabytes; what is above was named by mistake. */
const largestPlan = 256 * 1024 * 1024

const text = z.record(z.string(), z.string())
/** What `up FILE` compares; the rest of the file is for readers. */
const savedPlan = z.object({
  format: z.literal(format),
  version: z.literal(version),
  fleet: z.string(),
  /** SHA-256 of fleet.yaml. */
  fleetFile: z.string(),
  hosts: z.array(z.object({ name: z.string(), generation: z.int().min(0), deciding: text, fingerprint: z.string() })),
  paths: z.array(
    z.object({
      a: z.string(),
      b: z.string(),
      port: z.int(),
      mtu: z.object({ aToB: z.int(), bToA: z.int() }).nullable(),
    }),
  ),
  phases: z.array(
    z.object({ what: z.string(), hosts: z.array(z.object({ host: z.string(), steps: z.array(z.string()) })) }),
  ),
})

export type SavedPlan = z.infer<typeof savedPlan>

/** Of the deciding facts of a host. */
export const factsFingerprint = (deciding: Readonly<Record<string, string>>): string =>
  createHash('sha256')
    .update(JSON.stringify(Object.entries(deciding).sort(([a], [b]) => (a < b ? -1 : 1))))
    .digest('hex')

const fileHash = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readAtMost(path, largestPlan))
    .digest('hex')

/**
 * @param fleetFile the fleet.yaml of which the plan was made
 * @throws FleetmoveError 'conflict' where the plan isn't whole, 'usage' where the file can't be written
 */
export async function savePlan(plan: FleetPlan, fleetFile: string, path: string): Promise<void> {
  if (plan.unknown.length > 0) {
    throw new FleetmoveError('conflict', {
      message: `the plan isn't whole, and was not saved: the agent on ${plan.unknown.join(' and ')} doesn't run, and its ledger decides the rest`,
      hint: 'run `fleetmove up` without a saved plan: it starts the agent, which goes on where it was',
    })
  }
  const hosts = plan.hosts.map((host) => ({ ...host, fingerprint: factsFingerprint(host.deciding) }))
  const saved = {
    format,
    version,
    madeAt: new Date().toISOString(),
    fleetFile: await fileHash(fleetFile),
    ...plan,
    hosts,
  }
  await writeFile(path, `${JSON.stringify(saved, null, 2)}\n`).catch((cause: NodeJS.ErrnoException) => {
    throw unwritable(path, cause)
  })
}

/**
 * @throws FleetmoveError 'usage' where it is no plan of ours, 'conflict' where fleet.yaml is another one by now
 */
export async function readPlan(path: string, fleetFile: string): Promise<SavedPlan> {
  const bytes = await readAtMost(path, largestPlan).catch((cause: NodeJS.ErrnoException) => {
    throw new FleetmoveError('usage', {
      message: `the plan ${path} can't be read: ${fileProblem(cause)}`,
      hint: remake,
      cause,
    })
  })
  const content = parsed(bytes.toString('utf8'))
  const read = savedPlan.safeParse(content)
  if (!read.success) {
    const [issue] = read.error.issues
    const why = isRecord(content) ? `${issue!.path.join('.')}: ${issue!.message}` : 'it holds no JSON object'
    throw new FleetmoveError('usage', {
      message: `${path} is no plan of this version of fleetmove: ${why}`,
      hint: remake,
    })
  }
  if (read.data.fleetFile !== (await fileHash(fleetFile))) {
    throw new FleetmoveError('conflict', {
      message: `${fleetFile} has changed since the plan in ${path} was made`,
      hint: remake,
    })
  }
  return read.data
}

const remake = 'make it anew: fleetmove plan -o FILE'

const isRecord = (content: unknown): boolean =>
  typeof content === 'object' && content !== null && !Array.isArray(content)

const unwritable = (path: string, cause: NodeJS.ErrnoException): FleetmoveError =>
  new FleetmoveError('usage', {
    message: `the plan can't be written to ${path || 'a file without a name'}: ${fileProblem(cause)}`,
    hint: 'name another file: fleetmove plan -o FILE',
    cause,
  })

/**
 * Before the hosts are asked: nobody wants to wait for a refusal.
 * @throws FleetmoveError 'usage' where a plan can't be written to `path`; nothing is written yet
 */
export async function refuseUnwritable(path: string): Promise<void> {
  try {
    const file = await open(path, constants.O_WRONLY).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'ENOENT' || path === '') throw cause
    })
    if (file) await file.close()
    else await access(dirname(path), constants.W_OK)
  } catch (cause) {
    throw unwritable(path, cause as NodeJS.ErrnoException)
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
