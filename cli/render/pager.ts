/** A result that is longer than the terminal is shown by a pager, as git and systemctl do. */
import { spawn } from 'node:child_process'

/** Prints where it fits, or there is no terminal, or no pager. */
export async function page(text: string): Promise<void> {
  const lines = text.split('\n').length - 1
  const fits = !process.stdout.isTTY || !process.stdin.isTTY || lines < (process.stdout.rows ?? 24)
  if (fits || !(await paged(text))) process.stdout.write(text)
}

function paged(text: string): Promise<boolean> {
  const pager = process.env.PAGER ?? 'less'
  if (pager === '' || pager === 'cat') return Promise.resolve(false)
  return new Promise((resolve) => {
    // less: leave at once what fits, keep colours, and leave the last page on the screen.
    const env = { ...process.env, LESS: process.env.LESS ?? 'FRX' }
    const child = spawn('/bin/sh', ['-c', pager], { stdio: ['pipe', 'inherit', 'inherit'], env })
    // Whoever quits it early has seen enough.
    child.stdin.on('error', () => {})
    child.once('error', () => resolve(false))
    // sh ends with 127 where there is no such program.
    child.once('close', (code) => resolve(code !== 127))
    child.stdin.end(text)
  })
}
