/** The fleet that is tormented: nginx may run on both hosts at once, the queue never. */
import { Practice, startPractice } from '../e2e/practice.js'

export const queuePort = 7001
/** The longest that the queue's new clients may wait. */
export const holdMs = 10_000
/** Names the queue's process while it runs; /run/lab is the lab's own and no leftover. */
export const queuePid = '/run/lab/queue.pid'

/** Runs until it is stopped; started twice on a host it is one. */
export const startQueue = [
  `if [ -e ${queuePid} ] && kill -0 "$(cat ${queuePid})" 2>/dev/null; then exit 0; fi`,
  `setsid sh -c 'echo $$ >${queuePid}; exec "$@"' sh perl ${Practice.echo} "$(hostname)" tcp :: ${queuePort} </dev/null >/run/lab/queue.out 2>&1 &`,
].join('; ')
const stopQueue = [
  `[ -e ${queuePid} ] || exit 0; pid=$(cat ${queuePid})`,
  'kill "$pid" 2>/dev/null; while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done',
  `rm -f ${queuePid}`,
].join('; ')

const [old4, old6, new4, new6] = ['203.0.113.10', '2001:db8:a::10', '198.51.100.10', '2001:db8:b::10']
export const addresses = { old1: [old4, old6], new1: [new4, new6] }

export const fleet = {
  fleet: 'chaos',
  hosts: {
    old1: { ssh: `root@${old4}`, addresses: addresses.old1 },
    new1: { ssh: `root@${new4}`, addresses: addresses.new1 },
  },
  tunnel: { port: 51820, driver: 'auto' },
  services: {
    web: {
      ...{ from: 'old1', to: 'new1', listen: ['tcp/80'], strategy: 'rolling' },
      addresses: { [old4]: new4, [old6]: new6 },
      run: {
        start: 'pgrep -x nginx >/dev/null || nginx',
        stop: '! pgrep -x nginx >/dev/null || nginx -s quit',
      },
      health: { http: 'http://127.0.0.1:80/healthz' },
      drain: '10s',
    },
    queue: {
      ...{ from: 'old1', to: 'new1', listen: [`tcp/${queuePort}`], strategy: 'recreate' },
      addresses: { [old4]: new4, [old6]: new6 },
      ...{ hold: `${holdMs}ms`, drain: '2s' },
      run: { start: startQueue, stop: stopQueue },
    },
  },
}

/** A practice network with the queue on old1, as it is found. */
export async function startChaos(name: string): Promise<Practice> {
  return startPractice(name, async (practice) => {
    await practice.fleet(fleet)
    await practice.shell('old1', startQueue)
  })
}
