/** The completion scripts in the shells that they are for. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { main } from './practice.js'

const scratch = mkdtempSync(join(tmpdir(), 'fleetmove-completion-'))
const bin = join(scratch, 'bin')
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

beforeAll(() => {
  mkdirSync(bin)
  writeFileSync(join(bin, 'fleetmove'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`)
  chmodSync(join(bin, 'fleetmove'), 0o755)
  const services = ['web', 'web-static', 'mail'].map((name) => `  ${name}: { from: old, to: new, listen: [tcp/80] }\n`)
  writeFileSync(
    join(scratch, 'fleet.yaml'),
    `fleet: x\nhosts:\n  old: { ssh: root@203.0.113.10 }\n  new: { ssh: "ops@new:22" }\nservices:\n${services.join('')}`,
  )
})

const has = (shell: string): boolean => spawnSync(shell, ['-c', 'true']).status === 0

/** What a shell says, a line each. */
function said(shell: string, args: string[]): string[] {
  const { status, stdout, stderr } = spawnSync(shell, args, {
    cwd: scratch,
    encoding: 'utf8',
    env: { PATH: `${bin}:${process.env.PATH}`, HOME: scratch, TERM: 'dumb' },
    timeout: 30_000,
  })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return stdout.split('\n').filter((line) => line !== '')
}

const quoted = (words: string[]): string => words.map((word) => `'${word}'`).join(' ')

/** How each shell is asked what it would offer behind these words. */
const asks: Record<string, (words: string[]) => string[]> = {
  bash: (words) =>
    said('bash', [
      '--norc',
      '-c',
      `eval "$(fleetmove completion bash)"
       complete -p fleetmove >/dev/null || exit 1
       COMP_WORDS=(${quoted(words)}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
       _fleetmove; [ \${#COMPREPLY[@]} = 0 ] || printf '%s\\n' "\${COMPREPLY[@]}"`,
    ]),
  // compinit is asked for in the way that a user's zshrc does; only what would draw the list is replaced.
  zsh: (words) =>
    said('zsh', [
      '-f',
      '-c',
      `autoload -Uz compinit; compinit -D -u
       eval "$(fleetmove completion zsh)"
       [[ $_comps[fleetmove] == _fleetmove ]] || exit 1
       _describe() { print -rl -- "\${(@)values%%:*}" }
       _files() { print files }
       words=(${quoted(words)}); CURRENT=$#words
       _fleetmove`,
    ]),
  fish: (words) =>
    said('fish', [
      '--no-config',
      '-c',
      `fleetmove completion fish | source; complete -C '${words.join(' ')}' | string replace -r '\\t.*' ''; true`,
    ]),
}

for (const [shell, ask] of Object.entries(asks)) {
  const there = has(shell)
  if (!there) console.warn(`Skipped: ${shell} is not installed`)
  ;(there ? describe : describe.skip)(shell, () => {
    test('commands', () => expect(ask(['fleetmove', 'rol'])).toEqual(['rollback']))
    test('options', () => expect(ask(['fleetmove', 'advance', '--ca'])).toEqual(['--canary']))
    test('services of fleet.yaml', () =>
      expect(ask(['fleetmove', 'verify', 'we']).sort()).toEqual(['web', 'web-static']))
    test('hosts of fleet.yaml', () => expect(ask(['fleetmove', 'init', '']).sort()).toEqual(['new', 'old']))
    test('nothing where nothing fits', () => expect(ask(['fleetmove', 'verify', 'zzz'])).toEqual([]))
  })
}

test('another file, half written', () => {
  writeFileSync(join(scratch, 'other.yaml'), 'services:\n  shop: {}\n  "a b": {}\n  mail:\n    listen: [\n')
  expect(asks.bash!(['fleetmove', 'status', '-f', 'other.yaml', ''])).toEqual(expect.arrayContaining(['shop', 'mail']))
  expect(asks.bash!(['fleetmove', 'status', '-f', 'absent.yaml', ''])).toEqual([])
})
