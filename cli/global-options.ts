/** The options that every command has. */
export interface GlobalOptions {
  file: string
  json: boolean
  yes: boolean
  verbose: boolean
  /** Milliseconds; undefined: as long as it takes. */
  timeout: number | undefined
  /** Milliseconds; of the commands that change something. */
  confirmTimeout?: number
}
