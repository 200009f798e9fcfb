import { isFailure, type Proof, type Verification } from '../../controller/verify.js'
import { hostPort } from '../../proto/model/address.js'
import { styleFor } from './style.js'
import { table } from './table.js'

/** @param all every proof; otherwise failures, and what couldn't be tested. */
export function verificationText({ proofs }: Verification, { all }: { all: boolean }): string {
  const style = styleFor(process.stdout)
  const shown = proofs.filter((proof) => all || proof.verdict.kind !== 'preserved')
  const rows = shown.map((proof) => [
    proof.verdict.kind,
    proof.service,
    `${proof.protocol} ${hostPort(proof.address, proof.port)}`,
    `by ${proof.ingress}`,
    `from ${proof.prober}`,
    size(proof),
    proof.verdict.cause,
  ])
  const bad = proofs.filter((proof) => isFailure(proof.verdict)).length
  const preserved = proofs.filter((proof) => proof.verdict.kind === 'preserved').length
  const verdict =
    bad === 0 ? style('green', 'The path works and source addresses survive') : style('red', `${bad} proofs failed`)
  return `${table(rows)}${verdict}: ${preserved} of ${proofs.length} proofs.\n`
}

const size = ({ what, bytes }: Proof): string =>
  ({ probe: `${bytes} B each way`, listener: 'the service', relay: 'relays?' })[what]
