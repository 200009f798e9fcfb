// Bundles the agent: one CommonJS file, and netlink's addons for the architectures that hosts have.
// Use: node .build/bundle-agent.mjs; leaves dist/agent/{agent.cjs,netlink-x64.node,netlink-arm64.node}.
import { readFileSync } from 'node:fs'
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { lean, leanPlugins } from './lean.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))

// netlink finds its addon through its own package directory, which a bundle doesn't have. On a host the
// addon lies beside agent.cjs as netlink.node; in dist/agent it bears the name of its architecture.
const addon = `
const { existsSync } = require('node:fs')
const { join } = require('node:path')
const names = ['netlink.node', 'netlink-' + process.arch + '.node']
module.exports = () => {
  const path = names.map((name) => join(__dirname, name)).find((candidate) => existsSync(candidate))
  if (path === undefined) throw new Error('no netlink addon for ' + process.arch + ' beside ' + __filename)
  const loaded = { exports: {} }
  process.dlopen(loaded, path)
  return loaded.exports
}
`

/** @type {import('esbuild').Plugin} */
export const netlinkAddon = {
  name: 'netlink-addon',
  setup(build) {
    build.onResolve({ filter: /^node-gyp-build$/ }, () => ({ path: 'netlink-addon', namespace: 'netlink-addon' }))
    build.onLoad({ filter: /.*/, namespace: 'netlink-addon' }, () => ({ contents: addon, loader: 'js' }))
  },
}

export const bundleAgent = async (outdir = join(root, 'dist', 'agent'), entry = join(root, 'agent', 'main.ts')) => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  await mkdir(outdir, { recursive: true })
  await build({
    entryPoints: [entry],
    outfile: join(outdir, 'agent.cjs'),
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    define: { FLEETMOVE_VERSION: JSON.stringify(version) },
    legalComments: 'none',
    logLevel: 'warning',
    plugins: [netlinkAddon, ...leanPlugins],
    ...lean,
  })
  for (const arch of ['x64', 'arm64'])
    await copyFile(
      join(root, 'node_modules/netlink/prebuilds', `linux-${arch}`, 'node.napi.node'),
      join(outdir, `netlink-${arch}.node`),
    )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundleAgent()
