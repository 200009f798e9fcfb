/** What `iptables-save -t filter` prints (iptables-save(8)), whichever of its kinds. Pure. */
import { type ForeignChain, type ForeignRule, type IptablesCommand, isInnerDevice, judgeChain } from './chain.js'

const hooks = { INPUT: 'input', FORWARD: 'forward' } as const

export function readIptables(command: IptablesCommand, text: string): ForeignChain[] {
  const chains = new Map<string, ForeignRule[]>()
  const policies = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [, declared, policy] = /^:(\S+) (\S+)/.exec(line) ?? []
    if (declared !== undefined) {
      chains.set(declared, [])
      policies.set(declared, policy!)
    }
    const [, chain, rest] = /^-A (\S+) ?(.*)$/.exec(line) ?? []
    const rules = chains.get(chain ?? '')
    if (rules) rules.push(ruleOf(rules.length + 1, wordsOf(rest!)))
  }
  return (['INPUT', 'FORWARD'] as const)
    .filter((chain) => chains.has(chain))
    .map((chain) =>
      judgeChain(
        {
          place: { by: 'iptables', command, chain },
          hook: hooks[chain],
          families: [command.startsWith('ip6') ? 6 : 4],
          policyDrops: policies.get(chain) === 'DROP',
        },
        chains,
      ),
    )
}

/** Double quotes stand around what has blanks; a backslash before quotes in it. */
const wordsOf = (text: string): string[] =>
  [...text.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, bare]) => bare ?? quoted!.replaceAll(/\\(.)/g, '$1'))

const terminal = { ACCEPT: 'accept', DROP: 'drop', REJECT: 'drop', RETURN: 'return' } as const
/** Targets that let the packet go on to the next rule. */
const goesOn =
  /^(LOG|NFLOG|ULOG|MARK|CONNMARK|CT|NOTRACK|TCPMSS|TOS|DSCP|CLASSIFY|TRACE|SET|AUDIT|CONNSECMARK|SECMARK)$/

function ruleOf(at: number, words: string[]): ForeignRule {
  const rule: ForeignRule = { at, narrow: false, always: true, verdict: 'none', comment: '', words }
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!
    const negated = words[i - 1] === '!'
    const value = words[i + 1] ?? ''
    if (word === '--comment') {
      rule.comment = value
      i++
    } else if (word === '-j' || word === '-g') {
      rule.verdict =
        word === '-j' && value in terminal
          ? terminal[value as keyof typeof terminal]
          : goesOn.test(value)
            ? 'none'
            : { to: value, goto: word === '-g' }
      // What follows are the target's own options.
      break
    } else if (word === '-m') {
      i++
    } else if (word === '!') {
      rule.always = false
    } else if (word === '--dst-type' && !negated) {
      // Whatever comes through INPUT to us is for an address of this host.
      if (value !== 'LOCAL') conditional(rule, true)
      i++
    } else if (word.startsWith('-')) {
      conditional(rule, isNarrow(word, value, negated))
      if (!(words[i + 1] ?? '-').startsWith('-')) i++
    }
  }
  return rule
}

const conditional = (rule: ForeignRule, narrow: boolean): void => {
  rule.always = false
  rule.narrow ||= narrow
}

function isNarrow(option: string, value: string, negated: boolean): boolean {
  if (option === '-i' || option === '-o') return !negated && isInnerDevice(value)
  if (option === '-p') return !['tcp', 'udp', 'all'].includes(value)
  if (option === '--ctstate' || option === '--state') return value.split(',').includes('NEW') === negated
  return true
}
