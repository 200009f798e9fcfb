import type { Command } from 'commander'
import { manPage } from '../man-page.js'
import { print } from '../render/print.js'
import { version } from '../version.js'

export async function runMan(program: Command): Promise<void> {
  print(await manPage(program, version))
}
