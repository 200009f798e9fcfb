/** Who may change which hosts, and after whom. */
import type { Name } from '../proto/model/names.js'

/** Work on hosts waits for what was asked for before it on any of them, however that ends, and for nothing else. */
export class Turns {
  private readonly last = new Map<Name, Promise<unknown>>()
  private everywhere: Promise<unknown> = Promise.resolve()

  /** @param hosts undefined: all */
  take<T>(hosts: Iterable<Name> | undefined, work: () => Promise<T>): Promise<T> {
    const own = hosts && [...hosts]
    const before = own ? own.map((host) => this.last.get(host)) : [...this.last.values()]
    const run = Promise.all([this.everywhere, ...before]).then(work)
    const over = run.then(
      () => {},
      () => {},
    )
    if (own) for (const host of own) this.last.set(host, over)
    else {
      this.everywhere = over
      this.last.clear()
    }
    return run
  }
}
