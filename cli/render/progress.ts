/** Progress on stderr: a line when something ends, with its time; JSON lines on stdout with --json. */
import type { Progress } from '../../controller/progress.js'
import { styleFor } from './style.js'

export function progressFor(options: { json: boolean; verbose: boolean }): Progress {
  return options.json ? jsonProgress(options.verbose) : lineProgress(options.verbose)
}

/** A terminal is redrawn this often at the most; a pipe and a log get a line more rarely. */
const redrawMs = 100
const lineMs = 5000
const jsonMs = 1000

/** @returns whether the time since the last time that it said so is over; the first time after `every` ms. */
function paced(every: number): () => boolean {
  let last = performance.now()
  return () => {
    const due = performance.now() - last >= every
    if (due) last = performance.now()
    return due
  }
}

/** A terminal shows what is under way in its last line; a pipe gets whole lines only. */
function lineProgress(verbose: boolean): Progress {
  const style = styleFor(process.stderr)
  const live = process.stderr.isTTY === true
  const running: { label: string }[] = []
  const width = (): number => process.stderr.columns ?? 80
  const clear = (): void => {
    if (live) process.stderr.write('\r\x1b[K')
  }
  const show = (): void => {
    const labels = running.map(({ label }) => label)
    if (live && labels.length > 0) process.stderr.write(style('dim', `… ${labels.join(', ')}`.slice(0, width() - 1)))
  }
  const line = (mark: string, subject: string, text: string): void => {
    clear()
    process.stderr.write(`${mark} ${subject.padEnd(16)} ${text}\n`)
    show()
  }
  return {
    begin(subject, what) {
      const begun = performance.now()
      const own = { label: `${subject}: ${what}` }
      running.push(own)
      clear()
      show()
      const end = (result?: string): void => {
        running.splice(running.indexOf(own), 1)
        const failed = result === 'failed'
        const seconds = ((performance.now() - begun) / 1000).toFixed(1)
        const mark = failed ? style('red', '✗') : style('green', '✓')
        line(
          mark,
          subject,
          `${what}${result ? ` ${failed ? style('red', result) : result}` : ''} ${style('dim', `${seconds} s`)}`,
        )
      }
      const due = paced(live ? redrawMs : lineMs)
      const update = (text: string): void => {
        if (!due()) return
        own.label = `${subject}: ${what}: ${text}`
        if (!live) line(style('yellow', '·'), subject, text)
        clear()
        show()
      }
      return Object.assign(end, { update })
    },
    note: (subject, text) => line(style('yellow', '·'), subject, text),
    detail: (subject, text) => {
      if (verbose) line(' ', subject, style('dim', text))
    },
    call(host, name) {
      const begun = performance.now()
      return (failed) => {
        if (!verbose) return
        const ms = (performance.now() - begun).toFixed(0)
        line(' ', host, style('dim', `${name}${failed ? ' failed' : ''} ${ms} ms`))
      }
    },
  }
}

function jsonProgress(verbose: boolean): Progress {
  const write = (event: Record<string, unknown>): void => void process.stdout.write(`${JSON.stringify(event)}\n`)
  return {
    begin(subject, what) {
      const begun = performance.now()
      write({ type: 'begin', subject, what })
      const due = paced(jsonMs)
      return Object.assign(
        (result?: string) =>
          write({ type: 'end', subject, what, result: result ?? null, ms: Math.round(performance.now() - begun) }),
        {
          update: (text: string, figures: Readonly<Record<string, number>> = {}) => {
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
  }
}
