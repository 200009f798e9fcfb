import type { Moved } from '../../controller/move-state.js'

export const movedText = (services: readonly Moved[]): string =>
  services
    .map(({ service, active, switchMs, undrained }) => {
      const left = undrained > 0 ? `; ${undrained} connections were still open when the drain was over` : ''
      return `${service} answers on ${active} now (switched in ${switchMs.toFixed(0)} ms${left}).\n`
    })
    .join('')
