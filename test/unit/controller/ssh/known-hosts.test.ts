import { createHash, createHmac } from 'node:crypto'
import {
  certAuthorityFor,
  fingerprint,
  hostKeyType,
  judgeHostKey,
  knownKeyTypes,
  matchesHosts,
  parseKnownHosts,
} from '../../../../controller/ssh/known-hosts.js'

/** A public key blob as RFC 4253, 6.6 has it: the type as a string, then the key. */
const keyOf = (type: string, seed: string): Buffer => {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(type.length)
  return Buffer.concat([length, Buffer.from(type), createHash('sha256').update(seed).digest()])
}
const line = (hosts: string, key: Buffer, marker = ''): string =>
  `${marker}${marker && ' '}${hosts} ${hostKeyType(key)} ${key.toString('base64')}`
const hashed = (name: string): string => {
  const salt = Buffer.from('0123456789abcdefghij')
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`
}
const parse = (...lines: string[]) => parseKnownHosts('kh', lines.join('\n'))

const good = keyOf('ssh-ed25519', 'good')
const other = keyOf('ssh-ed25519', 'other')
const rsa = keyOf('ssh-rsa', 'rsa')

describe('matchesHosts', () => {
  it.each([
    ['a.example', 'a.example', true],
    ['A.Example', 'a.example', true],
    ['a.example,192.0.2.1', '192.0.2.1', true],
    ['*.example', 'a.example', true],
    ['*.example', 'example', false],
    ['*.example,!bad.example', 'bad.example', false],
    ['!bad.example,*.example', 'good.example', true],
    ['!bad.example', 'good.example', false],
    ['192.0.2.?', '192.0.2.1', true],
    ['192.0.2.?', '192.0.2.10', false],
    ['[a.example]:2222', '[a.example]:2222', true],
    ['[a.example]:2222', 'a.example', false],
    ['a.example', '[a.example]:2222', false],
    ['[*]:2222', '[a.example]:2222', true],
    ['[2001:db8::1]:2222', '[2001:db8::1]:2222', true],
    ['a[b]', 'ab', false],
    ['*', 'anything', true],
  ])('%s and %s: %s', (hosts, name, expected) => {
    expect(matchesHosts(hosts, name)).toBe(expected)
  })

  it('compares hashed names', () => {
    expect(matchesHosts(hashed('a.example'), 'a.example')).toBe(true)
    expect(matchesHosts(hashed('a.example'), 'A.example')).toBe(true)
    expect(matchesHosts(hashed('a.example'), 'b.example')).toBe(false)
    expect(matchesHosts(hashed('[a.example]:22022'), '[a.example]:22022')).toBe(true)
    expect(matchesHosts('|2|AAAA|AAAA', 'a.example')).toBe(false)
  })

  it('takes a hashed line that ssh-keygen -H wrote', () => {
    expect(matchesHosts('|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=', '192.168.1.61')).toBe(true)
  })

  it('takes no exponential time over many stars', () => {
    expect(matchesHosts(`${'*a'.repeat(200)}b`, 'a'.repeat(5_000))).toBe(false)
  })
})

describe('judgeHostKey', () => {
  it('knows a key in any of several files', () => {
    const entries = [...parse(line('a', other)), ...parseKnownHosts('global', line('a', good))]
    expect(judgeHostKey(entries, ['a'], good)).toEqual({ kind: 'known' })
  })

  it('does not know a host without a line', () => {
    expect(judgeHostKey(parse(line('b', good)), ['a'], good)).toEqual({ kind: 'unknown' })
    expect(judgeHostKey([], ['a'], good)).toEqual({ kind: 'unknown' })
  })

  it('names file and line of the key that has changed, of the same type first', () => {
    const verdict = judgeHostKey(parse('# comment', '', line('a', rsa), line('a', other)), ['a'], good)
    expect(verdict).toMatchObject({ kind: 'changed', entry: { file: 'kh', line: 4 } })
  })

  it('takes a key of another type for a change, as ssh does', () => {
    expect(judgeHostKey(parse(line('a', rsa)), ['a'], good)).toMatchObject({ kind: 'changed', entry: { line: 1 } })
  })

  it('refuses a revoked key even where it is known', () => {
    const entries = parse(line('a', good), line('*', good, '@revoked'))
    expect(judgeHostKey(entries, ['a'], good)).toMatchObject({ kind: 'revoked', entry: { line: 2 } })
    expect(judgeHostKey(entries, ['a'], other)).toMatchObject({ kind: 'changed' })
  })

  it('takes the plain name for another port, but no change from it', () => {
    const names = ['[a]:2222', 'a']
    expect(judgeHostKey(parse(line('a', good)), names, good)).toEqual({ kind: 'known' })
    expect(judgeHostKey(parse(line('a', other)), names, good)).toEqual({ kind: 'unknown' })
    expect(judgeHostKey(parse(line('[a]:2222', other)), names, good)).toMatchObject({ kind: 'changed' })
  })

  it('does not take an authority for a host key', () => {
    const entries = parse(line('*', good, '@cert-authority'))
    expect(judgeHostKey(entries, ['a'], good)).toEqual({ kind: 'unknown' })
    expect(certAuthorityFor(entries, ['a'])).toMatchObject({ line: 1 })
  })
})

describe('parseKnownHosts', () => {
  it('passes over what it cannot read', () => {
    expect(
      parse(
        'a',
        'a ssh-ed25519',
        'a ssh-ed25519 !!!',
        `a ssh-rsa ${good.toString('base64')}`,
        `@what ${line('a', good)}`,
      ),
    ).toEqual([])
  })

  it('reads tabs, carriage returns and comments', () => {
    expect(parse(`${line('a', good).replaceAll(' ', '\t')} me@here\r`)).toMatchObject([
      { hosts: 'a', line: 1, marker: 'none' },
    ])
  })
})

it('lists the types of known keys for negotiation', () => {
  expect(knownKeyTypes(parse(line('a', rsa), line('a', good), line('a', other), line('b', rsa)), ['a'])).toEqual([
    'ssh-rsa',
    'ssh-ed25519',
  ])
})

it('prints the fingerprint as ssh-keygen -l does', () => {
  // GitHub's published Ed25519 key and fingerprint.
  const key = Buffer.from('AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl', 'base64')
  expect(fingerprint(key)).toBe('SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU')
})
