import type { MendOptions } from '../../../agent/host.js'
import type { Step } from '../../../agent/kernel/step.js'
import { Reconciler } from '../../../agent/reconcile.js'

afterEach(() => jest.useRealTimers())

it('a rule that is taken out of a firewall again and again is a fight, though its place has another handle each time', async () => {
  jest.useFakeTimers()
  const place = { by: 'nft', family: 'inet', table: 'firewalld', chain: 'filter_INPUT' } as const
  let handle = 0
  let mends = 0
  const mend = async ({ leave, before }: MendOptions): Promise<Step[]> => {
    handle += 10
    const step: Step = { do: 'add-firewall-rule', rule: { place, allow: { kind: 'arriving' }, before: handle } }
    if (leave(step)) return []
    before(step)
    mends += 1
    return [step]
  }
  const reconciler = new Reconciler({ mend, silent: false }, () => {})
  for (let i = 0; i < 10; i++) {
    reconciler.notice()
    await jest.advanceTimersByTimeAsync(1000)
  }
  expect(mends).toBe(5)
  expect(reconciler.fighting).toEqual([
    expect.stringContaining('let chain filter_INPUT of the nftables table inet firewalld pass'),
  ])
  reconciler.close()
})
