/**
 * The agent's one executable: `serve` is the daemon, `dial` joins an SSH session to its socket, `hold` keeps
 * packets waiting in a process of its own, `connections` writes down who came, `redirect` answers for a web service
 * that has left, `plan` foresees what an agent would do elsewhere. Each loads only what it needs.
 */
async function main(argv: readonly string[]): Promise<number> {
  const [verb, ...rest] = argv
  switch (verb) {
    case 'dial':
      return (await import('./dial.js')).dial(rest)
    case 'serve':
      return (await import('./serve.js')).serve()
    case 'hold':
      return (await import('./hold/holder.js')).holdPackets(rest)
    case 'connections':
      return (await import('./connections/recorder.js')).recordConnections(rest)
    case 'redirect':
      return (await import('./redirect/responder.js')).redirect(rest)
    case 'plan':
      return (await import('./plan-offline.js')).planOffline()
    default:
      process.stderr.write('usage: agent serve | dial [--check SECONDS]\n')
      return 64
  }
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: Error) => {
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  },
)
