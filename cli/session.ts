/** What every command that works on a fleet shares: the file, progress, secrets, the time limit. */

import { loadFleet } from '../controller/config/load-fleet.js'
import type { Context } from '../controller/world.js'
import { FleetmoveError } from '../proto/model/error.js'
import { askSecret } from './ask-secret.js'
import type { GlobalOptions } from './global-options.js'
import { progressFor } from './render/progress.js'

/** How long an agent waits for our confirmation: long enough for a check over a slow line. */
const defaultConfirmMs = 60_000

/** Loads the fleet and runs `use` within the time that the operator gave. */
export async function withFleet<T>(options: GlobalOptions, use: (context: Context) => Promise<T>): Promise<T> {
  const fleet = await loadFleet(options.file)
  const progress = progressFor({ json: options.json, verbose: options.verbose })
  const context: Context = {
    fleet,
    progress,
    confirmWithinMs: options.confirmTimeout ?? defaultConfirmMs,
    site: {
      askSecret:
        process.stdin.isTTY && process.stderr.isTTY
          ? (question) => progress.aside(() => askSecret(question))
          : undefined,
      log: (host, message) => progress.detail(host, message),
      call: (host, name) => progress.call(host, name),
    },
  }
  try {
    return await (options.timeout === undefined ? use(context) : within(options.timeout, use(context)))
  } finally {
    progress.close()
  }
}

/** What is on trial when the time is over is undone by the agents alone. */
function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(
        new FleetmoveError('timeout', {
          message: `not done within the ${ms / 1000} s of --timeout`,
          hint: 'run the command again: it goes on where it was; what was on trial is undone by the hosts themselves',
        }),
      )
    }, ms)
  })
  return Promise.race([work, over]).finally(() => clearTimeout(timer))
}
