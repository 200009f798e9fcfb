/** Prints this host's tunnel identity, as a program that the test starts inside a namespace. */
import { type IdentityKind, identity } from '../../agent/identity.js'

identity(process.argv[2] as IdentityKind, '/var/lib/fleetmove/keys').then(
  (half) => process.stdout.write(half),
  (error: Error) => {
    console.error(error)
    process.exitCode = 1
  },
)
