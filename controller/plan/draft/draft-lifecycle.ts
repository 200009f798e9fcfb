/** How a service is started and stopped, whether it may run twice, and which directories are its state. */
import { type DraftEnd, doubt, type Remark, remark } from './draft.js'
import type { Group } from './group-listeners.js'
import { type KnownProgram, knownProgram } from './known-programs.js'
import type { SurveyContainer, SurveyProcess } from './survey.js'

export interface Lifecycle {
  strategy: 'rolling' | 'recreate'
  unit: string | undefined
  container: string | undefined
  run: { start: string; stop: string } | undefined
  data: string[]
  remarks: Remark[]
}

type Means = Pick<Lifecycle, 'unit' | 'container' | 'run'>
const noMeans: Means = { unit: undefined, container: undefined, run: undefined }

export function lifecycleOf(group: Group, old: DraftEnd): Lifecycle {
  if (group.containers.length > 0) return ofContainers(group.containers)
  const { process } = group
  const known = process && knownProgram(process)
  const remarks: Remark[] = []
  const means = meansOf(group, known, old, remarks)
  return { ...means, ...stateOf(group, known, old, remarks), remarks }
}

function meansOf({ process, unit }: Group, known: KnownProgram | undefined, old: DraftEnd, remarks: Remark[]): Means {
  const whole = known?.unit && unit !== undefined && unit !== known.unit ? known.unit : unit
  if (process === undefined)
    remarks.push(doubt('stopping it leaves its socket: systemd would start it again at the next connection', 'unit'))
  if (old.systemd && whole !== undefined) return { ...noMeans, unit: whole }
  if (known?.run) return { ...noMeans, run: known.run }
  const script = process && [...old.survey.initScripts].find((name) => name === process.name)
  if (script !== undefined)
    return { ...noMeans, run: { start: `/etc/init.d/${script} start`, stop: `/etc/init.d/${script} stop` } }
  remarks.push(
    doubt(`nobody knows how it is started and stopped${startedAs(process)}: advance refuses until you say`, 'run'),
  )
  const unsaid = "echo 'fleet.yaml does not say how yet' >&2; exit 1"
  return { ...noMeans, run: { start: unsaid, stop: unsaid } }
}

const startedAs = (process: SurveyProcess | undefined): string =>
  process?.command
    ? ` (it runs as: ${process.command
        .replace(/[^\x20-\x7e]/g, '?')
        .trim()
        .slice(0, 120)})`
    : ''

function stateOf(
  { process, unit }: Group,
  known: KnownProgram | undefined,
  { survey }: DraftEnd,
  remarks: Remark[],
): Pick<Lifecycle, 'strategy' | 'data'> {
  if (known?.state === 'none') return { strategy: 'rolling', data: [] }
  const described = unit === undefined ? undefined : survey.units.get(unit)
  const found = [
    ...(known?.worksInData && process ? [process.directory] : []),
    ...(known?.data ?? []).filter((directory) => survey.directories.has(directory)),
    ...(described?.stateDirectories ?? []).map((name) => `/var/lib/${name}`),
  ]
  const data = outermost(found.filter(isStateDirectory))
  if (known?.state !== 'data') {
    // Two of a kind on one state destroy it; a needless hold costs a moment.
    remarks.push(doubt('recreate, since it may keep state; if both sides may run at once: rolling', 'strategy'))
    const working = described?.workingDirectory || (unit === undefined ? process?.directory : undefined)
    if (working && isStateDirectory(working) && !data.includes(working))
      remarks.push(doubt(`it works in ${working}: if its state is there, name it under data:`, 'strategy'))
  }
  if (data.length > 0) remarks.push(remark('copied while it runs; the last difference while it is stopped', 'data'))
  else if (known?.state === 'data')
    remarks.push(doubt('its data directory was not found: name it under data:', 'strategy'))
  return { strategy: 'recreate', data }
}

/** Never what belongs to the system. */
const isStateDirectory = (path: string): boolean =>
  /^\/[^/]+\/./.test(path) && !/^\/(proc|sys|dev|run|etc|usr|bin|sbin|lib\w*|boot|tmp|var\/tmp)(\/|$)/.test(path)

/** Each once, and none inside another. */
function outermost(paths: readonly string[]): string[] {
  const all = [...new Set(paths.map((path) => path.replace(/\/+$/, '')))]
  return all.filter((path) => !all.some((other) => other !== path && path.startsWith(`${other}/`)))
}

function ofContainers(containers: readonly SurveyContainer[]): Lifecycle {
  const [first, ...more] = containers
  const compose = first?.compose
  const data = outermost(containers.flatMap(({ mounts }) => mounts.map(({ source }) => source))).filter(
    (path) => path.split('/').length > 2,
  )
  const remarks: Remark[] = []
  if (compose !== undefined) {
    remarks.push(
      remark(`Docker Compose project ${compose.project}${compose.directory ? ` in ${compose.directory}` : ''}`),
    )
    remarks.push(
      doubt(`${compose.directory || 'its compose file'} must be on the new host, its containers created and stopped`),
    )
  }
  if (data.length > 0) {
    const volumes = containers.flatMap(({ mounts }) => mounts.map(({ source, target }) => `${source} (${target})`))
    remarks.push(remark(`writable: ${volumes.join(', ')}`, 'data'))
    if (data.some((path) => path.includes('/volumes/')))
      remarks.push(doubt('the volumes must be created on the new host first (docker volume create)', 'data'))
  }
  const means: Means =
    compose !== undefined && more.length > 0
      ? {
          ...noMeans,
          run: {
            start: `docker compose -p ${quoted(compose.project)} start`,
            stop: `docker compose -p ${quoted(compose.project)} stop`,
          },
        }
      : { ...noMeans, container: first?.name }
  return { ...means, strategy: data.length > 0 ? 'recreate' : 'rolling', data, remarks }
}

/** A word for sh. */
const quoted = (word: string): string => (/^[\w.-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)
