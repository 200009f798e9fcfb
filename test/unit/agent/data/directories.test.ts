import { whyNotCopied } from '../../../../agent/data/directories.js'

const why = (...paths: (string | [string, string])[]) =>
  whyNotCopied(
    paths.map((each) => (typeof each === 'string' ? { path: each, real: each } : { path: each[0], real: each[1] })),
  )

describe('directories that are never copied', () => {
  it.each(['/', '/etc', '/usr', '/var', '/var/lib', '/usr/bin', '/usr/lib/x', '/proc/1', '/sys', '/dev/shm', '/run/x'])(
    '%s',
    (path) => expect(why(path)).toMatch(/belongs to the system/),
  )
  it.each([
    '/var/lib/fleetmove',
    '/var/lib/fleetmove/keys',
    '/usr/local/lib/fleetmove',
    '/usr/local/lib',
    '/usr/local',
  ])('%s', (path) => expect(why(path)).toMatch(/fleetmove's own/))
  it.each([
    '/etc/postfix',
    '/var/spool/postfix',
    '/var/lib/mysql',
    '/srv',
    '/home',
    '/etcetera',
    '/var/lib/fleetmove-2',
  ])('but %s is', (path) => expect(why(path)).toBeNull())

  it('names what a link leads to', () =>
    expect(why(['/srv/x', '/etc'])).toBe('/srv/x (/etc) belongs to the system itself'))

  it('one inside another, or twice, by whatever name', () => {
    expect(why('/srv/a', '/srv/a/b')).toBe('/srv/a/b lies in /srv/a')
    expect(why('/srv/a', ['/srv/b', '/srv/a'])).toBe('/srv/a lies in /srv/b')
    expect(why('/srv/a', '/srv/ab')).toBeNull()
  })
})
