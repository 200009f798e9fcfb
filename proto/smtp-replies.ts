/** The replies of a mail server, out of the pieces in which they come (RFC 5321, 4.2). */
export interface SmtpReply {
  /** Three digits; 0 for what is none. */
  code: number
  /** All its lines, codes included, parted by spaces. */
  text: string
}

/** Longer than any true reply; what comes after it is a flood. */
const longest = 8192
/** Of what is shown to people. */
const shown = 200

export class SmtpReplies {
  /** Of the reply that has begun. */
  private lines: string[] = []
  private rest = ''
  private ready: SmtpReply[] = []
  private error: Error | undefined
  private waiting: { resolve: (reply: SmtpReply) => void; reject: (error: Error) => void } | undefined

  /** The next reply, in their order. Rejects when the connection has failed before it. */
  next(): Promise<SmtpReply> {
    const reply = this.ready.shift()
    if (reply) return Promise.resolve(reply)
    if (this.error) return Promise.reject(this.error)
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject }
    })
  }

  hear(text: string): void {
    const lines = (this.rest + text).split('\n')
    this.rest = lines.pop()!
    for (const line of lines) {
      this.lines.push(line)
      // "250-…" goes on; "250 …" and "250" end the reply.
      if (/^\d{3}-/.test(line)) continue
      this.take({
        code: /^\d{3}( |\r?$)/.test(line) ? Number(line.slice(0, 3)) : 0,
        text: printable(this.lines.join(' ')),
      })
      this.lines = []
    }
    const held = this.lines.reduce((sum, line) => sum + line.length, this.rest.length)
    if (held > longest) this.fail(new Error(`the server's reply is longer than ${longest} bytes`))
  }

  fail(error: Error): void {
    this.error ??= error
    this.waiting?.reject(this.error)
    this.waiting = undefined
  }

  private take(reply: SmtpReply): void {
    if (!this.waiting) return void this.ready.push(reply)
    this.waiting.resolve(reply)
    this.waiting = undefined
  }
}

/** It ends up on terminals: a stranger's server wrote it. */
const printable = (text: string): string =>
  text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, shown)
