/** Chance that can be repeated: what is drawn depends on the seed alone. */
export class Random {
  private state: number

  constructor(seed: string) {
    // FNV-1a (RFC 9923): seeds that are close to each other give different beginnings.
    this.state = 0x811c9dc5
    for (const character of seed) this.state = Math.imul(this.state ^ character.charCodeAt(0), 0x01000193) >>> 0
  }

  /** From 0 to 1, 1 excluded: mulberry32. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  chance(share: number): boolean {
    return this.next() < share
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.next() * from.length)]!
  }
}
