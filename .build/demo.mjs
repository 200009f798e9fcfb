/**
 * `npm run demo`: moves a real web server under load between two hosts of the practice network, and ends
 * with a table of what clients saw. Everything happens in namespaces of its own; nothing of it stays.
 * The exit code is the truth of the table.
 */
import { join } from 'node:path'
import { importTypeScript } from './import-typescript.mjs'
import { build, checkMachine, demoPrograms, installPackages, installPrograms, root } from './prepare.mjs'

const bold = process.stdout.isTTY && !process.env.NO_COLOR ? (text) => `\x1b[1m${text}\x1b[0m` : (text) => text
const say = (text) => process.stdout.write(`${text}\n`)
const step = (text) => say(`\n${bold(text)}`)
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

checkMachine()
installPrograms(demoPrograms, say)
installPackages(say)
build(say)
const { labUp, labDown, startLoad, complaints, takeSnapshot, differences } = await importTypeScript(
  [
    `export { labUp } from './cli/lab/up.ts'`,
    `export { labDown } from './cli/lab/down.ts'`,
    `export { startLoad, complaints } from './test/load/client-load.ts'`,
    `export { takeSnapshot, differences } from './test/e2e/as-found.ts'`,
  ].join('\n'),
)

const name = `demo-${process.pid}`
const main = join(process.env.FLEETMOVE_DIST ?? join(root, 'dist'), 'cli', 'main.js')
const oldAddresses = ['203.0.113.10', '2001:db8:a::10']
const newAddresses = ['198.51.100.10', '2001:db8:b::10']
const clients = { client1: ['198.18.0.11', '2001:db8:c::11'], client2: ['198.18.0.12', '2001:db8:c::12'] }
/** New connections to each address from each client: checked one by one, and by wrk for volume. */
const checkedPerSecond = 50
const wrkConnections = 2
const wrkRestMs = 20
const longEach = { keepAlive: 3, downloads: 2 }
/** How long the long connections go on after the switch. */
const afterSwitchMs = 4000
const quietSeconds = 3

let ending
/** Ends the practice network once, whoever asks. */
const tearDown = () => {
  ending ??= labDown(name)
  return ending
}
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
])
  process.on(signal, () => {
    say('\nStopping, and taking the practice network down')
    tearDown().finally(() => process.exit(code))
  })

let good = false
try {
  good = await demo()
} catch (error) {
  if (!ending) process.stderr.write(`\nThe demo failed: ${error instanceof Error ? error.message : error}\n`)
} finally {
  await tearDown()
}
process.exit(good ? 0 : 1)

async function demo() {
  step('1. Two hosts, two clients and a controller: Linux network namespaces on this machine')
  const lab = await labUp({ name })
  const found = await takeSnapshot(lab)
  say('   old1 runs a web server on 203.0.113.10 and 2001:db8:a::10. new1 is to take over.')

  step('2. Clients use the old addresses; each answer is checked: who answered, and which client did it see?')
  const old = await startClients(lab, oldAddresses)
  say(`   ${describeLoad()}`)

  step('3. fleetmove up: agents, an encrypted tunnel, and new1 forwards to old1')
  await fleetmove(lab, 'up')
  say('   DNS may now point at either host: the clients that know the new addresses begin too.')
  const renewed = await startClients(lab, newAddresses)

  step('4. fleetmove verify: the path works, and the server sees the true client addresses')
  await fleetmove(lab, 'verify', { shown: (line) => !line.startsWith('preserved') })

  step('5. fleetmove advance: new1 takes over, and old1 forwards to it from now on')
  say('   Connections that stand stay on old1 until they end; all new ones go to new1.')
  let switched = false
  await fleetmove(lab, 'advance --all', {
    onLine: (line) => {
      // Verification of the switch is over, and the drain begins.
      if (switched || !/web .*verify/.test(line)) return
      switched = true
      say(`   The long connections go on for ${afterSwitchMs / 1000} s on old1, and then end by themselves.`)
      setTimeout(() => {
        for (const load of [...old, ...renewed]) load.endLong()
      }, afterSwitchMs)
    },
  })

  step('6. fleetmove status, and finalize is not allowed yet: there are clients that still use the old addresses')
  await fleetmove(lab, 'status')
  await fleetmove(lab, `finalize --quiet ${quietSeconds}s`, { code: 6 })

  step('7. The last client has learned the new addresses; fleetmove finalize takes everything back')
  const oldReports = await Promise.all(old.map((load) => load.stop()))
  await wait(quietSeconds * 1000)
  await fleetmove(lab, `finalize --quiet ${quietSeconds}s`)
  say('   The clients of the new addresses go on for a moment, without fleetmove.')
  await wait(2000)
  const newReports = await Promise.all(renewed.map((load) => load.stop()))
  const left = differences(found, await takeSnapshot(lab))

  step('What the clients saw')
  const sides = [sum(oldReports), sum(newReports)]
  for (const line of table(sides)) say(`   ${line}`)
  const wrong = [...oldReports, ...newReports].flatMap((report) => report.complaints)
  for (const line of wrong) say(`   ✗ ${line}`)
  const moved = sides.every((side) => side.answeredBy.old1 > 0 && side.answeredBy.new1 > 0)
  if (!moved) say('   ✗ not every address was answered by old1 first and by new1 then')
  say(left.length === 0 ? '   The hosts are as they were found.' : '   ✗ The hosts are not as they were found:')
  for (const line of left.slice(0, 20)) say(`     ${line}`)
  return wrong.length === 0 && left.length === 0 && moved
}

