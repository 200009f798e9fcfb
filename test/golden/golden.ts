import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Compares with the file of that name; with UPDATE_GOLDEN=1 writes it. */
export function expectGolden(name: string, text: string): void {
  const path = join(__dirname, name)
  if (process.env.UPDATE_GOLDEN) writeFileSync(path, text)
  expect(text).toBe(readFileSync(path, 'utf8'))
}
