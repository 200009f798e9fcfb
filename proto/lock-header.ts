/** The gRPC metadata key under which a changing call carries the id of its run's lock. */
export const lockHeader = 'fleetmove-lock'
