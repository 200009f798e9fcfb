// `npm ci` refuses a lock file in which a package names optional dependencies that the registry
// does not have for every platform ("Missing: … from lock file"). Drops the names without an entry.
import { readFileSync, writeFileSync } from 'node:fs'

const path = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(path, 'utf8'))
const hasEntry = (parent, name) =>
  lock.packages[`${parent}/node_modules/${name}`] !== undefined || lock.packages[`node_modules/${name}`] !== undefined

let dropped = 0
for (const [parent, entry] of Object.entries(lock.packages)) {
  for (const name of Object.keys(entry.optionalDependencies ?? {})) {
    if (hasEntry(parent, name)) continue
    delete entry.optionalDependencies[name]
    dropped++
  }
  if (entry.optionalDependencies && Object.keys(entry.optionalDependencies).length === 0)
    delete entry.optionalDependencies
}
if (dropped > 0) writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
console.log(`package-lock.json: ${dropped} names without an entry dropped`)
