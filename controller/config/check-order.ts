import { quote } from '../../proto/parse.js'
import type { Draft } from './draft.js'
import { foundAllowed, type Problem } from './problem.js'

/** `after`: services that are there, in no later wave, and no circle of them. */
export function checkOrder({ services }: Draft): Problem[] {
  const names = [...services.keys()]
  const problems: Problem[] = []
  for (const [name, { after = [], wave }] of services) {
    after.forEach((other, i) => {
      const earlier = services.get(other)
      const report = (text: string) => problems.push({ path: ['services', name, 'after', i], at: 'value', text })
      if (earlier === undefined) {
        const candidates = names.filter((it) => it !== name)
        const allowed = candidates.length === 0 ? 'another service' : `one of the services ${candidates.join(', ')}`
        report(foundAllowed(quote(other), allowed, { text: other, candidates }))
      } else if (wave !== undefined && earlier.wave !== undefined && earlier.wave > wave) {
        const found = `${quote(other)}, which moves in wave ${earlier.wave}`
        report(foundAllowed(found, `a service of wave ${wave} or earlier`))
      }
    })
  }
  return [...problems, ...circles(services)]
}

/** Every circle that a walk along `after` runs into, told where it closes. */
function circles(services: Draft['services']): Problem[] {
  const problems: Problem[] = []
  const done = new Set<string>()
  const visit = (name: string, way: string[]) => {
    if (done.has(name)) return
    for (const [i, other] of (services.get(name)?.after ?? []).entries()) {
      const start = [...way, name].indexOf(other)
      if (start === -1) visit(other, [...way, name])
      else {
        const circle = [...way, name, other].slice(start).join(' after ')
        const text = foundAllowed(`a circle, ${circle}`, 'an order that some service can begin')
        problems.push({ path: ['services', name, 'after', i], at: 'value', text })
      }
    }
    done.add(name)
  }
  for (const name of services.keys()) visit(name, [])
  return problems
}
