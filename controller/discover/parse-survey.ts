import type { Ip } from '../../proto/model/address.js'
import { parseIp } from '../../proto/parse.js'
import type {
  FlowCount,
  Presence,
  Survey,
  SurveyContainer,
  SurveyListener,
  SurveyProcess,
  SurveyUnit,
} from '../plan/draft/survey.js'

/**
 * Reads what `surveyScript` has printed. Pure; lines that it doesn't understand are passed over.
 *
 * @returns undefined where the output doesn't end as the script does.
 */
export function parseSurvey(text: string): Survey | undefined {
  const values = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const tab = line.indexOf('\t')
    if (tab === -1) continue
    const key = line.slice(0, tab)
    const known = values.get(key)
    if (known === undefined) values.set(key, [line.slice(tab + 1)])
    else known.push(line.slice(tab + 1))
  }
  if (!values.has('s.end')) return undefined
  const all = (key: string): string[] => values.get(`s.${key}`) ?? []
  const [from = 32768, to = 60999] = (all('ephemeral')[0] ?? '').split(/\s+/).filter(Boolean).map(Number)
  return {
    listeners: [...all('listener').flatMap(shownListener), ...tableListeners(all('socket'), all('owner'))],
    processes: processesOf(all),
    units: unitsOf(all('unit')),
    sockets: all('activation').flatMap((line) => {
      const [listen, , activates] = line.trim().split(/\s+/)
      return listen === undefined || activates === undefined ? [] : [{ listen, activates }]
    }),
    containers: containersOf(all('container'), all('containerflow')),
    flows: all('flow').flatMap((line) => flowOf(line.split(' '))),
    initScripts: new Set(all('init')),
    directories: new Set(all('data')),
    temporary: new Set(all('temporary').flatMap((line) => / inet6 ([0-9a-f:]+)\//.exec(line)?.[1] ?? [])),
    ephemeral: { from, to },
  }
}

/** Reads what `presenceScript` has printed. */
export function parsePresence(text: string): Presence {
  const of = (kind: string): Set<string> =>
    new Set(
      text
        .split('\n')
        .filter((line) => line.startsWith(`${kind}:`))
        .map((line) => line.slice(kind.length + 1)),
    )
  return { programs: of('exe'), units: of('unit'), containers: of('container'), full: of('dir') }
}

/** ss(8): `tcp LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=7,fd=6))`; `*:80` is for both families. */
function shownListener(line: string): SurveyListener[] {
  const match = /^(tcp|udp)\s+\S+\s+\d+\s+\d+\s+(\S+):(\d+)\s+\S+(.*)$/.exec(line)
  if (match === null) return []
  const bound = boundOf(match[2]!)
  if (bound === undefined) return []
  const pids = [...match[4]!.matchAll(/pid=(\d+)/g)].map(([, pid]) => Number(pid))
  return [{ protocol: match[1] as 'tcp' | 'udp', bound, port: Number(match[3]), pids: [...new Set(pids)] }]
}

function boundOf(text: string): SurveyListener['bound'] | undefined {
  if (text === '*') return 'both'
  const bare = text.replace(/^\[(.*)\]$/, '$1').replace(/%.*$/, '')
  const parsed = parseIp(bare)
  if (!parsed.ok) return undefined
  if (parsed.value === '0.0.0.0') return '4'
  return parsed.value === '::' ? '6' : parsed.value
}

/** The kernel's tables: addresses in hex, each word in the host's own order, which is little-endian wherever the agent runs. */
function tableListeners(rows: string[], owners: string[]): SurveyListener[] {
  const pids = new Map<string, number[]>()
  for (const line of owners) {
    const [inode = '', pid = ''] = line.split(' ')
    pids.set(inode, [...(pids.get(inode) ?? []), Number(pid)])
  }
  const read = rows.flatMap((row): SurveyListener[] => {
    const [table = '', local = '', inode = ''] = row.split(' ')
    const [address = '', port = ''] = local.split(':')
    const bound = table.endsWith('6') ? six(address) : four(address)
    const protocol = table.startsWith('tcp') ? 'tcp' : 'udp'
    return bound === undefined
      ? []
      : [{ protocol, bound, port: Number.parseInt(port, 16), pids: [...new Set(pids.get(inode) ?? [])] }]
  })
  // Whether an IPv6 socket takes IPv4 too isn't there: where nobody else has the port in IPv4, it does by default.
  return read.map((one) => {
    const same = (bound: string) =>
      read.some((other) => other.bound === bound && other.port === one.port && other.protocol === one.protocol)
    return one.bound === '6' && !same('4') ? { ...one, bound: 'both' as const } : one
  })
}

const bytesOf = (word: string): number[] => (word.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16)).reverse()

function four(hex: string): Ip | '4' | undefined {
  const bound = boundOf(bytesOf(hex).join('.'))
  return bound === 'both' || bound === '6' ? undefined : bound
}

