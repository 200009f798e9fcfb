/** What happened, in counts: a row for each fault. */
import type { FaultName } from './faults.js'

interface Row {
  struck: number
  /** The moment did not come: the run took another way. */
  missed: number
  /** Exit codes of the runs that were struck; 137 is SIGKILL. */
  codes: Map<number, number>
  again: number
  violations: number
}

export class Report {
  private readonly rows = new Map<FaultName, Row>()
  readonly violations: string[] = []
  readonly compared = { equal: 0, different: 0, unknown: 0 }
  /** The longest time in which the queue ran nowhere, in ms: within a run, and until the run after it. */
  longestGapMs = 0
  rounds = 0
  moments = new Set<string>()

  private row(fault: FaultName): Row {
    const row = this.rows.get(fault) ?? { struck: 0, missed: 0, codes: new Map(), again: 0, violations: 0 }
    this.rows.set(fault, row)
    return row
  }

  missed(fault: FaultName): void {
    this.row(fault).missed += 1
  }

  struck(fault: FaultName, code: number, again: number): void {
    const row = this.row(fault)
    row.struck += 1
    row.again += again
    row.codes.set(code, (row.codes.get(code) ?? 0) + 1)
  }

  violation(fault: FaultName | undefined, text: string): void {
    if (fault) this.row(fault).violations += 1
    this.violations.push(text)
    process.stderr.write(`VIOLATION ${text}\n`)
  }

  /** For whoever looks for the cause of what was told before. */
  note(text: string): void {
    process.stderr.write(`${text}\n`)
  }

  text(): string {
    const head = ['fault', 'struck', 'missed', 'exit codes', 'runs after', 'violations']
    const rows = [...this.rows].map(([fault, row]) => [
      fault,
      ...[row.struck, row.missed].map(String),
      [...row.codes]
        .sort(([a], [b]) => a - b)
        .map(([code, count]) => `${code}×${count}`)
        .join(' '),
      String(row.again),
      String(row.violations),
    ])
    const table = [head, ...rows]
    const widths = head.map((_, column) => Math.max(...table.map((row) => row[column]!.length)))
    const lines = table.map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    const { equal, different, unknown } = this.compared
    return [
      ...lines,
      '',
      `${this.rounds} rounds, ${this.moments.size} different moments; hosts cut off and compared: ${equal} as before, ${different} not, ${unknown} never seen before`,
      `the queue ran nowhere for ${(this.longestGapMs / 1000).toFixed(1)} s at the longest, and never on two hosts unless it is told below`,
      `${this.violations.length} violations`,
      ...this.violations.map((text) => `  ${text}`),
      '',
    ].join('\n')
  }
}
