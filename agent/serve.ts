/** The daemon: puts the kernel back to the ledger, then answers on a socket that only root may enter. */
import { chmod, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { AgentService } from '../proto/gen/fleetmove.js'
import { ConnectionLog } from './connections/supervise.js'
import { clearTrace, Traces } from './explain/traces.js'
import { adopt } from './flows/adopt.js'
import { KnownAges } from './flows/ages.js'
import { readOpened } from './flows/arrivals.js'
import { EgressKeeper } from './flows/egress-keeper.js'
import { awaitRenumbered, forgetGhosts, forgetMarked } from './flows/forget.js'
import { forgetClosed } from './flows/forget-closed.js'
import { ListeningProcesses } from './flows/listening-processes.js'
import { GappedHost } from './gap/gapped-host.js'
import { Gaps } from './gap/gaps.js'
import { History } from './history/history.js'
import { sweepHolds } from './hold/hold.js'
import { ServiceHolds } from './hold/service-holds.js'
import { openConntrack } from './kernel/conntrack.js'
import { countEntries, mostEntries } from './kernel/conntrack-size.js'
import { linuxKernel } from './kernel/linux.js'
import { switchedForMs, switchSet } from './kernel/switch-set.js'
import { keepToolShell } from './kernel/tool.js'
import { Ledger } from './ledger.js'
import { HostLock } from './lock.js'
import { guarded } from './lock-service.js'
import { log } from './log.js'
import { exposition } from './metrics/exposition.js'
import { figures } from './metrics/figures.js'
import { MetricsPublisher } from './metrics/publish.js'
import { paths } from './plan/own.js'
import { shedSet } from './plan/unreachable.js'
import { Reconciler } from './reconcile.js'
import { watchKernel } from './reconcile-watch.js'
import { Room } from './room.js'
import { agentService } from './service.js'
import { version } from './version.js'
import { watchTunnels } from './watch-tunnels.js'
import { feedWatchdog } from './watchdog.js'

export const ledgerPath = join(paths.state, 'ledger.json')
const historyPath = join(paths.state, 'arrivals.jsonl')
const sampleMs = 10_000

/**
 * What a machine that is gone has left open ends by then, as its lock does (30 s): no packet tells sshd of that, and TCP
 * itself asks after two hours.
 */
const serverOptions = { 'grpc.keepalive_time_ms': 10_000, 'grpc.keepalive_timeout_ms': 20_000 }

/** Clients whose port was taken are few, and most of their connections short. */
const renumberedMs = 10_000

/** @returns the exit code, once the agent has left or was told to stop. */
export async function serve(): Promise<number> {
  const leaveWatchdog = feedWatchdog()
  await mkdir(paths.run, { recursive: true, mode: 0o700 })
  await mkdir(paths.state, { recursive: true, mode: 0o700 })
  keepToolShell(paths.run)
  let notice = (): void => {}
  // OpenVPN and redirects go without a word of the kernel's.
  const kernel = linuxKernel({ onProcessEnd: () => notice() })
  const conntrack = openConntrack()
  const connections = new ConnectionLog()
  const ages = new KnownAges()
  const listening = new ListeningProcesses()
  const egress = new EgressKeeper(log, listening)
  const metrics = new MetricsPublisher(async () =>
    host.spec ? exposition(await figures(conntrack, host.spec, ages)) : '',
  )
  const holds = new ServiceHolds()
  const traces = new Traces()
  const host: GappedHost = new GappedHost(kernel, await Ledger.open(ledgerPath), {
    log,
    tracks: async () => {
      egress.renew()
      log('connections adopted', { ...(await adopt(conntrack)) })
    },
    dispatches: async (services) => log('connections forgotten', { dead: await forgetGhosts(conntrack, services) }),
    settled: async (spec) => {
      const following = [connections.follow(spec), metrics.follow(spec), egress.follow(spec)]
      // What is to end has ended before the host is left; what begins is not waited for, a client might be.
      if (!spec?.log) await Promise.all(following)
    },
    leaving: async () => {
      await gaps.close()
      await forgetMarked(conntrack)
      const cut = await awaitRenumbered(conntrack, renumberedMs)
      if (cut > 0) log('connections lose their translation', { entries: cut })
    },
    left: async () => {
      log('connections forgotten', { entries: await forgetMarked(conntrack) })
      await sweepHolds(true)
    },
  })
  const gaps: Gaps = new Gaps({ host, holds, conntrack, clear: () => traces.stop(), log })
  await host.restore()
  // A hold of a dead agent that still lasts ends by itself: its service may be between two hosts.
  await sweepHolds(false)
  await clearTrace()
  gaps.resume()
  const reconciler = new Reconciler(host, log)
  notice = () => {
    reconciler.notice()
    egress.notice()
  }
  const watch = watchKernel(notice)

  const history = await History.open({ path: historyPath, read: readOpened, log })
  const sampling = setInterval(() => {
    if ((host.spec?.services.length ?? 0) === 0) return
    history.sample().catch((error: Error) => log('arrivals could not be read', { error: error.message }))
  }, sampleMs)

  const tunnels = watchTunnels(() => host.spec, log)
  const room = new Room({
    isOurs: () => (host.spec?.tunnels.length ?? 0) > 0,
    entries: countEntries,
    most: mostEntries,
    forgetClosed: (most) => forgetClosed(conntrack, most),
    shed: (on) => switchSet(shedSet, on ? ['tcp', 'udp'] : []),
    shedForMs: switchedForMs,
    log,
  })

  const lock = new HostLock(join(paths.run, 'lock.json'))
  let leave = (): void => {}
  const ended = new Promise<string>((resolve) => {
    process.once('SIGTERM', () => resolve('SIGTERM'))
    process.once('SIGINT', () => resolve('SIGINT'))
    leave = () => resolve('left')
  })
  const server = new Server(serverOptions)
  server.addService(
    AgentService,
    guarded(
      agentService({
        ...{ host, gaps, holds, listening, traces },
        upkeep: { reconciler, watch, lock, history, logs: [connections, metrics], tunnels, room, ages },
        leave: () => leave(),
      }),
      lock,
    ),
  )
  await rm(paths.socket, { force: true })
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${paths.socket}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  )
  await chmod(paths.socket, 0o600)
  log('serves', { version, socket: paths.socket })
  const reason = await ended
  log('ends', { reason })
  clearInterval(sampling)
  metrics.close()
  egress.close()
  await connections.close()
  reconciler.close()
  await Promise.all([tunnels.close(), room.close()])
  await watch.close()
  // The reply to Leave is on its way out; streams of witnesses end with the process.
  await new Promise<void>((resolve) => {
    server.tryShutdown(() => resolve())
    setTimeout(resolve, 500)
  })
  conntrack.close()
  kernel.close()
  leaveWatchdog()
  return 0
}
