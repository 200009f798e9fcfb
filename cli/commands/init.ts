import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { type InitPair, init } from '../../controller/discover/init.js'
import { fileProblem } from '../../controller/read-file.js'
import { FleetmoveError } from '../../proto/model/error.js'
import { quote } from '../../proto/parse.js'
import { askSecret } from '../ask-secret.js'
import { initSummary } from '../render/init.js'
import { print } from '../render/print.js'
import { progressFor } from '../render/progress.js'

export interface InitCommandOptions {
  output: string
  become: 'none' | 'sudo'
  force: boolean
  stdin: boolean
  json: boolean
  verbose: boolean
}

export async function runInit(hosts: string[], options: InitCommandOptions): Promise<void> {
  if (options.stdin && hosts.length > 0) throw usage('--stdin reads the hosts, and there are more in the command line')
  const pairs = options.stdin ? pairsOf(await readStdin()) : pairOf(hosts)
  const toStdout = options.output === '-'
  // Before the hosts are asked, too: nobody wants to wait for a refusal.
  const file = toStdout ? undefined : await open(options.output, flags(options.force), 0o644).catch(refuse(options))
  try {
    const progress = progressFor({ json: options.json, verbose: options.verbose })
    const terminal = process.stdin.isTTY && process.stderr.isTTY && !options.stdin
    const { text, draft, refused } = await init({
      pairs,
      become: options.become,
      progress,
      site: { askSecret: terminal ? askSecret : undefined, log: (host, message) => progress.detail(host, message) },
    })
    if (file) {
      await file.truncate(0)
      await file.write(text, 0)
    } else if (!options.json) print(text)
    if (options.json)
      print(`${JSON.stringify({ type: 'result', file: toStdout ? null : options.output, draft, text })}\n`)
    else if (file) print(initSummary(draft, options.output))
    if (refused)
      throw new FleetmoveError('usage', {
        message: `what was written has to be corrected:\n${refused.message}`,
        hint: 'correct it by hand; fleetmove schema prints a JSON Schema with which editors check it',
        cause: refused,
      })
  } catch (error) {
    if (file) await removeEmpty(file, options.output)
    throw error
  } finally {
    await file?.close()
  }
}

const usage = (message: string): FleetmoveError =>
  new FleetmoveError('usage', {
    message,
    hint: 'write fleetmove init OLD NEW, or fleetmove init --stdin with a line OLD NEW for each pair',
  })

function pairOf([old, after, ...more]: string[]): InitPair[] {
  if (old === undefined || after === undefined || more.length > 0)
    throw usage('init needs the SSH destinations of two hosts, the old and the new one')
  return [{ old, new: after }]
}

/** One `OLD NEW` a line; empty lines and what follows a # are passed over. */
function pairsOf(text: string): InitPair[] {
  const pairs = text.split('\n').flatMap((line, i): InitPair[] => {
    const words = line.replace(/#.*/, '').split(/\s+/).filter(Boolean)
    if (words.length === 0) return []
    const [old, after] = words
    if (old === undefined || after === undefined || words.length > 2)
      throw usage(`line ${i + 1} of standard input: found ${quote(line.trim())}, allowed OLD NEW`)
    return [{ old, new: after }]
  })
  if (pairs.length === 0) throw usage('no pair of hosts came from standard input')
  return pairs
}

async function readStdin(): Promise<string> {
  if (process.stdin.isTTY) throw usage('--stdin is given, and standard input is a terminal')
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

const flags = (force: boolean): number => constants.O_WRONLY | constants.O_CREAT | (force ? 0 : constants.O_EXCL)

const refuse =
  ({ output }: InitCommandOptions) =>
  (cause: NodeJS.ErrnoException): never => {
    const there = cause.code === 'EEXIST'
    throw new FleetmoveError('usage', {
      message: there ? `${output} is there already` : `${output || 'the file'} can't be written: ${fileProblem(cause)}`,
      hint: there ? 'give --force to replace it, or another name with -o' : 'name another file with -o',
      cause,
    })
  }

/** What was made for a draft that never came. */
async function removeEmpty(file: Awaited<ReturnType<typeof open>>, path: string): Promise<void> {
  const { rm } = await import('node:fs/promises')
  if ((await file.stat()).size === 0) await rm(path, { force: true })
}
