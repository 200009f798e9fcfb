import { bearLostOutput } from '../../../../cli/render/lost-output.js'

const lose = (code: string): boolean => process.stdout.emit('error', Object.assign(new Error('write'), { code }))

afterEach(() => {
  process.exitCode = 0
})

test('a reader that goes away changes nothing; a full disk is told once, and ends with 1', () => {
  bearLostOutput()
  bearLostOutput()
  let said = ''
  const spy = jest.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
    said += String(chunk)
    return true
  })
  const before = process.exitCode
  lose('EPIPE')
  expect([said, process.exitCode]).toEqual(['', before])
  lose('ENOSPC')
  lose('ENOSPC')
  spy.mockRestore()
  expect(said.match(/^error: standard output can't be written: no space is left/gm)).toHaveLength(1)
  expect(process.exitCode).toBe(1)
})
