/** The practice network as a substrate: quickest, but its hosts have no systemd and never reboot. */
import { labDown } from '../../cli/lab/down.js'
import { labPreflight } from '../../cli/lab/preflight.js'
import { labUp } from '../../cli/lab/up.js'
import { captureBy } from '../capture.js'
import type { Ability, Substrate, SubstrateMaker } from '../substrate.js'

const lacks = (ability: Ability): string | undefined =>
  ability === 'wireguard-go' ? undefined : `namespaces have no ${ability}: nspawn and vagrant have what is booted`

export function namespacesMaker(repository: string): SubstrateMaker {
  let count = 0
  return {
    name: 'namespaces',
    lacks,
    whyNot: () =>
      labPreflight().then(
        () => undefined,
        (error: Error) => error.message,
      ),
    prepare: async () => {},
    async start() {
      count += 1
      const lab = await labUp({ name: `scenario-${process.pid}-${count}` })
      await lab.exec('old1', ['sh', '-c', 'nginx -s quit; while pgrep -x nginx; do sleep 0.05; done'])
      const substrate: Substrate = {
        name: 'namespaces',
        lacks,
        node: process.execPath,
        tree: repository,
        patience: 1,
        exec: lab.exec,
        spawn: lab.spawn,
        async copy(host, path, content, mode = 0o644) {
          const script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
          const argv = ['sh', '-c', script, 'sh', path, mode.toString(8)]
          const { code, stderr } = await lab.exec(host, argv, { input: content })
          if (code !== 0) throw new Error(`${host}: ${path}: ${stderr}`)
        },
        reboot: async (host) => {
          throw new Error(`${host} can't reboot: it is a namespace`)
        },
        cut: lab.cut,
        heal: lab.heal,
        capture: (host, filter) => captureBy(substrate, host, filter),
        async changedFiles(host) {
          const changed = (await lab.changedFiles(host)).map(({ path, change }) => `${change} ${path}`)
          return changed.filter((line) => !/nginx/.test(line))
        },
        end: async () => void (await labDown(lab.name)),
      }
      return substrate
    },
    close: async () => {},
  }
}
