/** How fast connections are opened, and by which address. Pure. */

export interface IngressRates {
  /** New connections a second by the old host's address, and by the new host's; null where it isn't known. */
  byOld: number | null
  byNew: number | null
  /** The share that used the old address, 0 to 1; null where nobody came. */
  oldShare: number | null
}

export const oldShare = (byOld: number | null, byNew: number | null): number | null => {
  const all = (byOld ?? 0) + (byNew ?? 0)
  return all > 0 && byOld !== null && byNew !== null ? byOld / all : null
}

/** The same over many looks, the newest last: only those count in which both hosts told something. */
export function oldShareOver(
  byOld: readonly (number | null)[],
  byNew: readonly (number | null)[],
): IngressRates['oldShare'] {
  let [old, fresh] = [0, 0]
  for (const [i, ofOld] of byOld.entries()) {
    const ofNew = byNew[i] ?? null
    if (ofOld === null || ofNew === null) continue
    old += ofOld
    fresh += ofNew
  }
  return oldShare(old, fresh)
}

/** What one host counted within so long a time, by its own address. */
export interface CountedArrivals {
  recentForwarded: number
  recentServed: number
  recentMs: number
}

export function ingressRates(old: CountedArrivals | undefined, fresh: CountedArrivals | undefined): IngressRates {
  const perSecond = (counted: CountedArrivals | undefined): number | null =>
    counted && counted.recentMs > 0
      ? ((counted.recentForwarded + counted.recentServed) * 1000) / counted.recentMs
      : null
  const [byOld, byNew] = [perSecond(old), perSecond(fresh)]
  return { byOld, byNew, oldShare: oldShare(byOld, byNew) }
}
