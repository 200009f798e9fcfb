// `npm run package [-- x64|arm64…]`: fleetmove as one executable file for each architecture, in dist/package, with
// SHA256SUMS. Each is this version of Node with fleetmove, and the agent for hosts of both kinds, inside.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { lean, leanPlugins } from './lean.mjs'
import { build as buildDist, giveUp, installPackages, root } from './prepare.mjs'

const say = (text) => console.log(text)
const gnuName = { x64: 'x86_64', arm64: 'aarch64' }
const wanted = process.argv.length > 2 ? process.argv.slice(2) : ['x64', 'arm64']
for (const arch of wanted) if (!['x64', 'arm64'].includes(arch)) giveUp(`There is no ${arch}: x64 and arm64.`)
installPackages(say)
buildDist(say)

const { inject } = createRequire(import.meta.url)('postject')
const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
const dist = process.env.FLEETMOVE_DIST ?? join(root, 'dist')
const out = join(dist, 'package')
/** The blob takes a whole number of these: releases with the same Node then differ in it alone (single-executable.ts). */
const blobStep = 8 * 1024 * 1024

/** ssh2 does without these; an executable that looked for them on the disk would warn of it. */
const absentAddons = {
  name: 'absent-addons',
  setup(build) {
    build.onResolve({ filter: /^cpu-features$|\/sshcrypto\.node$/ }, ({ path }) => ({ path, namespace: 'absent' }))
    build.onLoad({ filter: /.*/, namespace: 'absent' }, ({ path }) => ({
      contents: `throw new Error('${path} is not in the executable')`,
    }))
  },
}

const scratch = await mkdtemp(join(tmpdir(), 'fleetmove-package-'))
try {
  await mkdir(out, { recursive: true })
  const program = join(scratch, 'fleetmove.cjs')
  await bundle(program)
  const sums = []
  for (const arch of wanted) {
    const name = `fleetmove-linux-${arch}`
    const file = join(scratch, name)
    await copyFile(await nodeBinary(arch), file)
    await chmod(file, 0o755)
    strip(file, arch)
    await inject(file, 'NODE_SEA_BLOB', await blob(program, arch), {
      // Put together, since the whole word must be in an executable once.
      sentinelFuse: ['NODE_SEA', 'FUSE_fce680ab2cc467b6e072b8b5df1996b2'].join('_'),
    })
    if (arch === process.arch) tryOut(file)
    await copyFile(file, join(out, `${name}.new`))
    await rename(join(out, `${name}.new`), join(out, name))
    const bytes = await readFile(file)
    sums.push(`${createHash('sha256').update(bytes).digest('hex')}  ${name}\n`)
    say(`${join(out, name)}: ${(bytes.length / 1e6).toFixed(0)} MB`)
  }
  await writeFile(join(out, 'SHA256SUMS'), sums.join(''))
} finally {
  await rm(scratch, { recursive: true, force: true })
}

/** A single executable runs one CommonJS file; `import.meta.url` has no meaning there but where the executable is. */
function bundle(outfile) {
  return build({
    entryPoints: [join(root, 'cli/single.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    banner: { js: "const __moduleUrl = require('node:url').pathToFileURL(process.execPath).href;" },
    define: { FLEETMOVE_VERSION: JSON.stringify(version), 'import.meta.url': '__moduleUrl' },
    plugins: [absentAddons, ...leanPlugins],
    ...lean,
    legalComments: 'none',
    logLevel: 'warning',
  })
}

/** This process's own binary, or the same version's from the npm package for the other architecture. */
async function nodeBinary(arch) {
  if (arch === process.arch && !process.config.variables.node_shared) return process.execPath
  const spec = `node-linux-${arch}@${process.versions.node}`
  say(`Fetching ${spec}`)
  const packed = execFileSync('npm', ['pack', '--silent', '--ignore-scripts', spec], { cwd: scratch, encoding: 'utf8' })
  execFileSync('tar', ['-xzf', packed.trim().split('\n').at(-1), 'package/bin/node'], { cwd: scratch })
  const path = join(scratch, `node-${arch}`)
  await rename(join(scratch, 'package', 'bin', 'node'), path)
  return path
}

/** Symbols are an eighth of the file; without a tool that knows the architecture they stay. */
function strip(file, arch) {
  const tools = arch === process.arch ? ['strip', 'llvm-strip'] : ['llvm-strip', `${gnuName[arch]}-linux-gnu-strip`]
  if (!tools.some((tool) => spawnSync(tool, [file]).status === 0))
    say(`Not stripped: none of ${tools.join(', ')} is here`)
}

/** What postject puts in; zeros behind it, at which Node doesn't look. */
async function blob(program, arch) {
  const output = join(scratch, 'blob')
  const names = ['agent.cjs', 'netlink-x64.node', 'netlink-arm64.node']
  const config = {
    main: program,
    output,
    disableExperimentalSEAWarning: true,
    // Code that V8 has compiled is good for its own architecture only.
    useCodeCache: arch === process.arch,
    assets: Object.fromEntries(names.map((name) => [name, join(dist, 'agent', name)])),
  }
  await writeFile(join(scratch, 'sea.json'), JSON.stringify(config))
  execFileSync(process.execPath, ['--experimental-sea-config', join(scratch, 'sea.json')], { stdio: 'pipe' })
  const bytes = await readFile(output)
  return Buffer.concat([bytes, Buffer.alloc(blobStep - (bytes.length % blobStep))])
}

function tryOut(file) {
  const said = execFileSync(file, ['--version'], { encoding: 'utf8' }).trim()
  if (said !== version) giveUp(`The executable says ${said} in place of ${version}.`)
}
