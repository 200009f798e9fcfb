/** In which order services move. Pure. */
import type { Service } from '../config/fleet.js'

/** Waves in ascending order; in each, every service after those of it that it names under `after`. */
export function wavesOf(services: readonly Service[]): { wave: number; services: Service[] }[] {
  const waves = [...new Set(services.map((service) => service.wave))].sort((x, y) => x - y)
  return waves.map((wave) => ({ wave, services: inOrder(services.filter((service) => service.wave === wave)) }))
}

/** Each after those that it names; the configuration has refused cycles. */
export function inOrder(services: readonly Service[]): Service[] {
  const ordered: Service[] = []
  const place = (service: Service): void => {
    if (ordered.includes(service)) return
    for (const name of service.after) {
      const before = services.find((other) => other.name === name)
      if (before) place(before)
    }
    ordered.push(service)
  }
  for (const service of services) place(service)
  return ordered
}
