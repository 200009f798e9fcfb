// `npm run build`: leaves dist/, where node dist/cli/main.js is fleetmove. Bundled rather than compiled
// file by file: one file a command starts in half the time.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { bundleAgent } from './bundle-agent.mjs'
import { lean, leanPlugins } from './lean.mjs'
import { optionalAddons } from './optional-addons.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

const generated = spawnSync(join(root, 'node_modules/.bin/buf'), ['generate', '.', '--template', 'buf.gen.yaml'], {
  cwd: join(root, 'proto'),
  stdio: ['ignore', 'inherit', 'inherit'],
})
if (generated.status !== 0) process.exit(generated.status ?? 1)

// Another place lets a build stand beside one that is in use.
const dist = process.env.FLEETMOVE_DIST ?? join(root, 'dist')
await rm(dist, { recursive: true, force: true })
await bundleAgent(join(dist, 'agent'))
await mkdir(join(dist, 'cli'), { recursive: true })
await build({
  entryPoints: [join(root, 'cli/main.ts')],
  outdir: join(dist, 'cli'),
  bundle: true,
  splitting: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  // Packages with CommonJS inside ask for these: ssh2 loads an optional addon and its WebAssembly by them.
  banner: {
    js: [
      "import { createRequire as __createRequire } from 'node:module';",
      "import { fileURLToPath as __fileURLToPath } from 'node:url';",
      'const require = __createRequire(import.meta.url);',
      'const __filename = __fileURLToPath(import.meta.url);',
      "const __dirname = __filename.slice(0, __filename.lastIndexOf('/'));",
    ].join(' '),
  },
  define: { FLEETMOVE_VERSION: JSON.stringify(version) },
  external: optionalAddons,
  sourcemap: true,
  legalComments: 'none',
  logLevel: 'warning',
  plugins: leanPlugins,
  ...lean,
})
await chmod(join(dist, 'cli/main.js'), 0o755)
// From the commands themselves, so that it is never behind them.
const man = spawnSync(process.execPath, [join(dist, 'cli/main.js'), 'man'], { encoding: 'utf8' })
if (man.status !== 0) {
  process.stderr.write(man.stderr)
  process.exit(man.status ?? 1)
}
await writeFile(join(dist, 'fleetmove.1'), man.stdout)
