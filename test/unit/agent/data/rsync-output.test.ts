import { addStats, meaningOf, noStats, parseProgress, parseStat } from '../../../../agent/data/rsync-output.js'

describe('what rsync prints', () => {
  // As 3.5.0 prints it, with --info=progress2 --no-human-readable.
  it.each([
    [
      '        3145728  13%    2.93MB/s    0:00:06 (xfr#1, to-chk=2/5)',
      { bytes: 3145728, percent: 13, bytesPerSecond: 2.93 * 1024 ** 2, filesLeft: 2, filesKnown: 5, counted: true },
    ],
    [
      '              0   0%    0.00kB/s    0:00:00 (xfr#0, ir-chk=1000/1029)',
      { bytes: 0, percent: 0, bytesPerSecond: 0, filesLeft: 1000, filesKnown: 1029, counted: false },
    ],
  ])('progress: %s', (line, progress) => expect(parseProgress(line, null)).toEqual(progress))

  it('progress within a large file keeps the count of files that was told last', () => {
    const within = '        5308419  26%    4.93MB/s    0:00:02  '
    const figures = { bytes: 5308419, percent: 26, bytesPerSecond: 4.93 * 1024 ** 2 }
    expect(parseProgress(within, null)).toEqual({ ...figures, filesLeft: 1, filesKnown: 1, counted: false })
    const before = parseProgress('              3   0%    0.00kB/s    0:00:00 (xfr#1, to-chk=1/3)', null)
    expect(parseProgress(within, before)).toEqual({ ...figures, filesLeft: 1, filesKnown: 3, counted: true })
  })

  it.each(['Number of files: 2 (reg: 1, dir: 1)', 'a 12% file'])('no progress: %s', (line) =>
    expect(parseProgress(line, null)).toBeNull(),
  )

  it('adds the figures of several directories', () => {
    const text = `Number of files: 5 (reg: 3, dir: 2)
Number of created files: 4 (reg: 3, dir: 1)
Number of deleted files: 7 (reg: 7)
Number of regular files transferred: 3
Total file size: 5000000000 bytes
Total transferred file size: 70 bytes
Literal data: 60 bytes
Matched data: 10 bytes
Total bytes sent: 45
Total bytes received: 124
total size is 5000000000  speedup is 0.02`
    const stats = Object.assign({ ...noStats }, ...text.split('\n').map(parseStat))
    const one = {
      files: 5,
      deletedFiles: 7,
      transferredFiles: 3,
      totalBytes: 5e9,
      literalBytes: 60,
      receivedBytes: 124,
    }
    expect(stats).toEqual(one)
    expect(addStats(stats, { ...one, files: 1 })).toMatchObject({ files: 6, literalBytes: 120 })
  })

  const vanished = 'file has vanished: "/x" (in d0)'
  const shrunk = 'rsync: [sender] read errors mapping "/log" (in d0): No data available (61)'
  const summary = 'rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1865)'
  const full = 'rsync: [receiver] write failed on "/x": No space left on device (28)'
  it.each([
    [0, [], 'whole'],
    [24, [vanished], 'whole'],
    [23, [vanished, shrunk, summary], 'changing'],
    [23, ['rsync: [receiver] rsync_xal_set: lsetxattr("x") failed: Operation not supported (95)', summary], 'failed'],
    [12, ['rsync: connection unexpectedly closed'], 'connection'],
    [12, [full], 'failed'],
    [11, [full], 'failed'],
    [10, ['rsync: failed to connect to 10.0.0.1: Connection refused (111)'], 'connection'],
    [20, ['rsync error: received SIGINT, SIGTERM, or SIGHUP (code 20) at io.c(586) [sender=3.5.0]'], 'connection'],
    [5, ['@ERROR: auth failed on module d0'], 'connection'],
    [1, ['rsync: --modify-window=-1: unknown option'], 'failed'],
    [null, [], 'failed'],
  ] as const)('exit code %s with %j: %s', (code, complaints, meaning) =>
    expect(meaningOf(code, complaints)).toBe(meaning),
  )
})
