/** `fleetmove init`: two hosts, or many pairs of them → the text of a fleet.yaml. Changes nothing anywhere. */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'
import { type ReachedHost, reachHost } from '../bootstrap/bootstrap-host.js'
import { parseFleet } from '../config/load-fleet.js'
import { inParallel } from '../in-parallel.js'
import type { DraftEnd, DraftFleet, DraftHost, DraftPair } from '../plan/draft/draft.js'
import { draftFleet, freeName, tidy } from '../plan/draft/draft-fleet.js'
import type { Presence, Survey } from '../plan/draft/survey.js'
import { type Progress, timed } from '../progress.js'
import type { SiteOptions } from '../site.js'
import { resolveTarget } from '../ssh/resolve-target.js'
import { parseSshTarget } from '../ssh/ssh-target.js'
import { draftHost, hostIps } from './draft-host.js'
import { fleetText } from './fleet-text.js'
import { parsePresence, parseSurvey } from './parse-survey.js'
import { presenceScript, surveyScript } from './survey-script.js'

/** SSH destinations. */
export interface InitPair {
  old: string
  new: string
}

export interface InitOptions {
  pairs: readonly InitPair[]
  /** How those become root who don't log in as root. */
  become: 'none' | 'sudo'
  progress: Progress
  site: Pick<SiteOptions, 'askSecret' | 'log'>
}

export interface InitResult {
  text: string
  draft: DraftFleet
  /** The file doesn't load as it is: what is wrong with it, for a human to correct. */
  refused: FleetmoveError | undefined
}

const surveyTimeoutMs = 60_000
/** As many connections as one jump host lets in at once (MaxStartups, sshd_config(5)), and some more. */
const hostsAtOnce = 6

/** Asks all hosts, and drafts. Throws FleetmoveError: as `reachHost`, and `preflight` where nothing can be proposed. */
export async function init(options: InitOptions): Promise<InitResult> {
  const names = nameHosts(options.pairs)
  const hosts = await inParallel(names, ([ssh, name]) => askHost(name, ssh, options), hostsAtOnce)
  try {
    const bySsh = new Map(hosts.map((host) => [host.draft.ssh, host]))
    const pairs = await inParallel(options.pairs, (pair) => compare(bySsh.get(pair.old)!, bySsh.get(pair.new)!))
    const drafts = hosts.map(({ draft }) => draft)
    const first = options.pairs[0]!
    const draft = draftFleet(`${names.get(first.old)}-to-${names.get(first.new)}`, drafts, pairs)
    if (draft.services.length === 0) throw nothingToMove(draft)
    const text = fleetText(draft)
    return { text, draft, refused: refusal(text) }
  } finally {
    await Promise.all(hosts.map(({ reached }) => reached.root.connection.close()))
  }
}

/** What a pure draft can't foresee, e.g. one private address on both hosts. */
function refusal(text: string): FleetmoveError | undefined {
  try {
    parseFleet(text, 'fleet.yaml')
    return undefined
  } catch (error) {
    if (error instanceof FleetmoveError) return error
    throw error
  }
}

function nothingToMove({ left }: DraftFleet): FleetmoveError {
  const seen = left.map(({ host, what, why }) => `${host}: ${what}: ${why}`)
  return new FleetmoveError('preflight', {
    message: `nothing was found that could be moved${seen.length > 0 ? `; what listens there:\n  ${seen.join('\n  ')}` : ': nothing listens there'}`,
    hint: 'start the services on the old host, or write fleet.yaml by hand',
  })
}

/** SSH destination → name in fleet.yaml: the first word of a host's name; for addresses old, new, old2, … */
function nameHosts(pairs: readonly InitPair[]): Map<string, string> {
  const names = new Map<string, string>()
  const add = (ssh: string, role: string): void => {
    if (names.has(ssh)) return
    const { host } = parseSshTarget(ssh)
    const wanted = isIP(host.replace(/%.*/, '')) ? role : tidy(host.split('.')[0] ?? role)
    names.set(ssh, freeName(wanted, [...names.values()]))
  }
  for (const pair of pairs) {
    if (pair.old === pair.new)
      throw new FleetmoveError('usage', {
        message: `${pair.old} is given as the old host and as the new one`,
        hint: 'name two hosts: fleetmove init OLD NEW',
      })
    add(pair.old, 'old')
    add(pair.new, 'new')
  }
  return names
}

interface Asked {
  draft: DraftHost
  survey: Survey
  reached: ReachedHost
}

async function askHost(name: string, ssh: string, { become, progress, site }: InitOptions): Promise<Asked> {
  return timed(progress, name, `asked what runs on ${ssh}`, async () => {
    const log = (message: string): void => site.log(name, message)
    const target = await resolveTarget(ssh, { log })
    const means = target.user === 'root' ? 'none' : become
    const reached = await reachHost({ host: name, ssh, become: means }, { askSecret: site.askSecret, log })
    try {
      const { root, facts } = reached
      if (facts.uid !== 0)
        throw root.connection.error(
          'preflight',
          `${target.user} is not root there: whose sockets are whose is hidden`,
          'Give --become sudo, or log in as root.',
        )
      const survey = await surveyOf(reached)
      const reachedAt = target.proxyJump.length > 0 ? [] : await addressesAt(target.hostname)
      return { draft: draftHost({ name, ssh, become: means, facts, survey, reachedAt }), survey, reached }
    } catch (error) {
      await reached.root.connection.close()
      throw error
    }
  })
}

async function addressesAt(hostname: string): Promise<Ip[]> {
  const found = await lookup(hostname, { all: true }).catch(() => [])
  return found.flatMap(({ address }) => hostIps(address))
}

async function surveyOf({ root }: ReachedHost): Promise<Survey> {
  const { code, stdout, stderr } = await root.exec(['sh', '-s'], { input: surveyScript, timeoutMs: surveyTimeoutMs })
  const survey = parseSurvey(stdout)
  if (survey !== undefined) return survey
  throw root.connection.error(
    'preflight',
    `the host does not run a plain shell script: ${(stderr || stdout).trim().slice(0, 200) || `exit code ${code}`}`,
    'fleetmove needs a POSIX sh on the host.',
  )
}

/** Asks the new host for what the old one has. */
async function compare(old: Asked, after: Asked): Promise<DraftPair> {
  const ends = [old, after].map(
    ({ draft, survey, reached }): DraftEnd => ({
      name: draft.name,
      addresses: draft.addresses,
      survey,
      systemd: reached.facts.systemd,
    }),
  )
  const none: Presence = { programs: new Set(), units: new Set(), containers: new Set(), full: new Set() }
  const [before, then] = ends as [DraftEnd, DraftEnd]
  // A first draft tells what to ask for; what it says of the new host is thrown away.
  const first = draftFleet('first', [], [{ old: before, new: then, presence: none }])
  const wanted = new Set([
    ...[...old.survey.processes.values()].map(({ program }) => `exe:${program}`),
    ...first.services.flatMap(({ unit }) => (unit === undefined ? [] : [`unit:${unit}`])),
    ...first.services.flatMap(({ data }) => data.map((path) => `dir:${path}`)),
    ...old.survey.containers.map((container) => `container:${container.name}`),
  ])
  const { stdout } = await after.reached.root.exec(['sh', '-s', '--', ...wanted], { input: presenceScript })
  return { old: before, new: then, presence: parsePresence(stdout) }
}
