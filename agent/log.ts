/** Priorities of sd-daemon(3): 3 something failed, 4 something is odd, 6 worth remembering. */
export type Priority = 3 | 4 | 6

/**
 * A line of JSON on stdout for each thing worth remembering: journald and agent.log both take lines. Where
 * journald reads them (systemd.exec(5), $JOURNAL_STREAM) they begin with their priority; by default one with an
 * `error` is 3.
 */
export function log(message: string, detail: Record<string, unknown> = {}, priority?: Priority): void {
  const number = priority ?? ('error' in detail ? 3 : 6)
  const prefix = process.env.JOURNAL_STREAM === undefined ? '' : `<${number}>`
  process.stdout.write(`${prefix}${JSON.stringify({ time: new Date().toISOString(), message, ...detail })}\n`)
}
