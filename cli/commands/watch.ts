import { type WatchFrame, watch } from '../../controller/watch.js'
import type { Context } from '../../controller/world.js'
import type { Stage } from '../../proto/model/host-spec.js'
import type { GlobalOptions } from '../global-options.js'
import { LiveBlock } from '../render/live-block.js'
import { print } from '../render/print.js'
import { styleFor } from '../render/style.js'
import { watchFrame, watchLines } from '../render/watch.js'
import { withFleet } from '../session.js'

export interface WatchCommandOptions {
  stage: Stage[]
  interval: number
  count?: number
}

export async function runWatch(services: string[], options: GlobalOptions & WatchCommandOptions): Promise<void> {
  const ending = new AbortController()
  const end = (): void => ending.abort()
  process.once('SIGINT', end)
  process.once('SIGTERM', end)
  // Nobody reads any more.
  process.stdout.once('error', end)
  const { stage, interval, count } = options
  const plan = { services, stages: stage, intervalMs: interval, count, signal: ending.signal }
  try {
    await withFleet(options, async (context) => {
      if (options.json) await watch(context, plan, (frame) => print(`${JSON.stringify({ type: 'watch', ...frame })}\n`))
      else if (process.stdout.isTTY) await onTerminal(context, plan)
      else {
        const lines = watchLines()
        await watch(context, plan, (frame) => print(lines(frame)))
      }
    })
  } finally {
    process.removeListener('SIGINT', end)
    process.removeListener('SIGTERM', end)
    process.stdout.removeListener('error', end)
  }
  // A connection that is being made to a silent host would keep the process for as long as that takes.
  if (ending.signal.aborted) process.exit(0)
}

async function onTerminal(context: Context, plan: Parameters<typeof watch>[1]): Promise<void> {
  const block = new LiveBlock(process.stdout, { hideCursor: true })
  const style = styleFor(process.stdout)
  const hint = `every ${plan.intervalMs / 1000} s${plan.count === undefined ? ', ctrl-C ends' : ''}`
  let last: WatchFrame | undefined
  let asking = 0
  const draw = (): void => {
    if (asking > 0) return
    const { columns, rows } = block
    block.set(last ? watchFrame(last, { columns, rows: rows - 1, style, hint }) : [style('dim', 'connecting …')])
  }
  const { askSecret } = context.site
  const ask =
    askSecret &&
    (async (question: string): Promise<string> => {
      asking += 1
      block.clear()
      try {
        return await askSecret(question)
      } finally {
        asking -= 1
        draw()
      }
    })
  process.stdout.on('resize', draw)
  try {
    draw()
    await watch({ ...context, site: { ...context.site, askSecret: ask } }, plan, (frame) => {
      last = frame
      draw()
    })
  } finally {
    process.stdout.removeListener('resize', draw)
    block.keep()
  }
}
