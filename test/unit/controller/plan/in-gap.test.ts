import type { Service } from '../../../../controller/config/fleet.js'
import { stateInGap } from '../../../../controller/plan/in-gap.js'
import type { Name } from '../../../../proto/model/names.js'

const [old, fresh] = ['old' as Name, 'new' as Name]
const web = { from: old, to: fresh } as Service
const confirmed = { stage: 'moving', active: old } as const
const part = (host: Name, role: string, phase: string, letGo: boolean) => ({ host, role, phase, letGo })

test.each([
  ['as confirmed where nothing has begun', [part(old, 'origin', 'open', false)], confirmed],
  [
    'paused while one host lets nobody go',
    [part(fresh, 'target', 'started', true), part(old, 'origin', 'paused', false)],
    { ...confirmed, paused: true },
  ],
  ['on the target, as it knows', [part(fresh, 'target', 'started', true)], { ...confirmed, active: fresh }],
  ['on the target, as the origin knows', [part(old, 'origin', 'gone', true)], { ...confirmed, active: fresh }],
  ['on the origin, as it knows', [part(old, 'origin', 'back', true)], confirmed],
  ['on the origin, as the target knows', [part(fresh, 'target', 'yielded', true)], confirmed],
  ['on the way back: on the host it left', [part(old, 'target', 'yielded', true)], { ...confirmed, active: fresh }],
])('%s', (_what, parts, state) => expect(stateInGap(web, confirmed, parts)).toEqual(state))
