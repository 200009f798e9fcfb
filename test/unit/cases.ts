/** How many cases a property is tried with: few as a rule, 100,000 when FLEETMOVE_LONG asks for it. */
const long = Boolean(process.env.FLEETMOVE_LONG)
if (long) jest.setTimeout(6 * 3_600_000)

export const cases = (few: number): number => (long ? 100_000 : few)
