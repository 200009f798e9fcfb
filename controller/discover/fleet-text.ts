/** A draft → the text of fleet.yaml, with what is to be said as comments. */
import { isIPv6 } from 'node:net'
import { Document, isMap, isScalar, type Pair, Scalar, visit, type YAMLMap } from 'yaml'
import type { DraftFleet, DraftHost, DraftListener, DraftService, Remark } from '../plan/draft/draft.js'

const head = ` Written by fleetmove init; nothing was changed on the hosts.
 Look at what is marked CHECK, then: fleetmove plan`

/** A file name's worth of columns: longer remarks go on in the next line. */
const width = 110

export function fleetText(draft: DraftFleet): string {
  const content = {
    fleet: draft.name,
    hosts: Object.fromEntries(draft.hosts.map((host) => [host.name, hostEntry(host)])),
    tunnel: { port: draft.tunnelPort, driver: 'auto' },
    services: Object.fromEntries(draft.services.map((service) => [service.name, serviceEntry(service)])),
  }
  // Two services may share the way in which they are started: each is written out.
  const document = new Document(content, { aliasDuplicateObjects: false })
  document.commentBefore = head
  const root = document.contents as unknown as YAMLMap
  const hosts = root.get('hosts') as YAMLMap
  for (const host of draft.hosts) {
    comment(hosts, host.name, host.remarks)
    flow(hosts.get(host.name) as YAMLMap, 'addresses')
  }
  const services = root.get('services') as YAMLMap
  for (const service of draft.services) {
    comment(services, service.name, service.remarks)
    const entry = services.get(service.name) as YAMLMap
    for (const key of ['listen', 'addresses', 'data']) flow(entry, key)
  }
  for (const key of ['hosts', 'tunnel', 'services']) keyOf(root, key)!.spaceBefore = true
  services.items.forEach((pair, i) => {
    if (i > 0) (pair.key as Scalar).spaceBefore = true
  })
  flow(root, 'tunnel')
  const left = leftText(draft)
  if (left !== '') document.comment = left
  visit(document, {
    // In a flow mapping YAML takes an address that ends in a colon for a key.
    Scalar: (_key, scalar) => {
      if (typeof scalar.value === 'string' && isIPv6(scalar.value)) scalar.type = Scalar.QUOTE_DOUBLE
    },
  })
  return document.toString({ lineWidth: 0, flowCollectionPadding: false })
}

function hostEntry({ ssh, become, addresses }: DraftHost): Record<string, unknown> {
  return {
    ssh,
    ...(become === 'none' ? {} : { become }),
    addresses: addresses.map(({ public: open, local }) => (local === undefined ? open : { public: open, local })),
  }
}

function serviceEntry(service: DraftService): Record<string, unknown> {
  const { from, to, addresses, strategy, unit, container, run, data, localhost } = service
  return {
    from,
    to,
    listen: service.listen.map(listenEntry),
    ...(addresses === undefined
      ? {}
      : { addresses: Object.fromEntries(addresses.map((pair) => [pair.old, pair.new])) }),
    strategy,
    ...(unit === undefined ? {} : { unit }),
    ...(container === undefined ? {} : { container }),
    ...(run === undefined ? {} : { run }),
    ...(data.length === 0 ? {} : { data }),
    ...(localhost ? { localhost } : {}),
  }
}

function listenEntry({ protocol, from, to, helper }: DraftListener): unknown {
  const text = `${protocol}/${from === to ? from : `${from}-${to}`}`
  return helper === undefined ? text : { port: text, helper }
}

const keyOf = (map: YAMLMap, key: string): Scalar | undefined => {
  const pair = map.items.find((item: Pair) => isScalar(item.key) && item.key.value === key)
  return pair?.key as Scalar | undefined
}

/** Collections on one line, as people write them, while they are short. */
function flow(map: YAMLMap, key: string): void {
  const value = map.get(key, true) as { flow?: boolean } | undefined
  if (value === undefined || JSON.stringify(value).length > width) return
  value.flow = true
}

/** Remarks ahead of the entry, or ahead of the key inside that they are about. */
function comment(map: YAMLMap, name: string, remarks: readonly Remark[]): void {
  const entry = map.get(name)
  const target = (remark: Remark): Scalar | undefined =>
    (remark.key !== undefined && isMap(entry) ? keyOf(entry, remark.key) : undefined) ?? keyOf(map, name)
  for (const remark of remarks) {
    const scalar = target(remark)
    if (scalar === undefined) continue
    const text = wrap(`${remark.doubt ? 'CHECK: ' : ''}${remark.text}`)
    scalar.commentBefore = scalar.commentBefore ? `${scalar.commentBefore}\n${text}` : text
  }
}

/** Lines that begin with the space after the #. What hosts say may hold anything: it stays on its line. */
function wrap(text: string): string {
  const lines = ['']
  for (const word of text.replace(/\p{Cc}+/gu, ' ').split(' ')) {
    if (lines.at(-1)!.length + word.length > width && lines.at(-1)!.trim() !== '') lines.push('  ')
    lines.push(`${lines.pop()} ${word}`)
  }
  return lines.join('\n')
}

function leftText({ left }: DraftFleet): string {
  const hosts = [...new Set(left.map(({ host }) => host))]
  return hosts
    .map((host) => {
      const lines = left
        .filter((each) => each.host === host)
        .map(({ what, why, doubt }) => wrap(`  ${doubt ? 'CHECK: ' : ''}${what}: ${why}`))
      return [` Left out, listening on ${host}:`, ...lines].join('\n')
    })
    .join('\n')
}
