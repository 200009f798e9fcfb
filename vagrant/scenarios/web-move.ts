/** nginx from one host to another, as scenarios share it. */
import { answeredBy, complaints } from '../../test/load/client-load.js'
import { none, same, type World } from '../world.js'

export interface WebFleet {
  from?: string
  to?: string
  /** Lines of the service, in place of a unit's. */
  lifecycle?: string
  /** Further lines of the service, two spaces deep in it. */
  more?: string[]
  driver?: string
  /** A service's listeners. */
  listen?: string
  health?: string
}

const onSystemd = 'unit: nginx.service'
/** Where there is no systemd. */
const byHand = `run:
      start: "pgrep -x nginx >/dev/null || nginx"
      stop: "! pgrep -x nginx >/dev/null || nginx -s quit"`

const hostLines = (world: World, host: string): string => {
  const [v4, v6] = world.addresses(host)
  return `  ${host}: { ssh: root@${v4}, addresses: [${v4}, "${v6}"] }`
}

export const hasSystemd = (world: World): boolean => world.substrate.lacks('systemd') === undefined

/** The lines of one service. */
export function serviceText(world: World, name: string, fleet: WebFleet = {}): string {
  const { from = 'old1', to = 'new1', more = [], listen = '[tcp/80]' } = fleet
  const lifecycle = fleet.lifecycle ?? (hasSystemd(world) ? onSystemd : byHand)
  const health = fleet.health ?? '{ http: "http://127.0.0.1:80/healthz" }'
  const lines = [`from: ${from}`, `to: ${to}`, `listen: ${listen}`, lifecycle, `health: ${health}`, ...more]
  return `  ${name}:\n${lines.map((line) => `    ${line}\n`).join('')}`
}

/** A whole fleet.yaml. */
export function fleetText(world: World, services: string, hosts: readonly string[], driver = 'auto'): string {
  const vantage = `vantages:\n  client1: { ssh: root@${world.addresses('client1')[0]} }\n`
  const lines = hosts.map((host) => hostLines(world, host)).join('\n')
  return `fleet: practice\nhosts:\n${lines}\ntunnel: { port: 51820, driver: ${driver} }\nservices:\n${services}${vantage}`
}

export async function writeWebFleet(world: World, fleet: WebFleet = {}): Promise<void> {
  const hosts = [fleet.from ?? 'old1', fleet.to ?? 'new1']
  await world.writeFleet(fleetText(world, serviceText(world, 'web', fleet), hosts, fleet.driver))
}

export async function startWeb(world: World, host = 'old1'): Promise<void> {
  await world.shell(host, hasSystemd(world) ? 'systemctl start nginx' : 'nginx')
}

export const isWebRunning = async (world: World, host: string): Promise<boolean> =>
  (await world.shell(host, 'pgrep -x nginx >/dev/null && echo yes || echo no')).trim() === 'yes'

/** As an operator would, who waits while the gate is closed. */
export async function finalize(world: World): Promise<void> {
  await world.until('the gate of finalize', async () => {
    const { code, events, stderr } = await world.start('finalize --quiet 1s').ended
    if (code !== 0 && code !== 6) throw new Error(`finalize: exit code ${code}\n${stderr}${JSON.stringify(events)}`)
    return code === 0
  })
}

/** Every probe of `verify` has kept its source address. */
export async function verifyAll(world: World): Promise<void> {
  const { events } = await world.fleetmove('verify')
  const { proofs } = events.at(-1) as unknown as { proofs: { verdict: { kind: string } }[] }
  if (proofs.length === 0) throw new Error('verify has proved nothing')
  none(
    'verify',
    proofs.filter((proof) => proof.verdict.kind !== 'preserved').map((proof) => JSON.stringify(proof)),
  )
}

/**
 * up, verify, advance under load by old and new addresses, finalize; nothing fails, and nothing is left.
 * @param whenUp looks at what `up` has made
 */
export async function wholeMove(world: World, whenUp = async (): Promise<void> => {}): Promise<void> {
  const perSecond = 20
  await startWeb(world)
  await world.remember()
  const early = await world.load('client1', { targets: world.addresses('old1'), perSecond })
  await world.fleetmove('up')
  await whenUp()
  await verifyAll(world)
  const long = { perSecond, keepAlive: 2, downloads: 1 }
  const renewed = await world.load('client1', { targets: world.addresses('new1'), ...long })
  const old = await world.load('client1', { targets: world.addresses('old1'), ...long })
  await world.fleetmove('advance --all', 0, ({ type, what }) => {
    if (type !== 'begin' || what !== 'drain on old1') return
    // They have lived across the switch.
    old.endLong()
    renewed.endLong()
  })
  const reports = [...(await early.stop()), ...(await old.stop())]
  none('clients of the old addresses', complaints(reports))
  same('who answered', Object.keys(answeredBy(reports)).sort(), ['new1', 'old1'])
  await finalize(world)
  none('clients of the new addresses', complaints(await renewed.stop()))
  none('left behind', await world.leftovers())
}
