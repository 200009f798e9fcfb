// Known faults of our dependencies, from high on, end it with 1. Where the registry can't be asked, it says so
// and ends with 0: that is no fault of the code's.
import { spawnSync } from 'node:child_process'
import { root } from './prepare.mjs'

const { stdout, status } = spawnSync('npm', ['audit', '--audit-level=high', '--json'], {
  cwd: root,
  encoding: 'utf8',
  timeout: 60_000,
})
let report
try {
  report = JSON.parse(stdout)
} catch {
  report = {}
}
if (report.auditReportVersion === undefined) {
  const reason = report.message ?? report.error?.summary ?? 'no answer'
  console.log(`# audit skipped: the registry doesn't tell of known faults (${String(reason).slice(0, 200)})`)
} else {
  const counts = Object.entries(report.metadata.vulnerabilities).filter(([, count]) => count > 0)
  console.log(`# audit: ${counts.map(([kind, count]) => `${count} ${kind}`).join(', ') || 'nothing known'}`)
  if (status !== 0) console.error(Object.keys(report.vulnerabilities).join(', '))
  process.exitCode = status === 0 ? 0 : 1
}
