import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'

let turn: Promise<unknown> = Promise.resolve()

/** Asks on the terminal without showing what is typed; several hosts take turns. */
export function askSecret(prompt: string): Promise<string> {
  const asked = turn.then(() => ask(prompt))
  turn = asked.catch(() => {})
  return asked
}

function ask(prompt: string): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const reader = createInterface({ input: process.stdin, output: silent, terminal: true })
  process.stderr.write(prompt)
  return new Promise((resolve, reject) => {
    reader.once('SIGINT', () => {
      reader.close()
      process.stderr.write('\n')
      reject(new Error('interrupted'))
    })
    reader.question('', (answer) => {
      reader.close()
      process.stderr.write('\n')
      resolve(answer)
    })
  })
}
