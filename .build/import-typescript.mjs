// TypeScript of this repository's tests and networks, bundled for the process that asks.
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { optionalAddons } from './optional-addons.mjs'
import { root } from './prepare.mjs'

/**
 * Only after `installPackages`: esbuild is one of them.
 * @param source what an entry point would say, seen from the root of the repository
 */
export async function importTypeScript(source) {
  const { build } = await import('esbuild')
  // Inside the package, which is what practice hosts see of this machine.
  const file = join(root, 'node_modules', `.fleetmove-${process.pid}.mjs`)
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir: root },
    // What it shares with jest's tests asks where it is.
    define: { __dirname: JSON.stringify(join(root, 'test', 'load')) },
    bundle: true,
    external: optionalAddons,
    // Packages with CommonJS inside ask for it.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
    platform: 'node',
    target: 'node20',
    format: 'esm',
    write: false,
    logLevel: 'warning',
  })
  await writeFile(file, outputFiles[0].contents)
  try {
    return await import(pathToFileURL(file).href)
  } finally {
    await rm(file, { force: true })
  }
}
