import type { Command } from 'commander'

/** The parser throws and doesn't print (see command-errors.ts). Commands that are made below it afterwards do the same. */
export const silent = (command: Command): Command => command.exitOverride().configureOutput({ outputError: () => {} })
