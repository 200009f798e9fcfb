import { type LocalContext, parseSshG } from '../../../../controller/ssh/resolve-target.js'
import { parseSshTarget } from '../../../../controller/ssh/ssh-target.js'
import { FleetmoveError } from '../../../../proto/model/error.js'

const local: LocalContext = {
  home: '/home/me',
  user: 'me',
  hostname: 'desk.example',
  env: { SSH_AUTH_SOCK: '/run/agent', MINE: '/run/mine' },
}
const resolve = (written: string, text = '') => parseSshG(written, parseSshTarget(written), text, local)

describe('parseSshTarget', () => {
  it.each([
    ['host', undefined, 'host', undefined],
    ['root@host', 'root', 'host', undefined],
    ['root@host:2222', 'root', 'host', 2222],
    ['me@corp@host:22', 'me@corp', 'host', 22],
    ['[2001:db8::1]:2222', undefined, '2001:db8::1', 2222],
    ['root@[2001:db8::1]', 'root', '2001:db8::1', undefined],
    ['root@2001:db8::1', 'root', '2001:db8::1', undefined],
    ['fe80::1%eth0', undefined, 'fe80::1%eth0', undefined],
  ])('%s', (text, user, host, port) => {
    expect(parseSshTarget(text)).toEqual({ user, host, port })
  })

  it.each([
    '',
    'root@',
    '@host',
    '-oProxyCommand=id',
    'root@-x',
    '-l@host',
    'host:0',
    'host:65536',
    'host:ssh',
    'a b',
    'a\nb',
    '[::1',
    'host:',
  ])('refuses %j', (text) => {
    expect(() => parseSshTarget(text)).toThrow(FleetmoveError)
  })
})

describe('parseSshG', () => {
  it("takes OpenSSH's defaults without ssh", () => {
    expect(resolve('root@web:2222')).toEqual({
      written: 'root@web:2222',
      hostname: 'web',
      port: 2222,
      user: 'root',
      identityFiles: ['/home/me/.ssh/id_rsa', '/home/me/.ssh/id_ecdsa', '/home/me/.ssh/id_ed25519'],
      identitiesOnly: false,
      agentSocket: '/run/agent',
      proxyJump: [],
      knownHostsFiles: [
        '/home/me/.ssh/known_hosts',
        '/home/me/.ssh/known_hosts2',
        '/etc/ssh/ssh_known_hosts',
        '/etc/ssh/ssh_known_hosts2',
      ],
      knownHostsNames: ['[web]:2222', 'web'],
      hostKeyAlgorithms: [],
      connectTimeoutMs: 10_000,
    })
    expect(resolve('web')).toMatchObject({ user: 'me', port: 22, knownHostsNames: ['web'] })
  })

  it('reads what ssh -G prints', () => {
    const target = resolve(
      'web',
      [
        'host web',
        'user deploy',
        'hostname 10.0.0.1',
        'port 2200',
        'identitiesonly yes',
        'identityfile ~/my keys/%h of %r %%',
        'identityfile ~/.ssh/id_ed25519',
        'identityagent ~/agent.sock',
        'userknownhostsfile /tmp/a b/kh /root/.ssh/kh2',
        'globalknownhostsfile none',
        'hostkeyalias Web.Example',
        'hostkeyalgorithms ssh-ed25519,rsa-sha2-512',
        'connecttimeout 7',
        'proxyjump deploy@jump:2222,second',
        'stricthostkeychecking false',
      ].join('\n'),
    )
    expect(target).toMatchObject({
      user: 'deploy',
      hostname: '10.0.0.1',
      port: 2200,
      identitiesOnly: true,
      identityFiles: ['/home/me/my keys/10.0.0.1 of deploy %', '/home/me/.ssh/id_ed25519'],
      agentSocket: '/home/me/agent.sock',
      knownHostsFiles: ['/tmp/a b/kh', '/root/.ssh/kh2'],
      knownHostsNames: ['web.example'],
      hostKeyAlgorithms: ['ssh-ed25519', 'rsa-sha2-512'],
      connectTimeoutMs: 7_000,
      proxyJump: ['deploy@jump:2222', 'second'],
    })
  })

  it.each([
    ['none', undefined],
    ['SSH_AUTH_SOCK', '/run/agent'],
    ['$MINE', '/run/mine'],
    ['$NOT_SET', undefined],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: as ssh_config(5) writes variables
    ['${MINE}/%u', '/run/mine/me'],
  ])('finds the agent of IdentityAgent %s', (value, socket) => {
    expect(resolve('web', `identityagent ${value}`).agentSocket).toBe(socket)
  })

  it('refuses ProxyCommand by name', () => {
    expect(() => resolve('web', 'proxycommand nc %h %p')).toThrow(/ProxyCommand/)
    expect(resolve('web', 'proxycommand none').hostname).toBe('web')
  })
})
