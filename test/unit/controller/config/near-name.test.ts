import { nearName } from '../../../../controller/config/near-name.js'

describe('nearName', () => {
  it.each([
    ['tunel', ['tunnel', 'hosts'], 'tunnel'],
    ['odl', ['new', 'old'], 'old'],
    ['Old', ['new', 'old'], 'old'],
    ['wireguardl2', ['wireguard', 'wireguard-l2'], 'wireguard-l2'],
    ['drainThen', ['drain', 'drain_then'], 'drain_then'],
    ['form', ['from', 'to'], 'from'],
  ])('%s is meant to be one of %j: %s', (found, candidates, near) => {
    expect(nearName(found, candidates)).toBe(near)
  })

  it.each([
    ['database', ['web', 'mail']],
    ['new', ['old']],
    ['a', ['b']],
    ['ab', ['cd']],
    ['', ['to']],
    ['x', []],
  ])('%j is near none of %j', (found, candidates) => {
    expect(nearName(found, candidates)).toBeUndefined()
  })

  it('takes the nearest, and the first of equals', () => {
    expect(nearName('hostx', ['hosta', 'hostb'])).toBe('hosta')
    expect(nearName('hostx', ['hostab', 'hostx1'])).toBe('hostx1')
  })
})
