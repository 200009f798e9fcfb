import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ledger, type LedgerBody } from '../../../agent/ledger.js'
import { FleetmoveError } from '../../../proto/model/error.js'
import { spec, tunnel } from './plan/specs.js'

const empty: LedgerBody = { confirmed: null, trial: null, found: {}, generation: 0, gaps: [] }
const full: LedgerBody = {
  confirmed: spec([tunnel(1)], [], 7),
  trial: { spec: spec([], [], 8), deadline: 1_800_000_000_000, bootId: 'b' },
  found: { 'net.ipv4.conf.eth0.forwarding': '0' },
  generation: 8,
  gaps: [],
}

describe('Ledger', () => {
  let directory: string
  let path: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'ledger-'))
    path = join(directory, 'state', 'ledger')
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  const saved = async (): Promise<string> => {
    await (await Ledger.open(path)).save(full)
    return readFileSync(path, 'utf8')
  }
  const errorOf = async (work: Promise<unknown>): Promise<FleetmoveError> => {
    const caught = await work.then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(caught).toBeInstanceOf(FleetmoveError)
    const error = caught as FleetmoveError
    expect(error.code).toBe('ledger')
    expect(error.message).toContain(path)
    expect(error.hint).toBeTruthy()
    return error
  }

  it('is empty where there is none, and makes nothing by being opened', async () => {
    expect((await Ledger.open(path)).current).toEqual(empty)
    expect(readdirSync(directory)).toEqual([])
  })

  it('keeps everything, for root alone', async () => {
    await saved()
    expect((await Ledger.open(path)).current).toEqual(full)
    expect([statSync(path).mode & 0o777, statSync(join(path, '..')).mode & 0o777]).toEqual([0o600, 0o700])
    expect(readdirSync(join(path, '..'))).toEqual(['ledger'])
  })

  it('changes only what it is told to', async () => {
    await saved()
    await (await Ledger.open(path)).save({ trial: null })
    expect((await Ledger.open(path)).current).toEqual({ ...full, trial: null })
  })

  it('is empty again when it is forgotten, once or twice', async () => {
    await saved()
    const ledger = await Ledger.open(path)
    await ledger.forget()
    await ledger.forget()
    expect(ledger.current).toEqual(empty)
    expect(existsSync(path)).toBe(false)
  })

  describe('refuses to read', () => {
    const cases: [string, (text: string) => string, RegExp][] = [
      ['a torn file', (text) => text.slice(0, text.length / 2), /is torn/],
      ['a file without its body', (text) => text.split('\n')[0]!, /is torn/],
      ['a changed body', (text) => text.replace('"generation":8', '"generation":9'), /is torn/],
      ['a changed checksum', (text) => text.replace(/ [0-9a-f]{8}/, ' 00000000'), /is torn/],
      ['an empty file', () => '', /is not a ledger of this version/],
      ['zeros, as a crash leaves them', (text) => '\0'.repeat(text.length), /is not a ledger of this version/],
      ['a foreign file', () => '{"confirmed":null}\n', /is not a ledger of this version/],
      [
        'another version',
        (text) => text.replace('fleetmove-ledger-1', 'fleetmove-ledger-2'),
        /is not a ledger of this version/,
      ],
      [
        'a longer version number',
        (text) => text.replace('fleetmove-ledger-1', 'fleetmove-ledger-10'),
        /is not a ledger of this version/,
      ],
    ]
    it.each(cases)('%s, and leaves it as it is', async (_, spoil, message) => {
      const text = spoil(await saved())
      writeFileSync(path, text)
      const error = await errorOf(Ledger.open(path))
      expect(error.message).toMatch(message)
      expect(error.hint).toContain('move it away')
      expect(readFileSync(path, 'utf8')).toBe(text)
    })

    it('a file that others can have written, or a link to one', async () => {
      await saved()
      chmodSync(path, 0o620)
      expect((await errorOf(Ledger.open(path))).message).toContain('may have been written by others')
      chmodSync(path, 0o600)
      renameSync(path, `${path}.real`)
      symlinkSync(`${path}.real`, path)
      expect((await errorOf(Ledger.open(path))).message).toContain('ELOOP')
    })

    it('a file of another user', async () => {
      if (process.getuid?.() !== 0) return console.warn('Skipped: only root can give a file away')
      await saved()
      chownSync(path, 65534, 65534)
      expect((await errorOf(Ledger.open(path))).message).toContain('belongs to user 65534')
    })

    it('a directory', async () => {
      mkdirSync(path, { recursive: true })
      expect((await errorOf(Ledger.open(path))).message).toContain('EISDIR')
    })
  })

  it('writes what its own words say: format, SHA-256, body', async () => {
    const [head, body] = (await saved()).split('\n') as [string, string]
    expect(head).toBe(`fleetmove-ledger-1 ${createHash('sha256').update(body).digest('hex')}`)
  })

  it('does not write through a link that lies where it writes first', async () => {
    await saved()
    const victim = join(directory, 'victim')
    writeFileSync(victim, 'precious')
    symlinkSync(victim, `${path}.new`)
    await (await Ledger.open(path)).save({ generation: 9 })
    expect(readFileSync(victim, 'utf8')).toBe('precious')
    expect((await Ledger.open(path)).current.generation).toBe(9)
    expect(statSync(path).isFile()).toBe(true)
  })

  it('takes over from a save that was killed', async () => {
    await saved()
    writeFileSync(`${path}.new`, 'half a led')
    expect((await Ledger.open(path)).current).toEqual(full)
    await (await Ledger.open(path)).save({ generation: 9 })
    expect((await Ledger.open(path)).current.generation).toBe(9)
  })

  it('that cannot be written changes nothing, neither the file nor what it says', async () => {
    const text = await saved()
    const ledger = await Ledger.open(path)
    mkdirSync(join(`${path}.new`, 'in the way'), { recursive: true })
    const error = await errorOf(ledger.save({ generation: 9 }))
    expect(error.message).toContain('nothing was changed')
    expect(error.hint).toContain('writable')
    expect(ledger.current).toEqual(full)
    expect(readFileSync(path, 'utf8')).toBe(text)
  })

  it('says so where the file system takes no files', async () => {
    // Not even root makes a file in /sys.
    path = '/sys/fleetmove/ledger'
    const ledger = await Ledger.open(path)
    await errorOf(ledger.save(full))
    expect(ledger.current).toEqual(empty)
  })
})
