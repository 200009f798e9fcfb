/** When a process that redirects is ready: it answers as it will answer clients. */
import { request } from 'node:http'
import type { Redirect } from '../../proto/model/host-spec.js'
import type { ProcessSpec } from '../plan/desired.js'
import { isRedirect } from '../plan/redirects.js'

const answerTimeout = 1_000

/** What such a process was started with; null for every other one. */
export const redirectOf = ({ name, config }: ProcessSpec): Redirect | null =>
  isRedirect(name) && config ? (JSON.parse(config.content) as Redirect) : null

/** Asked by the loopback, where the rules let it in. */
export function isRedirectReady({ port }: Redirect): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request({ host: '127.0.0.1', port, method: 'HEAD', agent: false, timeout: answerTimeout })
    asked.once('response', (response) => {
      response.resume()
      resolve(response.statusCode === 308)
    })
    asked.once('timeout', () => asked.destroy())
    asked.once('error', () => resolve(false))
    asked.end()
  })
}
