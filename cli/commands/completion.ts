import type { Command } from 'commander'
import { candidates } from '../completion/candidates.js'
import { type Shell, shellScript } from '../completion/shell-scripts.js'
import { print } from '../render/print.js'
import { wholeCommand } from '../whole-command.js'

export function runCompletion(shell: Shell): void {
  print(shellScript(shell))
}

/** What the shells' scripts ask: the words so far, the last one being typed. */
export async function runComplete(program: Command, words: readonly string[]): Promise<void> {
  const found = await candidates(program, words, {
    services: async (file) => (await namesOf(file)).services,
    hosts: async (file) => (await namesOf(file)).hosts,
    labHosts: async () => {
      const { hostNames, labTopology } = await import('../lab/topology.js')
      return hostNames(labTopology).map((word) => ({ word, description: labTopology.hosts[word]?.role ?? '' }))
    },
    subcommands: wholeCommand,
  })
  print(found === 'files' ? ':files\n' : found.map(({ word, description }) => `${word}\t${description}\n`).join(''))
}

/** Loaded when a name is asked for, for its parser of YAML takes as long as all the rest. */
const namesOf = async (file: string) => (await import('../completion/fleet-names.js')).fleetNames(file)
