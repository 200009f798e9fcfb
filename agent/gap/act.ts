/** The call Gap: decode, act, encode. */
import * as codec from '../../proto/codec.js'
import type * as wire from '../../proto/gen/fleetmove.js'
import { FleetmoveError } from '../../proto/model/error.js'
import { forwardOf, type HostSpec, type ServiceSpec } from '../../proto/model/host-spec.js'
import { refuseRestartedAlways } from '../boot.js'
import { checkOf, meansOf } from '../means.js'
import { requests } from '../requests.js'
import type { GapPlan } from './gap-state.js'
import type { Gaps } from './gaps.js'

const none: wire.GapReply = {
  ...{ phase: '', ok: true, ended: '', output: '', port: 0, means: '' },
  ...{ syns: 0, datagrams: 0, dropped: 0 },
}

/** @param spec of this host, to which the plan must fit */
export async function actInGap(gaps: Gaps, spec: HostSpec | null, request: wire.GapRequest): Promise<wire.GapReply> {
  const { service, id, action, plan, forMs, flag, outcome } = codec.decode('gap', requests.gap, request)
  switch (action) {
    case 'open': {
      if (!plan) throw new FleetmoveError('invalid', { message: 'gap: open needs a plan' })
      const fits = (value: unknown): ServiceSpec => fitting(spec, service, codec.decodeServiceSpec(value))
      const known: GapPlan = {
        ...plan,
        ...{ stay: fits(plan.stay), next: fits(plan.next) },
        lifecycle: meansOf(plan.lifecycle),
        checks: plan.checks.map((check) => checkOf(check, spec)),
        secret: Buffer.from(plan.secret).toString('base64'),
      }
      if (!spec?.tunnels.some(({ index }) => index === plan.tunnel)) throw unfit(`no tunnel ${plan.tunnel}`)
      await refuseRestartedAlways(service, known.lifecycle, known)
      return { ...none, phase: 'open', ...(await gaps.open(service, id, known, forMs)) }
    }
    case 'pause':
      return { ...none, phase: (await gaps.pause(id, forMs)).phase }
    case 'extend':
      return { ...none, phase: gaps.extend(id, forMs).phase }
    case 'stop':
    case 'start': {
      const { gap, end } = await gaps.run(id, action)
      return { ...none, phase: gap.phase, ...end }
    }
    case 'yield':
      return { ...none, phase: (await gaps.yield(id, flag)).phase }
    case 'take': {
      const { gap, end } = await gaps.take(id)
      return { ...none, phase: gap.phase, ...end }
    }
    case 'let-go': {
      const { gap, counts } = await gaps.letGo(id, flag)
      return { ...none, phase: gap.phase, ...counts }
    }
    case 'close':
      if (outcome === '') throw new FleetmoveError('invalid', { message: 'gap: close needs an outcome' })
      await gaps.finish(id, outcome)
      return none
  }
}

/** What comes to be confirmed by this, without an apply that would check it. */
function fitting(spec: HostSpec | null, name: string, service: ServiceSpec): ServiceSpec {
  const known = spec?.services.find((each) => each.name === name)
  if (!spec || !known || service.name !== name) throw unfit(`this host has no service ${name}`)
  const same = (a: ServiceSpec): string =>
    a.routes.map((r) => `${r.protocol} ${r.address} ${r.ports.from}-${r.ports.to}`).join()
  if (same(service) !== same(known)) throw unfit(`${name} has other listeners here`)
  if (service.routes.some(({ action }) => action.kind === 'pause')) throw unfit(`${name} would answer nowhere`)
  const tunnels = [...service.routes.map(({ action }) => forwardOf(action)?.tunnel), service.egress?.tunnel]
  const missing = tunnels.find((index) => index !== undefined && !spec.tunnels.some((each) => each.index === index))
  if (missing !== undefined) throw unfit(`no tunnel ${missing}`)
  return service
}

const unfit = (what: string): FleetmoveError => new FleetmoveError('invalid', { message: `gap: ${what}` })
