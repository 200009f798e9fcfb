/**
 * Asks the person at the terminal for a passphrase or password without echo. Left undefined wherever
 * there is no terminal: then what needs a secret fails and says how to do without.
 */
export type AskSecret = (prompt: string) => Promise<string>
