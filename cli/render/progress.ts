/** Progress on stderr, a line for each host and phase with its time; JSON lines on stdout with --json. */
import type { Figures, Progress, Running } from '../../controller/progress.js'
import { LiveBlock, type Screen, widthOf } from './live-block.js'
import { type Style, styleFor } from './style.js'

/** Progress that can be set aside. */
export interface ShownProgress extends Progress {
  /** Nothing is drawn while this works: somebody is asked for a secret. */
  aside<T>(work: () => Promise<T>): Promise<T>
  /** Takes away what is drawn of phases that have not ended. */
  close(): void
}

export interface ProgressOutput {
  screen: Screen
  style: Style
  /** A terminal, on which lines can be drawn again. */
  live: boolean
}

export function progressFor(options: { json: boolean; verbose: boolean }): ShownProgress {
  if (options.json) return jsonProgress(options.verbose)
  const output = { screen: process.stderr, style: styleFor(process.stderr), live: process.stderr.isTTY === true }
  return output.live ? liveProgress(output, options.verbose) : lineProgress(output, options.verbose)
}

/** A terminal is drawn again so often; a pipe gets a line about what takes long more rarely, a program in between. */
const frameMs = 100
const lineMs = 5000
const jsonMs = 1000
const frames = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'
/** The rest is only counted: what ends must stay in sight. */
const mostRunning = 10

/** @returns whether the time since the last time that it said so is over; the first time after `every` ms. */
function paced(every: number): () => boolean {
  let last = performance.now()
  return () => {
    const due = performance.now() - last >= every
    if (due) last = performance.now()
    return due
  }
}

const seconds = (ms: number): string =>
  ms < 100_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60_000)}m${Math.floor((ms / 1000) % 60)}s`

/** `✓   1.2 s  old1  agent: started`: marks, times and subjects stand below each other. */
function lineOf(mark: string, time: string, subject: string, text: string): string {
  return `${mark} ${time.padStart(7)}  ${subject.padEnd(10)}  ${text}`
}

function endOf(style: Style, subject: string, what: string, result: string | undefined, ms: number): string {
  const failed = result?.startsWith('failed') === true
  const told = result === undefined ? '' : failed ? `: ${style('red', result)}` : `: ${result}`
  return `${lineOf(failed ? style('red', '✗') : style('green', '✓'), seconds(ms), subject, `${what}${told}`)}\n`
}

/** With -v: each call of a host's agent, once it is over. */
const callTold =
  (verbose: boolean, detail: Progress['detail']): Progress['call'] =>
  (host, name) => {
    if (!verbose) return () => {}
    const begun = performance.now()
    return (failed) => detail(host, `${name}${failed ? ' failed' : ''} ${(performance.now() - begun).toFixed(0)} ms`)
  }

/** A terminal: what is under way stands below what has ended, each with its time so far. */
export function liveProgress({ screen, style }: ProgressOutput, verbose: boolean): ShownProgress {
  const block = new LiveBlock(screen)
  const running: { subject: string; what: string; update: string; begun: number }[] = []
  let timer: NodeJS.Timeout | undefined
  let frame = 0
  let asides = 0
  const draw = (): void => {
    if (asides > 0) return
    const now = performance.now()
    const lines = running.slice(0, mostRunning).map(({ subject, what, update, begun }) => {
      const line = (text: string): string =>
        lineOf(style('cyan', frames[frame % frames.length]!), seconds(now - begun), subject, text)
      const whole = line(update === '' ? what : `${what}: ${update}`)
      // How far it is says more than what it is.
      return update !== '' && widthOf(whole) >= block.columns ? line(update) : whole
    })
    const more = running.length - mostRunning
    if (running.length === 0) block.clear()
    else block.set(more > 0 ? [...lines, style('dim', `  … and ${more} more`)] : lines)
  }
  const tick = (): void => {
    if (running.length === 0) {
      clearInterval(timer)
      timer = undefined
    } else if (timer === undefined) {
      timer = setInterval(() => {
        frame += 1
        draw()
      }, frameMs)
      timer.unref()
    }
  }
  const detail = (subject: string, text: string): void => {
    if (verbose) block.print(`${lineOf(' ', '', subject, style('dim', text))}\n`)
  }
  return {
    begin(subject, what) {
      const own = { subject, what, update: '', begun: performance.now() }
      running.push(own)
      draw()
      tick()
      const end = (result?: string): void => {
        running.splice(running.indexOf(own), 1)
        block.print(endOf(style, subject, what, result, performance.now() - own.begun))
        draw()
        tick()
      }
      const update = (text: string): void => {
        own.update = text
      }
      return Object.assign(end, { update })
    },
    note: (subject, text) => block.print(`${lineOf(style('yellow', '·'), '', subject, text)}\n`),
    detail,
    call: callTold(verbose, detail),
    async aside(work) {
      asides += 1
      block.clear()
      try {
        return await work()
      } finally {
        asides -= 1
        draw()
      }
    },
    close() {
      running.length = 0
      tick()
      block.clear()
    },
  }
}

/** A pipe: whole lines, when something ends; and every few seconds how far a long copy is. */
export function lineProgress({ screen, style }: ProgressOutput, verbose: boolean): ShownProgress {
  const note = (subject: string, text: string): void =>
    void screen.write(`${lineOf(style('yellow', '·'), '', subject, text)}\n`)
  const detail = (subject: string, text: string): void => {
    if (verbose) screen.write(`${lineOf(' ', '', subject, style('dim', text))}\n`)
  }
  return {
    begin(subject, what) {
      const begun = performance.now()
      const due = paced(lineMs)
      const end = (result?: string): void =>
        void screen.write(endOf(style, subject, what, result, performance.now() - begun))
      return Object.assign(end, { update: (text: string) => due() && note(subject, `${what}: ${text}`) })
    },
    note,
    detail,
    call: callTold(verbose, detail),
    aside: (work) => work(),
    close() {},
  }
}

function jsonProgress(verbose: boolean): ShownProgress {
  const write = (event: Record<string, unknown>): void => void process.stdout.write(`${JSON.stringify(event)}\n`)
  return {
    begin(subject, what): Running {
      const begun = performance.now()
      write({ type: 'begin', subject, what })
      const due = paced(jsonMs)
      return Object.assign(
        (result?: string, figures: Figures = {}) => {
          const ms = Math.round(performance.now() - begun)
          write({ type: 'end', subject, what, result: result ?? null, ms, ...figures })
        },
        {
          update: (text: string, figures: Figures = {}) => {
            if (due()) write({ type: 'update', subject, what, text, ...figures })
          },
        },
      )
    },
    note: (subject, text) => write({ type: 'note', subject, text }),
    detail: (subject, text) => write({ type: 'detail', subject, text }),
    call(host, name) {
      if (!verbose) return () => {}
      const begun = performance.now()
      write({ type: 'call', subject: host, what: name, state: 'sent' })
      return (failed) =>
        write({
          ...{ type: 'call', subject: host, what: name, state: failed ? 'failed' : 'answered' },
          ms: Math.round(performance.now() - begun),
        })
    },
    aside: (work) => work(),
    close() {},
  }
}
