/** A line of JSON on stdout for each thing worth remembering: journald and agent.log both take lines. */
export function log(message: string, detail: Record<string, unknown> = {}): void {
  process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), message, ...detail })}\n`)
}
