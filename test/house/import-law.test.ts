import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const root = join(__dirname, '..', '..')

interface Violation {
  from: string
  to: string
  rule: { name: string }
}

/** What the law says to a tree of `proto`, `agent`, `controller` and `cli`. */
function violations(directory: string): string[] {
  const args = [
    '-c',
    join(root, '.dependency-cruiser.cjs'),
    '--output-type',
    'json',
    'proto',
    'agent',
    'controller',
    'cli',
  ]
  const { stdout, stderr } = spawnSync(join(root, 'node_modules/.bin/depcruise'), args, {
    cwd: directory,
    encoding: 'utf8',
    maxBuffer: 2 ** 27,
    timeout: 60_000,
  })
  if (!stdout.startsWith('{')) throw new Error(stderr)
  const { summary } = JSON.parse(stdout) as { summary: { violations: Violation[]; totalCruised: number } }
  expect(summary.totalCruised).toBeGreaterThan(5)
  return summary.violations.map(({ from, to, rule }) => `${rule.name}: ${from} → ${to}`).sort()
}

it('holds in this tree', () => {
  expect(violations(root)).toEqual([])
}, 60_000)

it('finds each kind of breach', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'import-law-'))
  const breaches: Record<string, string[]> = {
    'agent/main.ts': ['../controller/up.js', 'ssh2', 'netlink'],
    'agent/plan/derive.ts': ['node:fs', 'zod', '../kernel/observed.js', '../kernel/linux.js', './absent.js'],
    'agent/kernel/observed.ts': [],
    'agent/kernel/linux.ts': ['netlink', 'node:fs'],
    'agent/tunnel/tunnel.ts': ['../../proto/parse.js'],
    'controller/up.ts': ['../agent/kernel/linux.js', './plan/pair.js', '../cli/main.js'],
    'controller/plan/pair.ts': ['../up.js'],
    'controller/ssh/connect.ts': ['ssh2'],
    'cli/main.ts': ['../agent/main.js'],
    'proto/model/error.ts': ['../parse.js'],
    'proto/parse.ts': ['../agent/kernel/observed.js'],
  }
  try {
    symlinkSync(join(root, 'node_modules'), join(scratch, 'node_modules'))
    for (const [file, imports] of Object.entries(breaches)) {
      mkdirSync(dirname(join(scratch, file)), { recursive: true })
      // Types too: who speaks of another's types knows it.
      writeFileSync(join(scratch, file), imports.map((from, i) => `import type * as it${i} from '${from}'\n`).join(''))
    }
    const found = violations(scratch)
    const rules = [...new Set(found.map((line) => line.slice(0, line.indexOf(':'))))].sort()
    expect(rules).toEqual([
      'agent-imports-proto-alone',
      'cli-imports-controller',
      'controller-imports-proto-alone',
      'found',
      'no-circles',
      'one-importer-of-netlink',
      'one-importer-of-ssh2',
      'proto-imports-nothing-of-ours',
      'pure-agent',
      'pure-controller',
      'pure-model',
      'pure-without-core',
      'pure-without-packages',
    ])
    expect(
      found.filter((line) =>
        /controller\/ssh\/connect|: agent\/kernel\/linux.*netlink|→ agent\/kernel\/observed/.test(line),
      ),
    ).toEqual(['proto-imports-nothing-of-ours: proto/parse.ts → agent/kernel/observed.ts'])
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}, 60_000)
