/**
 * Does `work` for every item, at most `limit` at once, and waits for all. One failure is thrown as it
 * is, several as an AggregateError, so that an operator sees every host that is in the way at once.
 */
export async function inParallel<T, R>(items: Iterable<T>, work: (item: T) => Promise<R>, limit = 50): Promise<R[]> {
  const queue = [...items].map((item, index) => ({ item, index }))
  const results: R[] = new Array(queue.length)
  const failures: unknown[] = []
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      try {
        results[next.index] = await work(next.item)
      } catch (error) {
        failures.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, queue.length) }, worker))
  if (failures.length === 1) throw failures[0]
  if (failures.length > 1)
    throw new AggregateError(failures, failures.map((failure) => (failure as Error).message).join('; '))
  return results
}
