/** One end of a path measurement, as a program that the test starts inside a namespace. */
import { measurePath, reflect } from '../../agent/path.js'
import type { Ip } from '../../proto/model/address.js'
import { FleetmoveError } from '../../proto/model/error.js'

const token = Buffer.from('0123456789abcdef')
const print = (value: unknown): void => console.log(JSON.stringify(value))

const main = async ([role, port, remote, timeoutMs]: string[]): Promise<void> => {
  const common = { port: Number(port), token }
  if (role === 'measure')
    return print(await measurePath({ ...common, remote: remote as Ip, timeoutMs: Number(timeoutMs) }))
  await reflect({
    ...common,
    signal: new AbortController().signal,
    onReady: () => print('ready'),
    onDatagram: (from, bytes) => print({ from, bytes }),
  })
}

main(process.argv.slice(2)).catch((error: unknown) =>
  print(
    error instanceof FleetmoveError ? { code: error.code, message: error.message, hint: error.hint } : String(error),
  ),
)