function six(hex: string): Ip | '6' | undefined {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap(bytesOf)
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) * 256 + (bytes[2 * i + 1] ?? 0)).toString(16))
  const bound = boundOf(groups.join(':'))
  return bound === 'both' || bound === '4' ? undefined : bound
}

function processesOf(all: (key: string) => string[]): Survey['processes'] {
  const field = (key: string): Map<number, string> =>
    new Map(
      all(key).map((line) => {
        const space = line.indexOf(' ')
        return [Number(line.slice(0, space)), line.slice(space + 1).trim()]
      }),
    )
  const [programs, directories, commands] = [field('program'), field('directory'), field('command')]
  const [users, groups] = [field('user'), field('group')]
  return new Map(
    [...field('name')].map(([pid, name]): [number, SurveyProcess] => {
      const group = groups.get(pid) ?? ''
      return [
        pid,
        {
          pid,
          name,
          // An upgrade has replaced the file under the running program.
          program: (programs.get(pid) ?? '').replace(/ \(deleted\)$/, ''),
          directory: directories.get(pid) ?? '',
          command: commands.get(pid) ?? '',
          user: users.get(pid) ?? '',
          unit: /\/system\.slice\/(?:.*\/)?([^/]+\.service)(?:\/|$)/.exec(group)?.[1],
          container: /(?:docker|libpod|containers)[-/]([0-9a-f]{64})/.exec(group)?.[1],
        },
      ]
    }),
  )
}

/** Blocks of `systemctl show`, with an empty line between. */
function unitsOf(lines: string[]): Map<string, SurveyUnit> {
  const blocks = lines.join('\n').split(/\n\n+/)
  return new Map(
    blocks.flatMap((block): [string, SurveyUnit][] => {
      const value = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(block)?.[1] ?? ''
      const name = value('Id')
      if (name === '') return []
      const stateDirectories = value('StateDirectory').split(' ').filter(Boolean)
      // `!/path` and `~` are systemd's marks for "need not be there" and "the user's home".
      const workingDirectory = value('WorkingDirectory').replace(/^[-!]/, '')
      return [[name, { name, description: value('Description'), stateDirectories, workingDirectory }]]
    }),
  )
}

/** `PORT CONNECTIONS CLIENTS LOCAL`, the port in hex. */
function flowOf([port = '', connections, clients, local]: string[]): FlowCount[] {
  const flow = {
    port: Number.parseInt(port, 16),
    connections: Number(connections),
    clients: Number(clients),
    local: Number(local),
  }
  return Object.values(flow).every(Number.isInteger) ? [flow] : []
}

interface Inspected {
  id: string
  name: string
  image: string
  labels: Record<string, string> | null
  ports: Record<string, { HostIp: string; HostPort: string }[] | null> | null
  mounts: { Type: string; Source: string; Destination: string; RW: boolean }[] | null
  pid: number
}

function containersOf(lines: string[], flows: string[]): SurveyContainer[] {
  return lines.flatMap((line) => {
    let inspected: Inspected
    try {
      inspected = JSON.parse(line) as Inspected
    } catch {
      return []
    }
    const { id, name, image, labels, ports, mounts, pid } = inspected
    const label = (key: string): string => labels?.[`com.docker.compose.${key}`] ?? ''
    const project = label('project')
    return [
      {
        id,
        name: name.replace(/^\//, ''),
        image,
        compose:
          project === '' ? undefined : { project, directory: label('project.working_dir'), service: label('service') },
        published: Object.entries(ports ?? {}).flatMap(([inside, hosts]) => publishedOf(inside, hosts ?? [])),
        mounts: (mounts ?? [])
          .filter(({ RW, Type, Source }) => RW && (Type === 'volume' || Type === 'bind') && isOwnState(Source))
          .map(({ Source, Destination }) => ({ source: Source, target: Destination })),
        flows: flows.flatMap((flow) => {
          const [owner, ...rest] = flow.split(' ')
          return Number(owner) === pid ? flowOf(rest) : []
        }),
      },
    ]
  })
}

/** `443/tcp` and where it is published. */
function publishedOf(inside: string, hosts: { HostIp: string; HostPort: string }[]): SurveyContainer['published'] {
  const match = /^(\d+)\/(tcp|udp)$/.exec(inside)
  if (match === null) return []
  return hosts.flatMap(({ HostIp, HostPort }) => {
    const bound = HostIp === '' ? 'both' : boundOf(HostIp)
    const port = Number(HostPort)
    return bound === undefined || !(port > 0)
      ? []
      : [{ protocol: match[2] as 'tcp' | 'udp', port, bound, inside: Number(match[1]) }]
  })
}

/** Not the host's own time, sockets, or kernel file systems, which containers are often given. */
const isOwnState = (source: string): boolean => !/\.sock$|^\/(proc|sys|dev|run|var\/run|etc)(\/|$)|^\/$/.test(source)
