import { elementsText } from '../../../../agent/plan/elements.js'
import { noOverrides, type Overrides, overridesChange, overridesText } from '../../../../agent/plan/overrides.js'
import { ruleset } from '../../../../agent/plan/ruleset.js'
import type { ServiceAction, ServiceRoute, ServiceSpec } from '../../../../proto/model/host-spec.js'
import { forward, new4, new6, old4, old6, serve, service, spec, tunnel } from './specs.js'

const to4 = forward(['tcp', [80, 81]], { local: new4, peer: old4 })
const to6 = forward(['tcp', 80], { local: new6, peer: old6 })
const here: ServiceAction = { kind: 'serve', port: 0 }

/** In a gap, as the new host has it. */
function inGap(now: (route: ServiceRoute) => ServiceRoute['action'], localhost = false): ServiceSpec {
  const routes = [to4, to6].map((route) => ({
    ...route,
    action: now(route),
    ready: { dispatched: route.action as ServiceAction, standby: here },
  }))
  return service('web', routes, localhost ? { localhost } : {})
}
const made = (of: ServiceSpec) =>
  ruleset({
    ...{ spec: spec([tunnel(1)], [of], 1), devices: new Map([[1, 'fm1']]), uplinks: ['eth0'] },
    ...{ opened4: [], opened6: false },
  })

test('through all of a gap the rules are the same, and only the elements differ', () => {
  const [before, paused, moved] = [
    made(inGap(({ action }) => action)),
    made(inGap(() => ({ kind: 'pause' }))),
    made(inGap(() => here)),
  ]
  expect(new Set([before, paused, moved].map(({ fingerprint }) => fingerprint)).size).toBe(1)
  expect(before.overrides).toEqual(noOverrides)
  expect(paused.overrides).toEqual({
    override4: [`${new4} . tcp . 80 : drop`, `${new4} . tcp . 81 : drop`],
    override6: [`${new6} . tcp . 80 : drop`],
    'override-localhost': [],
  })
  expect(moved.overrides).toEqual({
    override4: [`${new4} . tcp . 80 : goto here-web-1`, `${new4} . tcp . 81 : goto here-web-1`],
    override6: [`${new6} . tcp . 80 : goto here-web-1`],
    'override-localhost': [],
  })
  expect(made(service('web', [serve(['tcp', [80, 81]], new4), serve(['tcp', 80], new6)])).overrides).toEqual(
    noOverrides,
  )
})

test('programs that say 127.0.0.1 wait with the others, and stay here once the service is here', () => {
  const local = (now: (route: ServiceRoute) => ServiceRoute['action']): readonly string[] =>
    made(inGap(now, true)).overrides['override-localhost']
  expect(local(({ action }) => action)).toEqual([])
  expect(local(() => ({ kind: 'pause' }))).toEqual(['tcp . 80 : drop', 'tcp . 81 : drop'])
  expect(local(() => here)).toEqual(['tcp . 80 : accept', 'tcp . 81 : accept'])
})

test('a service that is stopped on both hosts is paused without anything beneath', () => {
  const stopped = service(
    'web',
    [to4, to6].map((route) => ({ ...route, action: { kind: 'pause' } })),
  )
  const { overrides, elements } = made(stopped)
  expect([overrides.override4.length, overrides.override6.length]).toEqual([2, 1])
  // The probes'.
  expect(elements).toEqual({ open4: 2, open6: 0, localhost: 0 })
})

test('from one state to the other only what differs', () => {
  const of = (override4: string[]): Overrides => ({ ...noOverrides, override4 })
  const before = of(['192.0.2.1 . tcp . 25 : drop', '192.0.2.1 . tcp . 80 : drop', '192.0.2.1 . udp . 53 : goto a'])
  const after = of(['192.0.2.1 . tcp . 25 : drop', '192.0.2.1 . tcp . 80 : goto a'])
  expect(overridesChange(before, before)).toBeNull()
  expect(elementsText(overridesChange(before, after)!)).toBe(
    `delete element inet fleetmove override4 { 192.0.2.1 . tcp . 80, 192.0.2.1 . udp . 53 }
add element inet fleetmove override4 { 192.0.2.1 . tcp . 80 : goto a }
`,
  )
})

test('a whole table replaces whatever was overridden', () => {
  expect(overridesText({ ...noOverrides, override6: ['2001:db8::1 . tcp . 25 : drop'] })).toBe(
    `flush map inet fleetmove override4
flush map inet fleetmove override6
flush map inet fleetmove override-localhost
add element inet fleetmove override6 { 2001:db8::1 . tcp . 25 : drop }
`,
  )
})
