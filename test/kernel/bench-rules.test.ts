/** The rules that the forward bench compares with: the kernel takes them, and fleetmove's table sleeps meanwhile. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Rules, useRules } from '../bench/forward-ways.js'
import { inOwnNamespace } from './netns.js'

inOwnNamespace(__filename, () => {
  test.each(['old1', 'new1'] as const)('of %s, there and back', (host) => {
    const directory = mkdtempSync(join(tmpdir(), 'bench-rules-'))
    const load = (text: string): void => {
      writeFileSync(join(directory, 'rules'), text)
      execFileSync('nft', ['-f', join(directory, 'rules')])
    }
    const tables = (): string => execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' })
    try {
      load('add table inet fleetmove\nadd chain inet fleetmove a { type filter hook input priority 0; }\n')
      const seen = (['hand-written', 'fleetmove', 'none', 'hand-written', 'fleetmove'] as Rules[]).map((rules) => {
        load(useRules(rules, host, 'fm1', 1420))
        const text = tables()
        return [text.includes('table inet hand '), text.includes('flags dormant')]
      })
      expect(seen).toEqual([
        [true, true],
        [false, false],
        [false, true],
        [true, true],
        [false, false],
      ])
      expect(tables()).toContain('hook input priority filter')
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})
