/**
 * Programs of the host are started by a small shell that this process keeps, not by this process itself: fork(2)
 * copies the page tables of all of Node's 100 MB, and each page that is written to afterwards faults once more.
 * That is 2 to 12 ms of processor time a program, while clients may be waiting for the rule that it loads; the
 * shell's is a tenth of it. It ends with us, as it reads its orders from a pipe, and takes its files along.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'

export interface Ended {
  /** As the shell has it: above 128 a signal's number and 128, 127 where there is no such program. */
  status: number
  stdout: string
  stderr: string
}

interface Waiting {
  settle: (status: number) => void
  fail: (error: Error) => void
  pid: number | undefined
  /** That its time is up. */
  late: Error | undefined
}

export interface ToolShellOptions {
  /** Where its files may be: a file system in memory; made if it isn't there. */
  directory: string
  environment: Readonly<Record<string, string>>
  /** Of stdout, in bytes: more is an error. */
  largestOutput: number
}

export class ToolShell {
  private readonly waiting = new Map<number, Waiting>()
  private child: ChildProcessByStdio<Writable, Readable, null> | undefined
  private starting: Promise<string> | undefined
  private last = 0

  constructor(private readonly options: ToolShellOptions) {}

  /** @throws Error when it has to be killed after `timeoutMs`, or says too much */
  async run(argv: readonly string[], timeoutMs: number): Promise<Ended> {
    this.starting ??= this.start()
    const directory = await this.starting.catch((error: unknown) => {
      this.starting = undefined
      throw error
    })
    const id = ++this.last
    const file = (kind: 'out' | 'err'): string => join(directory, `${id}.${kind}`)
    let timer: NodeJS.Timeout | undefined
    try {
      const status = await new Promise<number>((settle, fail) => {
        // It may have ended since it was started.
        if (!this.child) return fail(new Error('the shell that starts programs has ended'))
        const waiting: Waiting = { settle, fail, pid: undefined, late: undefined }
        this.waiting.set(id, waiting)
        this.hold()
        timer = setTimeout(() => {
          waiting.late = new Error(`${argv[0]} took longer than ${timeoutMs / 1000} s and was killed`)
          endLate(waiting)
        }, timeoutMs)
        this.child.stdin.write(order(id, argv, file('out'), file('err')))
      })
      const { size } = await stat(file('out'))
      if (size > this.options.largestOutput)
        throw new Error(`${argv[0]} said more than ${this.options.largestOutput} bytes`)
      const [stdout, stderr] = await Promise.all([readFile(file('out'), 'utf8'), readFile(file('err'), 'utf8')])
      return { status, stdout, stderr }
    } finally {
      clearTimeout(timer)
      this.waiting.delete(id)
      this.hold()
      await Promise.all([rm(file('out'), { force: true }), rm(file('err'), { force: true })])
    }
  }

  private async start(): Promise<string> {
    await mkdir(this.options.directory, { recursive: true, mode: 0o700 })
    const directory = await mkdtemp(join(this.options.directory, 'tools-'))
    const child = spawn('/bin/sh', ['-s', directory], {
      cwd: '/',
      env: { ...this.options.environment },
      // Of its own, so that a terminal's interrupt is ours to handle.
      detached: true,
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    this.child = child
    const over = (why: string): void => {
      if (this.child !== child) return
      this.child = undefined
      this.starting = undefined
      // What it has left running still has the other ends.
      child.stdin.destroy()
      child.stdout.destroy()
      for (const { fail } of this.waiting.values()) fail(new Error(`the shell that starts programs ${why}`))
    }
    child.once('error', (error) => over(`can't be started: ${error.message}`))
    child.once('exit', (code, signal) => over(`has ended (${signal ?? `status ${code}`})`))
    child.stdin.on('error', () => {})
    // Also when we are killed: its input ends then.
    child.stdin.write(`umask 077; trap 'rm -rf "$1"' EXIT\n`)
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop()!
      for (const line of lines) this.hear(line)
    })
    return directory
  }

  /** `7 p 4711`: the program of order 7 runs as process 4711; `7 s 0`: it has ended. */
  private hear(line: string): void {
    const [id, kind, number] = line.split(' ')
    const waiting = this.waiting.get(Number(id))
    if (!waiting) return
    if (kind === 'p') {
      waiting.pid = Number(number)
      endLate(waiting)
    } else if (waiting.late) waiting.fail(waiting.late)
    else waiting.settle(Number(number))
  }

  /** Only what is under way keeps this process alive. */
  private hold(): void {
    const { child } = this
    if (!child) return
    const streams = [child.stdin, child.stdout] as unknown as { ref(): void; unref(): void }[]
    for (const each of [child, ...streams]) {
      if (this.waiting.size > 0) each.ref()
      else each.unref()
    }
  }
}

/** POSIX shell: only a quote can end what stands in quotes. */
const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`

/** `jobs`, since dash buries its dead only when it is asked of them: each would stay a zombie, and in time they are too many. */
const order = (id: number, argv: readonly string[], out: string, err: string): string =>
  `jobs >/dev/null; { ${argv.map(quote).join(' ')} </dev/null >${quote(out)} 2>${quote(err)} & echo ${id} p $!; wait $!; echo ${id} s $?; } &\n`

/** Once its time is up and its process is known, whichever comes first. */
function endLate({ late, pid }: Waiting): void {
  if (!late || pid === undefined) return
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}
