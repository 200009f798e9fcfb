/** Probes from the controller's own machine: a vantage as good as any, and there without SSH. */
export { type RunningProbe, sendProbe, startProbe } from '../proto/send-probe.js'
