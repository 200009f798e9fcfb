/** The programs that a test of holding packets starts inside its hosts: an agent's part, servers, clients. */
import { execFile } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type Hold, prepareHold, sweepHolds } from '../../agent/hold/hold.js'
import { findHoldMeans } from '../../agent/hold/hold-means.js'
import type { HeldListener, HoldMeans } from '../../agent/hold/hold-rules.js'
import { holdPackets } from '../../agent/hold/holder.js'
import { netlinkProtocol, openRaw } from '../../agent/kernel/netlink.js'
import { changeElements } from '../../agent/kernel/nft-elements.js'

/** What an agent does, one after the other; each step's end is printed with its time. */
export type Step =
  | {
      do: 'hold'
      means: HoldMeans
      listeners: HeldListener[]
      maxPackets: number
      maxBytes: number
      maxMs: number
      exceptDevices?: string[]
    }
  | { do: 'sh'; script: string }
  | { do: 'wait'; ms: number }
  | { do: 'held' | 'release' | 'ended' | 'means' | 'die' | 'sweep' }

export interface Done {
  step: Step['do']
  at: number
  // biome-ignore lint/suspicious/noExplicitAny: what each step answers is the test's to know
  answer: any
}

export interface Load {
  targets: string[]
  port: number
  perSecond: number
  /** At most; it ends when its standard input says anything. */
  count: number
}

/** Times in ms since the epoch. */
export interface Attempt {
  begun: number
  /** -1 where it never connected. */
  connectMs: number
  /** What the server said, or the error's code. */
  outcome: string
}

const now = (): number => performance.timeOrigin + performance.now()
const print = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`)
const run = promisify(execFile)

async function agent(steps: Step[]): Promise<void> {
  let hold: Hold | null = null
  for (const step of steps) {
    const answer = await perform(step)
    print({ step: step.do, at: now(), answer } satisfies Done)
  }

  async function perform(step: Step): Promise<unknown> {
    switch (step.do) {
      case 'hold': {
        const { maxMs, ...request } = step
        const runDirectory = '/run/fleetmove'
        const holder = [process.execPath, process.argv[1]!, 'hold']
        const prepared = await prepareHold({ exceptDevices: [], ...request, holder, runDirectory })
        await changeElements(openRaw(netlinkProtocol.netfilter), { add: prepared.elements(maxMs), remove: [] })
        hold = prepared.begin(maxMs)
        return null
      }
      case 'sh':
        return (await run('sh', ['-ec', step.script])).stdout
      case 'wait':
        return delay(step.ms)
      case 'held':
        return hold!.held()
      case 'release':
        return hold!.release()
      case 'ended':
        return hold!.ended
      case 'means':
        return findHoldMeans()
      case 'sweep':
        return sweepHolds(false)
      case 'die':
        process.kill(process.pid, 'SIGKILL')
        return delay(10_000)
    }
  }
}

/** Answers connections with its letter; prints the datagrams that it gets. */
async function serve(letter: string, port: number): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.end(letter)
  })
  const udp = createSocket('udp6')
  udp.on('message', (message) => print(String(message)))
  await new Promise<void>((resolve) => udp.bind(port, '::', resolve))
  server.listen({ port, host: '::', backlog: 511 }, () => {
    writeFileSync('/run/server.pid', String(process.pid))
    print('ready')
  })
}

async function load({ targets, port, perSecond, count }: Load): Promise<void> {
  const begin = performance.now()
  const attempts: Promise<Attempt>[] = []
  print('begun')
  let enough = false
  process.stdin.once('data', () => {
    enough = true
  })
  for (let number = 0; number < count && !enough; ) {
    const due = Math.min(count, Math.ceil(((performance.now() - begin) * perSecond) / 1000))
    for (; number < due; number++) attempts.push(attempt(targets[number % targets.length]!, port))
    await delay(1)
  }
  process.stdin.destroy()
  print(await Promise.all(attempts))
}

const attempt = (host: string, port: number): Promise<Attempt> =>
  new Promise((resolve) => {
    const begun = now()
    let connectMs = -1
    let said = ''
    const socket = connect({ host, port })
    const end = (outcome: string): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ begun, connectMs, outcome })
    }
    const timer = setTimeout(() => end('ETIMEDOUT'), 20_000)
    socket.once('connect', () => {
      connectMs = now() - begun
    })
    socket.on('data', (data) => {
      said += String(data)
    })
    socket.once('end', () => end(said))
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
  })

/** Numbered datagrams, all from one socket a target. */
async function send(targets: string[], port: number, count: number, bytes: number): Promise<void> {
  for (const target of targets) {
    const socket = createSocket(target.includes(':') ? 'udp6' : 'udp4')
    for (let number = 0; number < count; number++) {
      const text = `${target} ${number} `.padEnd(bytes, '.')
      await new Promise((resolve) => socket.send(text, port, target, resolve))
    }
    socket.close()
  }
}

const [role, argument, ...rest] = process.argv.slice(2)
const failed = (error: unknown): void => {
  print({ failed: String(error), cause: String((error as Error).cause ?? '') })
  process.exitCode = 1
}
if (role === 'hold') {
  holdPackets([argument!]).then((code) => process.exit(code), failed)
} else if (role === 'agent') {
  agent(JSON.parse(argument!) as Step[]).then(() => process.exit(0), failed)
} else if (role === 'serve') {
  serve(argument!, Number(rest[0])).catch(failed)
} else if (role === 'load') {
  load(JSON.parse(argument!) as Load).catch(failed)
} else if (role === 'send') {
  const { targets, port, count, bytes } = JSON.parse(argument!) as {
    targets: string[]
    port: number
    count: number
    bytes: number
  }
  send(targets, port, count, bytes).catch(failed)
}
