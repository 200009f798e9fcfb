import { fleetSchema } from '../../controller/config/fleet-schema.js'
import { print } from '../render/print.js'

export function runSchema(): void {
  print(`${JSON.stringify(fleetSchema(), null, 2)}\n`)
}
