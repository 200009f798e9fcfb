/** Where fleetmove lives on a host. The contract names these paths: others rely on them. */
export const libraryDirectory = '/usr/local/lib/fleetmove'
export const stateDirectory = '/var/lib/fleetmove'
export const ledgerFile = `${stateDirectory}/ledger.json`
export const runDirectory = '/run/fleetmove'
export const socketPath = `${runDirectory}/agent.sock`
export const pidFile = `${runDirectory}/agent.pid`
export const logFile = `${stateDirectory}/agent.log`
export const unitName = 'fleetmove-agent.service'
export const unitPath = `/etc/systemd/system/${unitName}`
