/** Set by the build from package.json; a run from source has none. */
declare const FLEETMOVE_VERSION: string | undefined
export const version = typeof FLEETMOVE_VERSION === 'string' ? FLEETMOVE_VERSION : 'source'
