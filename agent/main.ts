/** The agent's one executable: `serve` is the daemon, `dial` joins an SSH session to its socket. */
import { dial } from './dial.js'
import { serve } from './serve.js'

async function main(argv: readonly string[]): Promise<number> {
  const [verb, ...rest] = argv
  if (verb === 'dial') return dial(rest)
  if (verb === 'serve') return serve()
  process.stderr.write('usage: agent serve | dial [--check SECONDS]\n')
  return 64
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: Error) => {
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  },
)
