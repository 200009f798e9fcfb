import type { DraftFleet, Remark } from '../../controller/plan/draft/draft.js'
import { styleFor } from './style.js'
import { table } from './table.js'

/** What stands in the file, in a few lines. */
export function initSummary({ services, hosts, left }: DraftFleet, file: string): string {
  const style = styleFor(process.stdout)
  const doubts = (remarks: readonly Remark[]): number => remarks.filter(({ doubt }) => doubt).length
  const rows = services.map((service) => [
    service.name,
    `${service.from} → ${service.to}`,
    service.strategy,
    service.listen.map(({ protocol, from, to }) => `${protocol}/${from === to ? from : `${from}-${to}`}`).join(' '),
  ])
  const open =
    [...services, ...hosts].reduce((sum, { remarks }) => sum + doubts(remarks), 0) +
    left.filter(({ doubt }) => doubt).length
  const checks =
    open === 0
      ? 'Nothing in it is doubtful'
      : `${style('yellow', `${open} ${open === 1 ? 'remark is' : 'remarks are'} marked CHECK`)}: look at them first`
  return `${table([['SERVICE', 'MOVES', 'STRATEGY', 'LISTENS'], ...rows])}${file} is written. ${checks}; then: fleetmove plan\n`
}
