import { isFailure, verify } from '../../controller/verify.js'
import type { GlobalOptions } from '../global-options.js'
import { print } from '../render/print.js'
import { verificationText } from '../render/verification.js'
import { withFleet } from '../session.js'

export async function runVerify(names: string[], options: GlobalOptions): Promise<void> {
  const result = await withFleet(options, (context) => verify(context, names))
  if (options.json) print(`${JSON.stringify({ type: 'result', ...result })}\n`)
  else print(verificationText(result, { all: true }))
  if (result.proofs.some((proof) => isFailure(proof.verdict))) process.exitCode = 5
}
