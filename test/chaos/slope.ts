/** How fast a process grows. */
export interface Sample {
  seconds: number
  /** MiB. */
  rss: number
  descriptors: number
  /** On the whole host, the dead that nobody has buried among them. */
  processes: number
}

export type Growth = Omit<Sample, 'seconds'>

/** By least squares, a second: one that only goes up and down has none. */
export function slope(samples: readonly Sample[]): Growth {
  const mean = (pick: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + pick(sample), 0) / samples.length
  const middle = mean(({ seconds }) => seconds)
  const spread = mean(({ seconds }) => (seconds - middle) ** 2)
  const of = (pick: (sample: Sample) => number): number =>
    spread > 0 ? mean((sample) => (sample.seconds - middle) * pick(sample)) / spread : 0
  return {
    rss: of(({ rss }) => rss),
    descriptors: of(({ descriptors }) => descriptors),
    processes: of(({ processes }) => processes),
  }
}
