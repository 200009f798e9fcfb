import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** MARKER TREE pairs for the boot scripts: fleetmove's own directory and Node, for where / doesn't hold them. */
export function visibleTrees(): string[] {
  const node = nodeBinary()
  const trees = [node, node]
  // A single executable has no script.
  const script = process.argv[1] ?? node
  let dir = dirname(existsSync(script) ? realpathSync(script) : node)
  while (dir !== dirname(dir)) {
    const manifest = join(dir, 'package.json')
    if (existsSync(manifest) && (JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string }).name === 'fleetmove')
      return [...trees, manifest, dir]
    dir = dirname(dir)
  }
  return trees
}

/** The file that runs this process. */
export function nodeBinary(): string {
  return realpathSync(process.execPath)
}
