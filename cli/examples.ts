/** Examples in the help of every command, and in the manual page: the command line, and what it does. */
import type { Command } from 'commander'

type Example = readonly [line: string, what: string]

/** By the words behind `fleetmove`. */
const examples: Readonly<Record<string, readonly Example[]>> = {
  init: [
    ['fleetmove init root@203.0.113.10 root@198.51.100.20', 'writes fleet.yaml'],
    ['fleetmove init ops@old ops@new --become sudo -o -', 'prints it; root by sudo'],
    ['fleetmove init --stdin -o fleet.yaml <pairs', 'many hosts: a line OLD NEW for each pair'],
  ],
  plan: [
    ['fleetmove plan', 'what would be changed, in sentences; exit 2 where something would be'],
    ['fleetmove plan -v', 'with every line of rulesets and files that would change'],
    ['fleetmove plan -o monday.plan', 'saved, for fleetmove up monday.plan'],
  ],
  up: [
    ['fleetmove up', 'the new hosts forward to the old ones, proved before it stays'],
    ['fleetmove up monday.plan', 'exactly what was planned, or a refusal that names what has changed'],
    ['fleetmove up -f other.yaml --json', 'another fleet, JSON lines for a program'],
  ],
  verify: [
    ['fleetmove verify', 'every path, from every vantage'],
    ['fleetmove verify web mail', 'of two services'],
  ],
  status: [
    ['fleetmove status', 'where every service stands'],
    ['fleetmove status --json | jq .services', 'for a program'],
  ],
  watch: [
    ['fleetmove watch', 'live, until Ctrl-C'],
    ['fleetmove watch web --interval 5s', 'one service, every five seconds'],
  ],
  advance: [
    ['fleetmove advance web', 'one service goes over'],
    ['fleetmove advance web --canary 5,25,100 --bake 2m', 'by and by, and back at once if the new side does worse'],
    ['fleetmove advance --all --parallel 4 --gate', 'wave by wave, four services at a time'],
  ],
  rollback: [['fleetmove rollback web', 'the service answers on its old host again']],
  finalize: [
    ['fleetmove finalize --quiet 24h', 'ends what nobody has used for a day by the old address'],
    ['fleetmove finalize web --force', 'at once; says how many are cut off'],
  ],
  down: [['fleetmove down', 'services back on their old hosts, hosts as they were found']],
  dns: [
    ['fleetmove dns', 'records, times to live, and who still comes by the old address'],
    ['fleetmove dns web', 'of one service'],
  ],
  'dns switch': [
    ['fleetmove dns switch web', 'lowers the time to live, ends with exit 6; again: changes the records'],
    ['fleetmove dns switch --wait', 'both in one go; ends when it is done'],
    ['fleetmove dns switch --back', 'to the old addresses'],
  ],
  explain: [['fleetmove explain 198.51.100.77 web', "that client's way through both hosts, and what stops it"]],
  report: [['fleetmove report -o move.html', 'the record of the move, as one page']],
  unlock: [['fleetmove unlock 3f9c0a5be127', "ends a dead run's lock; status tells its name"]],
  schema: [['fleetmove schema >fleet.schema.json', 'for the YAML language server of your editor']],
  completion: [
    ['eval "$(fleetmove completion bash)"', 'in ~/.bashrc'],
    ['fleetmove completion zsh >/usr/local/share/zsh/site-functions/_fleetmove', 'once'],
    ['fleetmove completion fish >~/.config/fish/completions/fleetmove.fish', 'once'],
  ],
  man: [['fleetmove man | man -l -', 'reads it']],
  lab: [['fleetmove lab up && fleetmove lab exec controller -- bash -l', 'then: fleetmove up, fleetmove status, …']],
  'lab up': [['fleetmove lab up --name second', 'another one beside the first']],
  'lab exec': [
    ['fleetmove lab exec controller -- bash -l', 'to play'],
    ['fleetmove lab exec client1 -- curl http://203.0.113.10/', 'as a client'],
  ],
  'lab reboot': [['fleetmove lab reboot new1', 'what comes back of a move by itself?']],
  'lab status': [['fleetmove lab status', 'hosts, addresses, processes']],
  'lab down': [['fleetmove lab down', 'nothing is left']],
}

/** The examples of a command by its words: `dns switch`. */
export const examplesOf = (words: string): readonly Example[] => examples[words] ?? []

/** Puts examples behind the help of a command and of all below it. */
export function addExamples(command: Command, words = ''): void {
  const found = examplesOf(words)
  if (found.length > 0) {
    const width = Math.max(...found.map(([line]) => line.length))
    const lines = found.map(([line, what]) => `  ${line.padEnd(width)}  ${what}`)
    command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`)
  }
  for (const each of command.commands) addExamples(each, `${words} ${each.name()}`.trim())
}
