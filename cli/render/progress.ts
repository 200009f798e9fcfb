/** Progress on stderr: a line when something ends, with its time; JSON lines on stdout with --json. */
import type { Progress } from '../../controller/progress.js'
import { styleFor } from './style.js'

export function progressFor(options: { json: boolean; verbose: boolean }): Progress {
  return options.json ? jsonProgress(options.verbose) : lineProgress(options.verbose)
}

/** A terminal shows what is under way in its last line; a pipe gets whole lines only. */
function lineProgress(verbose: boolean): Progress {
  const style = styleFor(process.stderr)
  const live = process.stderr.isTTY === true
  const running: string[] = []
  const width = (): number => process.stderr.columns ?? 80
  const clear = (): void => {
    if (live) process.stderr.write('\r\x1b[K')
  }
  const show = (): void => {
    if (live && running.length > 0) process.stderr.write(style('dim', `… ${running.join(', ')}`.slice(0, width() - 1)))
  }
  const line = (mark: string, subject: string, text: string): void => {
    clear()
    process.stderr.write(`${mark} ${subject.padEnd(16)} ${text}\n`)
    show()
  }
  return {
    begin(subject, what) {
      const begun = performance.now()
      const label = `${subject}: ${what}`
      running.push(label)
      clear()
      show()
      return (result) => {
        running.splice(running.indexOf(label), 1)
        const failed = result === 'failed'
        const seconds = ((performance.now() - begun) / 1000).toFixed(1)
        const mark = failed ? style('red', '✗') : style('green', '✓')
        line(
          mark,
          subject,
          `${what}${result ? ` ${failed ? style('red', result) : result}` : ''} ${style('dim', `${seconds} s`)}`,
        )
      }
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
      return (result) =>
        write({ type: 'end', subject, what, result: result ?? null, ms: Math.round(performance.now() - begun) })
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
