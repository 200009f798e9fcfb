import fc from 'fast-check'
import { locationOf } from '../../../../agent/redirect/location.js'

const to = 'https://shop.example.test'

test.each([
  ['/', '/'],
  ['/a/b?c=d&e', '/a/b?c=d&e'],
  ['?q', '/?q'],
  ['*', '/'],
  ['//other.example/', '//other.example/'],
  ['http://old.example/y?z', '/y?z'],
  ['HTTP://old.example', '/'],
  ['http://old.example?z', '/?z'],
  ['.evil.example/', '/'],
  ['@evil.example/', '/'],
  [':8443/', '/'],
  ['/caf\u00e9 x\r\ny', '/caf%E9%20x%0D%0Ay'],
])('%s', (target, expected) => {
  expect(locationOf(to, target)).toBe(to + expected)
})

test('whatever a client writes, it is led to that very host, and in one line', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.constantFrom('', '/', '@', 'http://', '//', ':'), (text, first) => {
      const location = locationOf(`${to}/new`, Buffer.from(first + text).toString('latin1'))
      expect(location).toMatch(/^https:\/\/shop\.example\.test\/new\/[!-~]*$/)
      expect(new URL(location).host).toBe('shop.example.test')
    }),
  )
})
