/**
 * Our table in nf_tables, by `nft` (nft(8)): rulesets as files, what stands as JSON (libnftables-json(5)).
 */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { FleetmoveError } from '../../proto/model/error.js'
import { elementsText } from '../plan/elements.js'
import type { NftChain } from '../plan/firewall/read-nft.js'
import type { OverrideMap } from '../plan/overrides.js'
import { table } from '../plan/own.js'
import { dispatchMaps } from '../plan/ruleset.js'
import type { Netlink } from './netlink.js'
import { changeElements, countElements, listVerdicts, mostElements } from './nft-elements.js'
import type { ObservedTable } from './observed.js'
import type { Performers } from './step.js'
import { runTool, ToolFailed, ToolMissing } from './tool.js'

/** Rules that bear the ruleset's fingerprint: nft rewrites text when it lists it, but keeps comments. */
const fingerprintComment = /^fleetmove:([0-9a-f]+)$/

/** @returns what stands in a family, without the elements of sets; nothing where there is no nft */
export async function listFamily(family: string): Promise<string> {
  try {
    return await runTool('nft', ['-j', '-t', 'list', 'ruleset', family])
  } catch (error) {
    if (error instanceof ToolMissing) return '{"nftables":[]}'
    throw error
  }
}

/** All of nf_tables that every look needs, without the elements of sets. */
export interface Netfilter {
  /** The family inet, as nft prints it. */
  inet: string
  /** Chains of all families. */
  chains: NftChain[]
  tables: { family: string; name: string }[]
}

/**
 * One run of nft for the three: each by itself costs a process and a reading of the kernel's tables, of `list tables`
 * (1.0.6) even of every rule. @returns nothing where there is no nft
 */
export async function listNetfilter(): Promise<Netfilter> {
  try {
    // A document for each command, each on a line of its own.
    const text = await runTool('nft', ['-j', '-t', 'list ruleset inet; list chains; list tables'])
    const [inet = '', chains = '', tables = ''] = text.split('\n')
    const read = (line: string): Listing['nftables'] => (JSON.parse(line) as Listing).nftables
    return {
      inet,
      chains: read(chains).flatMap(({ chain }) => chain ?? []),
      tables: read(tables).flatMap((item) => item.table ?? []),
    }
  } catch (error) {
    if (error instanceof ToolMissing) return { inet: '{"nftables":[]}', chains: [], tables: [] }
    throw error
  }
}

/** The parts of the listing that are read; each object has one key, its kind. */
interface Listing {
  nftables: {
    table?: { family: string; name: string }
    chain?: NftChain
    counter?: { table: string; name: string; packets: number }
    rule?: { table: string; chain: string; comment?: string }
  }[]
}

/**
 * All tables of the family are listed (`listFamily`), and ours picked out: `list table` of nft 1.0.6 reads every element
 * of every map from the kernel even when told to be terse (10,000 of them: 34 ms against 4 ms).
 * @returns null where there is no table of ours
 */
export async function observeTable(netfilter: Netlink, inet: string): Promise<ObservedTable | null> {
  const listing = JSON.parse(inet) as Listing
  if (!listing.nftables.some((item) => item.table?.name === table)) return null
  const verdicts = async (map: OverrideMap): Promise<string[]> => (await listVerdicts(netfilter, map)).sort()
  const found: ObservedTable = {
    ...{ fingerprint: null, chains: [], counters: [], rules: {} },
    elements: Object.fromEntries(
      await Promise.all(dispatchMaps.map(async (map) => [map, await countElements(netfilter, map)] as const)),
    ),
    overrides: {
      override4: await verdicts('override4'),
      override6: await verdicts('override6'),
      'override-localhost': await verdicts('override-localhost'),
    },
  }
  for (const { chain, counter, rule } of listing.nftables) {
    if (chain?.table === table) {
      found.chains.push(chain.name)
      found.rules[chain.name] ??= 0
    }
    if (rule?.table === table) found.rules[rule.chain] = (found.rules[rule.chain] ?? 0) + 1
    if (counter?.table === table) found.counters.push(counter.name)
    const mark = rule?.table === table && rule.comment !== undefined ? fingerprintComment.exec(rule.comment) : null
    if (mark) found.fingerprint = mark[1]!
  }
  return found
}

/**
 * What nft said, with the line of our text that it speaks of: it names a place as `FILE:LINE:FROM-TO:`.
 */
export function explainNft(stderr: string, ruleset: string): string {
  const errors = stderr.split('\n').filter((line) => line.includes('Error'))
  const lines = ruleset.split('\n')
  const said = errors.map((line) => {
    const place = /^.*?:(\d+):\d+(?:-\d+)?:\s*(?:Error:\s*)?(.*)$/.exec(line)
    const quoted = place && lines[Number(place[1]) - 1]?.trim()
    return quoted ? `${place[2]} in line ${place[1]}: "${quoted}"` : line.trim()
  })
  // One bad line often makes every later one fail.
  return said.slice(0, 3).join('; ') || stderr.trim()
}

const isAbsent = /No such file or directory/

let loads = 0

/**
 * One transaction.
 * @param runDirectory for the file with the text, which exists only while nft reads it
 * @throws FleetmoveError 'kernel' with what nft said
 */
export async function loadText(runDirectory: string, text: string): Promise<void> {
  // Not a pipe: node's are socket pairs, which nft can't open as /dev/stdin.
  loads += 1
  const file = `${runDirectory}/ruleset-${process.pid}-${loads}.nft`
  await mkdir(runDirectory, { recursive: true, mode: 0o700 })
  try {
    await writeFile(file, text, { mode: 0o600 })
    await runTool('nft', ['-f', file])
  } catch (error) {
    if (error instanceof ToolFailed) {
      throw new FleetmoveError('kernel', { message: `nft says: ${explainNft(error.stderr, text)}`, cause: error })
    }
    throw error
  } finally {
    await rm(file, { force: true })
  }
}

/** Packets that a named counter of our table has counted; 0 where it isn't there. */
export async function readCounter(name: string): Promise<number> {
  try {
    const listing = JSON.parse(await runTool('nft', ['-j', 'list', 'counter', 'inet', table, name])) as Listing
    return listing.nftables.find((item) => item.counter)?.counter?.packets ?? 0
  } catch (error) {
    if (error instanceof ToolFailed && isAbsent.test(error.stderr)) return 0
    throw error
  }
}

export const nftPerformers = (
  runDirectory: string,
  netfilter: Netlink,
): Pick<Performers, 'load-ruleset' | 'change-elements' | 'delete-table'> => ({
  'load-ruleset': ({ text }) => loadText(runDirectory, text),

  'change-elements': (change) =>
    change.add.length + change.remove.length > mostElements
      ? loadText(runDirectory, elementsText(change))
      : changeElements(netfilter, change),

  'delete-table': async () => {
    try {
      await runTool('nft', ['delete', 'table', 'inet', table])
    } catch (error) {
      const absent = error instanceof ToolMissing || (error instanceof ToolFailed && isAbsent.test(error.stderr))
      if (!absent) throw error
    }
  },
})
