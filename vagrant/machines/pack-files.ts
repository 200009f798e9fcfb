/** What a virtual machine is given over SSH, in one archive. */
import { spawn } from 'node:child_process'
import { dirname } from 'node:path'
import type { HostFile } from '../../cli/lab/host-files.js'
import { writeBelow } from '../host-set-up.js'

export const node = '/usr/local/bin/node'
export const tree = '/opt/fleetmove'

/** Vagrant's own user is root by a file in that directory. */
export const withVagrant = (sudoers: HostFile): HostFile => ({
  ...sudoers,
  text: `${sudoers.text}@includedir /etc/sudoers.d\n`,
})

/** Shell: home directories of users that the account files name are theirs. */
export function ownersOf({ path, uid = 0 }: HostFile): string {
  const home = /^\/(?:home\/[^/]+|root)(?=\/\.ssh\/)/.exec(path)?.[0]
  return home ? `chmod 700 ${home}/.ssh; chown -R ${uid}:${uid} ${home}\n` : ''
}

/**
 * One archive, since every command costs an emulated processor a second: a host's files, without the directories,
 * which stay as they are where there are some.
 * @param directory is made for it
 * @param repository whose dist/ and load program, and Node, are put in, too
 */
export async function packFiles(directory: string, files: readonly HostFile[], repository?: string): Promise<Buffer> {
  await writeBelow(
    directory,
    files.map(({ path, text, mode }) => ({ path, text, ...(mode === undefined ? {} : { mode }) })),
  )
  const more = ['dist', 'test/load', 'test/e2e/fixtures', 'package.json']
  const script = `set -eu
    if [ "$2" ]; then
      mkdir -p "$1${tree}" "$1${dirname(node)}"
      tar -C "$2" -cf - ${more.join(' ')} | tar -C "$1${tree}" -xf -
      cp "$3" "$1${node}"; chmod 755 "$1${node}"
    fi
    cd "$1"
    find . ! -type d -print0 |
      tar --null --no-recursion --numeric-owner --owner=0 --group=0 --use-compress-program='gzip -1' -cf - -T -`
  return outputOf('sh', ['-c', script, 'sh', directory, repository ?? '', process.execPath])
}

function outputOf(command: string, args: readonly string[]): Promise<Buffer> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) =>
      code === 0 ? resolve(Buffer.concat(chunks)) : reject(new Error(`${command}: ${code}`)),
    )
  })
}
