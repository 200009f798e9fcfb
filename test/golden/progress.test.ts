/** What a person sees of a run: on a terminal while it goes on, and in a pipe. */
import { lineProgress, liveProgress } from '../../cli/render/progress.js'
import type { Progress } from '../../controller/progress.js'
import { expectGolden } from './golden.js'
import { TerminalScreen } from './terminal-screen.js'

const style = (_format: unknown, text: string): string => text

beforeEach(() => void jest.useFakeTimers())
afterEach(() => void jest.useRealTimers())

/** Two hosts side by side, a copy that takes its time, and a failure. */
function play(progress: Progress, look: (what: string) => void): void {
  const [old1, new1] = [progress.begin('old1', 'agent'), progress.begin('new1', 'agent')]
  jest.advanceTimersByTime(1200)
  look('two hosts at work')
  old1('26.1 MB sent, started')
  progress.detail('old1', 'add link fm1')
  jest.advanceTimersByTime(300)
  new1('nothing sent, runs already')
  const copy = progress.begin('mail', 'copy data while it runs, to new1')
  for (const gigabytes of [1, 2, 3]) {
    jest.advanceTimersByTime(30_000)
    copy.update(
      `/var/spool/postfix: ${gigabytes}.0 GB, 33.3 MB/s, 900 of 1200 files left, ${60 - gigabytes * 10} s left at most`,
    )
  }
  jest.advanceTimersByTime(100)
  look('a long copy')
  progress.note('mail', 'the last difference may take 9 s of the 15 s of hold')
  copy('1200 of 1200 files')
  const verify = progress.begin('mail', 'verify')
  jest.advanceTimersByTime(5000)
  verify('failed: 1 of 12 proofs')
  look('the end')
}

test.each([80, 40])('on a terminal of %d columns', (columns) => {
  const screen = new TerminalScreen(columns, 24)
  const progress = liveProgress({ screen, style, live: true }, false)
  let seen = ''
  play(progress, (what) => {
    seen += `--- ${what}\n${screen.text()}`
  })
  progress.close()
  expectGolden(`terminal/progress-${columns}.txt`, seen)
})

test('in a pipe, with -v', () => {
  let text = ''
  play(lineProgress({ screen: { write: (part: string) => (text += part) }, style, live: false }, true), () => {})
  expectGolden('terminal/progress-pipe.txt', text)
})

test('more phases than lines are counted', () => {
  const screen = new TerminalScreen(80, 24)
  const progress = liveProgress({ screen, style, live: true }, false)
  for (let i = 1; i <= 40; i++) progress.begin(`host${i}`, 'agent')
  expect(screen.window().filter((line) => line !== '')).toHaveLength(11)
  expect(screen.text()).toContain('… and 30 more')
  progress.close()
  expect(screen.text()).toBe('\n')
})

test('a question is not written over', async () => {
  const screen = new TerminalScreen(80, 24)
  const progress = liveProgress({ screen, style, live: true }, false)
  const end = progress.begin('old1', 'connect')
  await progress.aside(async () => {
    screen.write('Password: ')
    jest.advanceTimersByTime(1000)
    expect(screen.text()).toBe('Password:\n')
    screen.write('\n')
  })
  end()
  expect(screen.text()).toContain('✓   1.0 s  old1')
})
