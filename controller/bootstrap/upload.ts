import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { RootAccess } from '../ssh/become.js'
import { archiveOf, cacheDirectory, forgetArchive } from './archive-cache.js'
import { checksums, type Payload } from './payload.js'
import { libraryDirectory } from './remote-paths.js'

const checkTimeoutMs = 60_000
/** 44 MB in this time is 75 kB/s: slower than that nobody wants to wait. */
const uploadTimeoutMs = 600_000

/** Exit codes of the script that tell its failures apart. */
const badChecksum = 81
const doesNotRun = 82

/** The checksum of the runtime's 100 MB takes the host 0.7 s. */
const thereScript = '[ -s "$1/$2" ]'
/** Scripts are one line without backslashes: the login shell that takes them apart may be csh or fish. */
const checkScript = 'cd "$1" 2>/dev/null && sha256sum -c - >/dev/null 2>&1'

/**
 * Unpacks stdin beside the place and moves it in when its checksums are right. The name of what is
 * half there ends in the process's id: leftovers of processes that are no more are removed.
 */
const receiveScript = [
  'set -eu; umask 022; lib=$1; target=$2; sums=$3; run=$4',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
  'whole() { (cd "$1" && for sum in $sums; do echo "${sum%%:*}  ${sum#*:}"; done | sha256sum -c - >&2); }',
  'mkdir -p "$lib"',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
  'for old in "$lib"/.incoming-*; do [ -e "$old" ] || continue; kill -0 "${old##*-}" 2>/dev/null || rm -rf "$old"; done',
  `new=$lib/.incoming-$$; mkdir "$new"; trap 'rm -rf "$new"' EXIT; trap "exit 1" HUP INT TERM`,
  'gzip -dc | tar -xof - -C "$new"',
  `whole "$new" || exit ${badChecksum}`,
  `[ -z "$run" ] || "$new/$run" --version >&2 || exit ${doesNotRun}`,
  'chmod 0755 "$new"',
  // Somebody else may have brought the same in the meantime, and run it already.
  'whole "$target" 2>/dev/null || { rm -rf "$target"; mv -T "$new" "$target"; }',
].join('; ')

/**
 * Puts a payload on a host, unless it is there whole. Checked there, before it is moved into place.
 *
 * @param runs a process of the host runs these very files: that they are there is enough.
 * @returns bytes sent; 0 where nothing was to do.
 * @throws FleetmoveError('preflight') where the host has no room or can't run the runtime.
 */
export const upload = async (
  root: RootAccess,
  payload: Payload,
  runs = false,
  cache = cacheDirectory(),
): Promise<number> => {
  const there = runs
    ? await root.exec(['sh', '-c', thereScript, 'sh', payload.directory, payload.files[0]!.name])
    : await root.exec(['sh', '-c', checkScript, 'sh', payload.directory], {
        input: checksums(payload.files),
        timeoutMs: checkTimeoutMs,
      })
  if (there.code === 0) return 0

  const archive = await archiveOf(payload, cache)
  const { size } = await stat(archive)
  const result = await root.exec(
    [
      'sh',
      '-c',
      receiveScript,
      'sh',
      libraryDirectory,
      payload.directory,
      payload.files.map(({ sha256, name }) => `${sha256}:${name}`).join(' '),
      payload.kind === 'runtime' ? 'node' : '',
    ],
    { input: createReadStream(archive), timeoutMs: uploadTimeoutMs },
  )
  const said = result.stderr.trim().split('\n').slice(-3).join('; ')
  switch (result.code) {
    case 0:
      return size
    case badChecksum:
      await forgetArchive(archive)
      throw root.connection.error(
        'unreachable',
        `the ${payload.kind} arrived damaged on the host: ${said}`,
        'Run the command again: it is packed and sent anew.',
      )
    case doesNotRun:
      throw root.connection.error(
        'preflight',
        `the Node binary doesn't run on the host: ${said}`,
        'The host needs glibc 2.28 or later and libstdc++; /usr/local must not be mounted noexec.',
      )
    default:
      throw root.connection.error(
        'preflight',
        `the ${payload.kind} can't be unpacked in ${libraryDirectory}: ${said || `exit code ${result.code}`}`,
        'Check that /usr/local is writable and has 200 MB to spare, and that gzip and tar are there.',
      )
  }
}
