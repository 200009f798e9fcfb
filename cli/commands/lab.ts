import { Command } from 'commander'
import { addExamples } from '../examples.js'
import { silent } from '../silent-parser.js'

interface LabOptions {
  name: string
  json?: boolean
}

/** `fleetmove lab up|down|exec|reboot|status`: the practice network. */
export function labCommand(): Command {
  const lab = silent(new Command('lab')).description('the practice network: Linux hosts as namespaces on this machine')
  lab.addCommand(
    common('up', 'start it (or find it running): sshd, nginx and an example fleet.yaml').action(
      async (_options, command: Command) => {
        const { name, json } = command.optsWithGlobals<LabOptions>()
        const begun = performance.now()
        const { labUp } = await import('../lab/up.js')
        const { started } = await labUp({ name })
        const seconds = ((performance.now() - begun) / 1000).toFixed(1)
        if (json) {
          const { labStatus } = await import('../lab/status.js')
          return print(`${JSON.stringify({ started, ...labStatus(name) })}\n`)
        }
        const option = name === 'lab' ? '' : ` --name ${name}`
        const news = started ? `runs (${seconds} s)` : 'runs already; nothing was changed'
        print(`The practice network "${name}" ${news}. Enter it: fleetmove lab exec${option} controller -- bash\n`)
      },
    ),
  )
  lab.addCommand(
    common('down', 'end it; nothing of it is left').action(async (_options, command: Command) => {
      const { name, json } = command.optsWithGlobals<LabOptions>()
      const { labDown } = await import('../lab/down.js')
      const ended = await labDown(name)
      if (json) print(`${JSON.stringify({ name, ended })}\n`)
      else print(ended ? `The practice network "${name}" is gone.\n` : `There is no practice network "${name}".\n`)
    }),
  )
  lab.addCommand(
    common('exec', "run a command in a host, as root; its exit code is this command's")
      .argument('<host>', 'a host of `fleetmove lab status`')
      .argument('<command...>', 'after --')
      .action(async (host: string, argv: string[], _options, command: Command) => {
        const { name } = command.optsWithGlobals<LabOptions>()
        const { openLab } = await import('../lab/lab.js')
        const { runAttached } = await import('../lab/exec.js')
        process.exitCode = await runAttached(openLab(name).pid(host), argv)
      }),
  )
  lab.addCommand(
    common('reboot', 'take the power of a host away and boot it again: its disk is kept')
      .argument('<host>', 'a host of `fleetmove lab status`')
      .action(async (host: string, _options, command: Command) => {
        const { name, json } = command.optsWithGlobals<LabOptions>()
        const { openLab } = await import('../lab/lab.js')
        await openLab(name).reboot(host)
        print(json ? `${JSON.stringify({ name, host })}\n` : `${host} has booted.\n`)
      }),
  )
  lab.addCommand(
    common('status', 'its hosts, addresses and processes').action(async (_options, command: Command) => {
      const { name, json } = command.optsWithGlobals<LabOptions>()
      const { labStatus, labStatusTable } = await import('../lab/status.js')
      const status = labStatus(name)
      print(json ? `${JSON.stringify(status)}\n` : labStatusTable(status))
    }),
  )
  addExamples(lab, 'lab')
  return lab
}

function common(name: string, description: string): Command {
  return silent(new Command(name))
    .description(description)
    .option('--name <name>', 'which practice network: several can run side by side', 'lab')
    .option('--json', 'print one JSON document')
}

function print(text: string): void {
  process.stdout.write(text)
}