function describeLoad() {
  const volume = Math.round((1000 / wrkRestMs) * wrkConnections)
  return (
    `Each client, to each address: ${checkedPerSecond} new connections a second, about ${volume} more by wrk, ` +
    `and ${longEach.keepAlive + longEach.downloads} long ones.`
  )
}

/** Both kinds of load from both clients; resolves when all of it flows. */
async function startClients(lab, addresses) {
  const started = Object.entries(clients).flatMap(([client, [own4, own6]]) => [
    checking(lab, client, addresses),
    ...addresses.map((address) => volume(lab, client, address, address.includes(':') ? own6 : own4)),
  ])
  return Promise.all(started)
}

async function checking(lab, client, addresses) {
  const load = startLoad(lab, client, { targets: addresses, perSecond: checkedPerSecond, ...longEach })
  await load.ready
  return {
    endLong: () => load.endLong(),
    async stop() {
      const targets = await load.stop()
      return { targets, complaints: complaints(targets).map((line) => `${client} → ${line}`) }
    },
  }
}

/** wrk, which counts in check.lua what it is answered. */
async function volume(lab, client, address, own) {
  // With the port: without it wrk asks /etc/services, which a minimal Debian doesn't have.
  const url = address.includes(':') ? `http://[${address}]:80/` : `http://${address}:80/`
  const wrk = lab.spawn(client, [
    ...['wrk', '-t1', `-c${wrkConnections}`, '-d300s', '--timeout', '15s', '-H', 'Connection: close'],
    ...['-s', join(root, 'test', 'load', 'check.lua'), url, '--', own, String(wrkRestMs)],
  ])
  let output = ''
  for (const stream of [wrk.stdout, wrk.stderr])
    stream.on('data', (chunk) => {
      output += chunk
    })
  const ended = new Promise((resolve) => wrk.on('close', resolve))
  return {
    endLong() {},
    async stop() {
      // It ends with a summary then.
      wrk.kill('SIGINT')
      await ended
      const line = output.split('\n').find((each) => each.startsWith('{'))
      if (!line) throw new Error(`wrk on ${client} has no report: ${output}`)
      const { requests, wrongSource, answeredBy, errors, longestMs } = JSON.parse(line)
      const failed = Object.values(errors).reduce((all, count) => all + count, 0)
      const target = {
        connections: requests + failed,
        failed,
        wrongSource,
        answeredBy,
        longest: longestMs,
        long: 0,
        survived: 0,
      }
      const wrong = []
      if (failed > 0) wrong.push(`wrk ${client} → ${address}: ${JSON.stringify(errors)}`)
      if (wrongSource > 0) wrong.push(`wrk ${client} → ${address}: ${wrongSource} by a wrong source`)
      if (requests === 0) wrong.push(`wrk ${client} → ${address}: nothing was tried`)
      return { targets: [target], complaints: wrong }
    },
  }
}

/** Runs fleetmove in the controller and shows what an operator would see. */
async function fleetmove(lab, words, { code: wanted = 0, onLine = () => {}, shown = () => true } = {}) {
  say(`   $ fleetmove ${words}`)
  const child = lab.spawn('controller', [process.execPath, main, ...words.split(' ')])
  child.stdin.end()
  for (const stream of [child.stdout, child.stderr]) {
    let rest = ''
    stream.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        if (shown(line)) say(`   ${line}`)
        onLine(line)
      }
    })
  }
  const code = await new Promise((resolve) => child.on('close', resolve))
  if (code !== wanted) throw new Error(`fleetmove ${words} ended with ${code}, and ${wanted} was expected`)
}

function sum(reports) {
  const all = reports.flatMap((report) => report.targets)
  const total = (key) => all.reduce((count, target) => count + target[key], 0)
  const by = (host) => all.reduce((count, target) => count + (target.answeredBy[host] ?? 0), 0)
  return {
    connections: total('connections'),
    failed: total('failed'),
    wrongSource: total('wrongSource'),
    answeredBy: { old1: by('old1'), new1: by('new1') },
    longest: Math.max(...all.map((target) => target.longest)),
    long: total('long'),
    survived: total('survived'),
  }
}

function table([old, renewed]) {
  const number = (count) => count.toLocaleString('en')
  const row = (title, value) => [title, value(old), value(renewed)]
  const rows = [
    ['', 'old addresses', 'new addresses'],
    row('connections', (side) => number(side.connections)),
    row('failed', (side) => number(side.failed)),
    row('wrong source address', (side) => number(side.wrongSource)),
    row('answered by old1', (side) => number(side.answeredBy.old1)),
    row('answered by new1', (side) => number(side.answeredBy.new1)),
    row('longest wait', (side) => `${side.longest.toFixed(0)} ms`),
    row('long ones that survived', (side) => `${side.survived} of ${side.long}`),
  ]
  return rows.map(([title, ...values]) => title.padEnd(26) + values.map((value) => value.padStart(16)).join(''))
}
