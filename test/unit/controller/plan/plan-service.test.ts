import type { Service } from '../../../../controller/config/fleet.js'
import { planService } from '../../../../controller/plan/plan-service.js'
import type { Stage } from '../../../../proto/model/host-spec.js'
import { name } from '../../agent/plan/specs.js'
import { exampleService, factsOf } from './planned.js'

const later = (
  change: Partial<Service>,
  queue: Parameters<typeof factsOf>[0] = { nftQueue: 'yes', xtablesQueue: 'no' },
) =>
  planService(exampleService(change), { stage: 'planned', active: name('old') }, () => factsOf(queue)).later.join('\n')

test('a service that never runs twice says how long clients wait, and where they can only try again', () => {
  const mail = { strategy: 'recreate', holdMs: 15_000, drainMs: 5_000 } as const
  expect(later(mail)).toMatch(/has 5 s to end, and is reset then\n.*15 s at most: their packets are queued/)
  expect(later(mail, { nftQueue: 'no', xtablesQueue: 'yes' })).toMatch(/are queued/)
  expect(later(mail, { nftQueue: 'no', xtablesQueue: 'no' })).toMatch(
    /kernels of old and new can queue no packets.* whole seconds/,
  )
  expect(later(mail, { nftQueue: 'unknown', xtablesQueue: 'unknown' })).toMatch(/is not known/)
})

test('a rolling one makes nobody wait, whatever the kernel can do', () => {
  expect(later({}, { nftQueue: 'no', xtablesQueue: 'no' })).toMatch(/clients notice nothing/)
  expect(later({ lifecycle: undefined })).toMatch(/and may stay on; it must run on both hosts/)
  expect(later({ drainThen: 'reset' })).toMatch(/60 s to end and are reset then, before it stops on old/)
})

test.each<[Stage, 'old' | 'new', string, number]>([
  ['planned', 'old', 'new begins to forward to old, which goes on answering', 2],
  ['forwarding', 'old', 'stays as it is: old answers, new forwards to it', 2],
  ['moved', 'new', 'stays as it is: new answers, old forwards to it', 0],
])('%s', (stage, active, now, sentences) => {
  const planned = planService(exampleService(), { stage, active: name(active) }, () =>
    factsOf({ nftQueue: 'yes', xtablesQueue: 'yes' }),
  )
  expect(planned.now).toBe(now)
  expect(planned.later).toHaveLength(sentences)
})
