import { elementsText } from '../../../../agent/plan/elements.js'
import { pausedChange, pausedKeys, pausedText } from '../../../../agent/plan/paused.js'
import type { ServiceSpec } from '../../../../proto/model/host-spec.js'
import { new4, new6, serve, service } from './specs.js'

const pausing = (spec: ServiceSpec): ServiceSpec => ({
  ...spec,
  routes: spec.routes.map((route) => ({ ...route, action: { kind: 'pause' } })),
})
const web = service('web', [serve(['tcp', [80, 81]], new4), serve(['udp', 443], new6)])
const mail = service('mail', [serve(['tcp', 25], new4), serve(['tcp', 25], new6)], { localhost: true })
const none = { paused4: [], paused6: [], 'paused-localhost': [] }

test('the listeners of paused services, each port, and 127.0.0.1 where it goes along', () => {
  expect(pausedKeys([web, mail])).toEqual(none)
  expect(pausedKeys([pausing(web), pausing(mail)])).toEqual({
    paused4: [`${new4} . tcp . 25`, `${new4} . tcp . 80`, `${new4} . tcp . 81`],
    paused6: [`${new6} . tcp . 25`, `${new6} . udp . 443`],
    'paused-localhost': ['tcp . 25'],
  })
})

test('from one state to the other only what differs', () => {
  const [before, after] = [pausedKeys([pausing(web)]), pausedKeys([pausing(mail)])]
  expect(pausedChange(before, before)).toBeNull()
  const change = pausedChange(before, after)!
  expect(elementsText(change)).toBe(
    `add element inet fleetmove paused4 { ${new4} . tcp . 25 }
add element inet fleetmove paused6 { ${new6} . tcp . 25 }
add element inet fleetmove paused-localhost { tcp . 25 }
delete element inet fleetmove paused4 { ${new4} . tcp . 80, ${new4} . tcp . 81 }
delete element inet fleetmove paused6 { ${new6} . udp . 443 }
`,
  )
})

test('a whole table replaces whatever was paused', () => {
  expect(pausedText(none)).toBe(
    'flush set inet fleetmove paused4\nflush set inet fleetmove paused6\nflush set inet fleetmove paused-localhost\n',
  )
  expect(pausedText(pausedKeys([pausing(mail)])).split('\n')).toContain(
    `add element inet fleetmove paused4 { ${new4} . tcp . 25 }`,
  )
})
