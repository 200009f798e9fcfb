import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ToolShell } from '../../../../agent/kernel/tool-shell.js'

describe('a shell that starts programs', () => {
  const directory = mkdtempSync(join(tmpdir(), 'fleetmove-shell-'))
  const shell = new ToolShell({
    directory: join(directory, 'run'),
    environment: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
    largestOutput: 100_000,
  })
  const sh = (script: string, ...args: string[]) => shell.run(['sh', '-c', script, 'sh', ...args], 10_000)
  afterAll(() => rmSync(directory, { recursive: true }))

  test('tells status, output and complaints apart', async () => {
    expect(await sh('echo out; echo err >&2; exit 3')).toEqual({ status: 3, stdout: 'out\n', stderr: 'err\n' })
  })

  test('words come as they are', async () => {
    const words = ["it's", '$HOME `id` $(id)', 'two\nlines', '', '*', '\\', '"', '; exit 1 #']
    const { stdout } = await sh('printf "<%s>" "$@"', ...words)
    expect(stdout).toBe(words.map((word) => `<${word}>`).join(''))
  })

  test('many at once, each with its own answer', async () => {
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) => sh('cat; sleep "$1"; echo "$2"; exit "$2"', `0.0${i % 3}`, String(i))),
    )
    expect(answers.map(({ status, stdout }) => [status, stdout])).toEqual(answers.map((_, i) => [i, `${i}\n`]))
  })

  test('a program that isn’t there, one that a signal ends, one that says too much', async () => {
    expect((await shell.run(['no-such-program'], 10_000)).status).toBe(127)
    expect((await sh('kill -9 $$')).status).toBe(137)
    await expect(sh('head -c 200000 /dev/zero')).rejects.toThrow('said more than 100000 bytes')
  })

  test('files of what has ended are gone', async () => {
    await sh('exit 0')
    const files = readdirSync(join(directory, 'run'), { recursive: true }).filter((name) =>
      /\.(out|err)$/.test(String(name)),
    )
    expect(files).toEqual([])
  })

  test('what has ended doesn’t stay as a zombie', async () => {
    const parentOf = (pid: string): string => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[1]!
    // Of the program the parent is who waits for it, whose parent is the shell.
    const own = parentOf((await sh('cut -d" " -f4 /proc/$$/stat')).stdout.trim())
    for (let i = 0; i < 10; i++) await sh('exit 0')
    const children = readFileSync(`/proc/${own}/task/${own}/children`, 'utf8').trim().split(' ')
    // The last one is buried with the next order.
    expect(children.length).toBeLessThan(3)
  })

  test('one that takes too long is killed', async () => {
    await expect(shell.run(['sleep', '60'], 50)).rejects.toThrow('sleep took longer than 0.05 s and was killed')
  })

  test('its own end fails what is under way, and the next program has a new one', async () => {
    await expect(sh('kill -9 "$(cut -d" " -f4 /proc/$(cut -d" " -f4 /proc/$$/stat)/stat)"; sleep 1')).rejects.toThrow(
      'the shell that starts programs has ended (SIGKILL)',
    )
    expect(await sh('echo again')).toMatchObject({ status: 0, stdout: 'again\n' })
  })
})
