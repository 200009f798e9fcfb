/**
 * Wrong command lines and wrong fleet files: exit 64, before any host is asked, with one message that says what is
 * wrong and what to do; with --json as a JSON line, too.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildProgram } from '../../cli/program.js'
import { wholeCommand } from '../../cli/whole-command.js'
import { type Ended, fleetmove } from './in-process.js'

const scratch = mkdtempSync(join(tmpdir(), 'wrong-usage-'))
const file = (name: string, content: string | Buffer): string => {
  writeFileSync(join(scratch, name), content)
  return join(scratch, name)
}

// Nobody listens there: whoever asks a host first ends with 1.
const fleet = `fleet: wrong
hosts:
  old: { ssh: root@127.0.0.1:1, addresses: [203.0.113.10] }
  new: { ssh: root@127.0.0.2:1, addresses: [198.51.100.20] }
services:
  web: { from: old, to: new, listen: [tcp/80] }
  queue: { from: old, to: new, listen: [tcp/25], strategy: recreate, run: { start: "true", stop: "true" }, wave: 3 }
vantages:
  outside: { ssh: root@127.0.0.3:1 }
`
const sound = file('fleet.yaml', fleet)

beforeAll(() => mkdirSync(join(scratch, 'directory')))
afterAll(() => rmSync(scratch, { recursive: true }))

/** Each line of stderr: what is wrong (a fleet file: each thing), and what to do. */
function expectRefusal(ended: Ended, message: RegExp, hint: RegExp): void {
  expect({ ...ended, stderr: '' }).toEqual({ code: 64, stdout: '', stderr: '' })
  const [, told, next] = /^error: ([\s\S]*)\n {2}next: ([^\n]*)\n$/.exec(ended.stderr) ?? [ended.stderr]
  expect(told).toMatch(message)
  expect(next).toMatch(hint)
  expect(ended.stderr).not.toMatch(/^ +at |internal|undefined|\[object|ENOENT|EISDIR/m)
}

/** The same as one JSON line; people are told as well. */
function expectJson({ code, stdout, stderr }: Ended, message: RegExp, hint: RegExp): void {
  expect([code, stdout.match(/\n/g)?.length]).toEqual([64, 1])
  const told = JSON.parse(stdout) as Record<string, string>
  expect(Object.keys(told).sort()).toEqual(['code', 'hint', 'message', 'type'])
  expect([told.type, told.code]).toEqual(['error', 'usage'])
  expect(told.message).toMatch(message)
  expect(told.hint).toMatch(hint)
  expect(stderr).toContain(told.message)
}

type Case = readonly [args: string, message: RegExp, hint: RegExp]

const withFleet: readonly Case[] = [
  ['advance', /advance needs to know what to move/, /--all/],
  ['advance --all web', /only one of them/, /--wave 1/],
  ['advance --all --wave 1', /only one of them/, /--all/],
  ['advance --wave 0', /--wave.*'0'.*whole number from 1 to 1000/, /advance --help/],
  ['advance --wave 9', /no service in wave 9/, /waves are: 1, 3/],
  ['advance --wave 99999999999999999999', /whole number from 1 to 1000/, /advance --help/],
  ['advance nobody', /no service "nobody"/, /web, queue/],
  ['advance WEB', /no service "WEB"/, /web, queue/],
  ['advance web --only x', /--only: found "x", allowed an address/, /--only 198/],
  ['advance web --only ,', /--only: found nothing/, /--only 198/],
  ['advance web --only 10.0.0.0/33', /--only: found "10.0.0.0\/33"/, /--only 198/],
  ['advance web --canary 0', /--canary: found "0"/, /--canary 5,25,100/],
  ['advance web --canary 25,5', /--canary: found "25,5"/, /--canary 5,25,100/],
  ['advance web --canary 101', /--canary: found "101"/, /--canary 5,25,100/],
  ['advance web --canary -5', /--canary: found "-5"/, /--canary 5,25,100/],
  ['advance web --bake 5s', /--bake.*no canary/, /--canary 5,25,100 or --only/],
  ['advance web --canary 5 --bake -5s', /--bake.*'-5s'.*from 0s to 168h/, /advance --help/],
  ['advance web --canary 5 --bake 999999999h', /--bake.*from 0s to 168h/, /advance --help/],
  ['advance queue --canary 5', /queue has strategy: recreate/, /leave --canary/],
  ['advance --all --only 10.0.0.0/8', /queue has strategy: recreate/, /leave --canary/],
  ['advance web --parallel 0', /--parallel.*from 1 to 1000/, /advance --help/],
  ['advance web --parallel -1', /--parallel.*from 1 to 1000/, /advance --help/],
  ['advance web --parallel 1.5', /--parallel.*from 1 to 1000/, /advance --help/],
  ['advance web --max-failures -1', /--max-failures.*from 0 to/, /advance --help/],
  ['advance web --timeout never', /--timeout.*500ms, 30s, 10m or 1h/, /advance --help/],
  ['advance web --timeout 0s', /--timeout.*from 1s to 168h/, /advance --help/],
  ['advance web --timeout 999999999h', /--timeout.*from 1s to 168h/, /advance --help/],
  ['advance web --confirm-timeout 1ms', /--confirm-timeout.*from 1s to 1h/, /advance --help/],
  ['advance web --canari 5', /advance: unknown option '--canari'/, /did you mean --canary\?/],
  ['rollback', /rollback: missing required argument 'service'/, /rollback --help/],
  ['rollback nobody', /no service "nobody"/, /web, queue/],
  ['finalize --quiet soon', /--quiet: found "soon"/, /1h or 30m/],
  ['finalize --quiet -1h', /--quiet: found "-1h"/, /1h or 30m/],
  ['finalize --quiet 9999h', /--quiet.*at most 168h/, /1h or 30m/],
  ['finalize nobody --force', /no service "nobody"/, /web, queue/],
  ['verify nobody', /no service "nobody"/, /web, queue/],
  ['status nobody', /no service "nobody"/, /web, queue/],
  ['status --stage asleep', /--stage.*planned, forwarding, moving, moved, finalized/, /status --help/],
  ['watch nobody', /no service "nobody"/, /web, queue/],
  ['watch --interval 1ms', /--interval.*from 200ms to 1h/, /watch --help/],
  ['watch --count 0', /--count.*from 1 to/, /watch --help/],
  ['watch --count -3', /--count.*from 1 to/, /watch --help/],
  ['explain', /explain: missing required argument 'client'/, /explain --help/],
  ['explain 192.0.2.7', /explain: missing required argument 'service'/, /explain --help/],
  ['explain nowhere web', /"nowhere" is neither an address nor a vantage/, /one of outside/],
  ['explain 192.0.2.7:99999 web', /neither an address with a port/, /ADDRESS:PORT/],
  ['explain 192.0.2.7:0 web', /neither an address with a port/, /ADDRESS:PORT/],
  ['explain 192.0.2.7 nobody', /no service "nobody"/, /web, queue/],
  ['explain 192.0.2.7 web more', /explain: too many arguments/, /explain --help/],
  ['explain 192.0.2.7 web --listener www', /--listener: found "www"/, /tcp\/443/],
  ['explain 192.0.2.7 web --listener tcp/81', /web has no listener tcp\/81/, /its listeners are: tcp\/80/],
  ['explain 192.0.2.7 web --wait 0s', /--wait.*from 1s to 1h/, /explain --help/],
  ['unlock', /unlock: missing required argument 'id'/, /unlock --help/],
  ['unlock 3f9c', /"3f9c" can't be a lock's id/, /fleetmove status/],
  ['dns nobody', /no service "nobody"/, /web, queue/],
  ['dns switch nobody', /no service "nobody"/, /web, queue/],
  ['dns switch web', /web has no names/, /names: \[/],
  ['dns switch --now --wait', /--now doesn't wait.*--wait does/, /one of the two/],
  ['dns switch --ttl 0s', /--ttl.*from 1s to 168h/, /dns switch --help/],
  ['dns switch --bakc', /dns switch: unknown option '--bakc'/, /did you mean --back\?/],
  ['up no.plan', /the plan no\.plan can't be read: there is no such file/, /plan -o FILE/],
  ['up a.plan b.plan', /up: too many arguments/, /up --help/],
  ['up DIRECTORY', /the plan .* can't be read: it is a directory/, /plan -o FILE/],
  ['up FLEET', /is no plan of this version of fleetmove: it holds no JSON object/, /plan -o FILE/],
  ['plan more', /plan: too many arguments/, /plan --help/],
  ['plan -o', /plan: option '-o, --out <file>' argument missing/, /plan --help/],
  ['plan -o DIRECTORY', /the plan can't be written to .*: it is a directory/, /plan -o FILE/],
  ['plan -o DIRECTORY/none/a.plan', /can't be written to .*: there is no such file or directory/, /plan -o FILE/],
  ['report more', /report: too many arguments/, /report --help/],
  ['down more', /down: too many arguments/, /down --help/],
]

const words = (line: string): string[] =>
  line.replaceAll('DIRECTORY', join(scratch, 'directory')).replaceAll('FLEET', sound).split(' ')

describe('a command line that is wrong, with a fleet', () => {
  test.each(withFleet)('%s', async (line, message, hint) => {
    const [command, ...more] = words(line)
    // `-o` without its value stands last.
    const args = [command!, ...(more[0] === 'switch' ? [more.shift()!] : []), '-f', sound, ...more]
    expectRefusal(await fleetmove(...args), message, hint)
    const at = args.indexOf('-f')
    expectJson(await fleetmove(...args.slice(0, at), '--json', ...args.slice(at)), message, hint)
  })
})

const alone: readonly Case[] = [
  ['advnce', /unknown command 'advnce'/, /did you mean advance\?; fleetmove --help lists the commands/],
  ['help advnce', /unknown command 'advnce'/, /fleetmove --help/],
  ['--bogus', /unknown option '--bogus'/, /options stand behind the command/],
  ['-f fleet.yaml up', /unknown option '-f'/, /options stand behind the command/],
  ['schema more', /schema: too many arguments/, /schema --help/],
  ['schema --bogus', /schema: unknown option/, /schema --help/],
  ['man more', /man: too many arguments/, /man --help/],
  ['completion', /completion: missing required argument 'shell'/, /completion --help/],
  ['completion tcsh', /completion: .*'tcsh' is invalid.*bash, zsh, fish/, /completion --help/],
  ['init', /init needs the SSH destinations of two hosts/, /init OLD NEW/],
  ['init old', /init needs the SSH destinations of two hosts/, /init OLD NEW/],
  ['init old new more', /init needs the SSH destinations of two hosts/, /init OLD NEW/],
  ['init old new --become root', /init: .*'root' is invalid.*none, sudo/, /init --help/],
  ['init ops:geheim@old new -o DIRECTORY/f', /^a password stands in an SSH destination$/, /keys and the agent/],
  ['init old:99999 new -o DIRECTORY/f', /port 99999 is not between 1 and 65535/, /brackets/],
  ['init same same -o DIRECTORY/f', /same is given as the old host and as the new one/, /init OLD NEW/],
  ['init --stdin old new', /--stdin reads the hosts/, /init --stdin/],
  ['init old new -o DIRECTORY', /directory is there already/, /--force/],
  ['init old new --force -o DIRECTORY', /directory can't be written: it is a directory/, /-o/],
  ['init old new -o DIRECTORY/none/f', /can't be written: there is no such file or directory/, /-o/],
  ['lab dance', /lab: unknown command 'dance'/, /lab --help/],
  ['lab up more', /lab up: too many arguments/, /lab up --help/],
  ['lab up --bogus', /lab up: unknown option '--bogus'/, /lab up --help/],
  ['lab up --name ../x', /"\.\.\/x" can't be a lab's name/, /a-z/],
  ['lab down --name A', /"A" can't be a lab's name/, /a-z/],
  ['lab exec', /lab exec: missing required argument 'host'/, /lab exec --help/],
  ['lab exec old1', /lab exec: missing required argument 'command'/, /lab exec --help/],
  ['lab reboot', /lab reboot: missing required argument 'host'/, /lab reboot --help/],
  ['lab status --name x --bogus', /lab status: unknown option/, /lab status --help/],
]

describe('a command line that is wrong, without a fleet', () => {
  test.each(alone)('%s', async (line, message, hint) => {
    expectRefusal(await fleetmove(...words(line)), message, hint)
  })

  test('with --json it is JSON, and what stands behind -- is not ours', async () => {
    expectJson(await fleetmove('up', '--json', '--bogus'), /up: unknown option '--bogus'/, /up --help/)
    expectJson(await fleetmove('init', 'old', '--json'), /two hosts/, /init OLD NEW/)
    expectRefusal(await fleetmove('lab', 'exec', '--', '--json'), /missing required argument 'command'/, /--help/)
  })

  test('what stands behind -- goes to the host as it is', async () => {
    const { code, stderr } = await fleetmove('lab', 'exec', '--name', 'none-such', 'old1', '--', 'bash', '-l', '--json')
    expect([code, stderr]).toEqual([1, expect.stringContaining('the practice network "none-such" doesn\'t run')])
  })

  test('without any command help is printed, and it counts as wrong', async () => {
    for (const args of [[], ['lab']]) {
      const { code, stdout, stderr } = await fleetmove(...args)
      expect([code, stdout]).toEqual([64, ''])
      expect(stderr).toMatch(/^Usage: /)
    }
  })

  test('help that is asked for is no error', async () => {
    for (const args of [
      ['help'],
      ['help', 'help'],
      ['help', 'lab'],
      ['help', 'dns', 'switch'],
      ['up', '--help'],
      ['lab', 'up', '--help'],
    ]) {
      const { code, stdout, stderr } = await fleetmove(...args)
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toMatch(/^Usage: /)
    }
    expect((await fleetmove('help', 'lab')).stdout).toContain('reboot')
  })
})

describe('a fleet file that is wrong', () => {
  const service = '  web: { from: old, to: new, listen: [tcp/80] }'
  const cases: readonly (readonly [what: string, path: () => string, message: RegExp, hint: RegExp])[] = [
    ['is not there', () => join(scratch, 'none.yaml'), /none\.yaml: there is no such file/, /fleetmove init OLD NEW/],
    ['has no name', () => '', /--file: found nothing/, /-f FILE/],
    ['is a directory', () => join(scratch, 'directory'), /can't be read: it is a directory/, /-f FILE/],
    ['is below a file', () => join(sound, 'x'), /can't be read: a part of its path is no directory/, /-f FILE/],
    ['never ends', () => '/dev/zero', /\/dev\/zero is too large/, /-f FILE/],
    ['is huge', () => file('huge', Buffer.alloc(5 << 20, 'a')), /huge is too large/, /-f FILE/],
    ['is binary', () => file('binary', Buffer.from([0, 1, 0xff, 0xfe])), /not UTF-8 text/, /UTF-8/],
    ['is UTF-16', () => file('utf16', Buffer.from(`\ufeff${fleet}`, 'utf16le')), /not UTF-8 text/, /UTF-8/],
    ['is empty', () => file('empty', ''), /empty:1:1: found nothing, allowed a mapping/, /fleetmove init/],
    ['has comments alone', () => file('comments', '# none\n'), /:1:1: found nothing/, /fleetmove init/],
    ['is a word', () => file('word', 'fleet\n'), /:1:1: found "fleet", allowed a mapping/, /schema/],
    ['is a list', () => file('list', '- fleet\n'), /:1:1: found a list, allowed a mapping/, /schema/],
    ['has tabs', () => file('tabs', 'fleet: a\n\thosts: {}\n'), /:2:1: not YAML: Tabs/, /correct .*tabs/],
    ['has a second document', () => file('two', `${fleet}---\na: 1\n`), /:10:1: found a second document/, /correct/],
    [
      'has a key twice',
      () => file('twice', fleet.replace(service, `${service}\n${service}`)),
      /:7:3: found the key "web" a second time, allowed once \(the first is on line 6\)$/,
      /correct/,
    ],
    [
      'has wrong types',
      () => file('types', fleet.replace('wrong', '12').replace('[tcp/80]', 'tcp/80').replace('wave: 3', 'wave: x')),
      /:1:8: fleet: found 12, allowed a name\n.*:6:38: services\.web\.listen: found "tcp\/80", allowed a list.*\n.*services\.queue\.wave: found "x"/,
      /correct/,
    ],
    [
      'names a host that is not there',
      () => file('host', fleet.replace('to: new, listen: [tcp/80]', 'to: nwe, listen: [tcp/80]')),
      /services\.web\.to: found "nwe", allowed one of the hosts old, new; did you mean "new"\?/,
      /correct/,
    ],
    [
      'has a number that is too large',
      () => file('large', fleet.replace('tcp/80', 'tcp/65536')),
      /services\.web\.listen\[0\]: found "tcp\/65536"/,
      /correct/,
    ],
    [
      'has what excludes each other',
      () => file('both', fleet.replace('[tcp/80]', '[tcp/80], unit: a.service, container: b')),
      /services\.web\.container: found container besides unit/,
      /correct/,
    ],
  ]

  test.each(cases)('that %s', async (_what, path, message, hint) => {
    expectRefusal(await fleetmove('plan', '-f', path()), message, hint)
    expectJson(await fleetmove('plan', '--json', '-f', path()), message, hint)
  })

  test('is told before anything else by every command that needs one', async () => {
    const commands = buildProgram().commands.filter(({ options }) => options.some(({ long }) => long === '--file'))
    expect(commands.length).toBeGreaterThan(11)
    const empty = file('empty', '')
    const needed: Record<string, string[]> = {
      advance: ['--all'],
      rollback: ['web'],
      explain: ['192.0.2.7', 'web'],
      unlock: ['0123456789ab'],
    }
    for (const command of commands) {
      const args = needed[command.name()] ?? []
      expectRefusal(await fleetmove(command.name(), ...args, '-f', empty), /empty:1:1: found nothing/, /init/)
    }
    expectRefusal(await fleetmove('dns', 'switch', '-f', empty), /empty:1:1: found nothing/, /init/)
  })
})

test('no command is left out of this table', async () => {
  const program = buildProgram()
  const lab = await wholeCommand(program.commands.find((each) => each.name() === 'lab')!)
  const names = [...program.commands.map((each) => each.name()), ...lab.commands.map((each) => `lab ${each.name()}`)]
  const tried = [...withFleet, ...alone].map(([line]) => line)
  const untried = names.filter((name) => !tried.some((line) => `${line} `.startsWith(`${name} `)))
  // Asked by shells with words that may be anything.
  expect(untried).toEqual(['complete'])
})

test('hosts are asked when nothing is wrong', async () => {
  const { code, stderr } = await fleetmove('status', '-f', sound)
  expect([code, stderr.match(/^error: (old|new|outside): /gm)?.length]).toEqual([1, 3])
})
