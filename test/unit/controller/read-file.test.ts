import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileProblem, readAtMost } from '../../../controller/read-file.js'

test.each([
  ['ENOENT', 'there is no such file or directory'],
  ['EISDIR', 'it is a directory'],
  ['EACCES', 'permission denied'],
  ['EROFS', 'the file system is read-only'],
  ['ENOTSUP', 'as Node says it'],
])('%s is told in words', (code, words) => {
  expect(fileProblem(Object.assign(new Error('as Node says it'), { code }))).toBe(words)
})

test('a file is read whole, or as far as is needed to know that it is too large', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'read-file-'))
  const path = join(scratch, 'file')
  try {
    writeFileSync(path, 'x'.repeat(200_000))
    expect((await readAtMost(path, 200_000)).toString()).toBe('x'.repeat(200_000))
    expect(await readAtMost(path, 70_000)).toHaveLength(70_001)
    expect(await readAtMost('/dev/zero', 10)).toHaveLength(11)
    await expect(readAtMost(scratch, 10)).rejects.toMatchObject({ code: 'EISDIR' })
  } finally {
    rmSync(scratch, { recursive: true })
  }
})
