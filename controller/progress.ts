/** Something that is under way. Called, it ends, with a word on how. */
export interface Running {
  (result?: string, figures?: Figures): void
  /**
   * How far it is; may be called as often as it changes.
   * @param figures the same for programs, e.g. `{ bytes: 4096, bytesPerSecond: 1024, remainingMs: 2000 }`
   */
  update(text: string, figures?: Figures): void
}

/** What `--json` shows beside the text. */
export type Figures = Readonly<Record<string, unknown>>

/** What a use case tells while it works; the CLI decides how it looks. */
export interface Progress {
  /** Something began. `subject` is a host or a service. */
  begin(subject: string, what: string): Running
  /** Worth knowing, and no step of its own. */
  note(subject: string, text: string): void
  /** Worth knowing with -v only. */
  detail(subject: string, text: string): void
  /** A host's agent is about to be asked this; the returned function tells that the call is over. With -v only. */
  call(host: string, name: string): (failed: boolean) => void
}

/** Tells of `work` from its beginning to its end; of a failure too. */
export async function timed<T>(
  progress: Progress,
  subject: string,
  what: string,
  work: (running: Running) => Promise<T>,
  result: (value: T) => string | undefined = () => undefined,
): Promise<T> {
  const end = progress.begin(subject, what)
  try {
    const value = await work(end)
    end(result(value))
    return value
  } catch (error) {
    end('failed')
    throw error
  }
}
