/** What a call that fails says about the agent: that decides whether a command waits for a leaving one's end, once. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { credentials, Server, ServerCredentials } from '@grpc/grpc-js'
import { isAgentGone } from '../../../../controller/agents/agent-gone.js'
import { type GrpcAgent, grpcAgent } from '../../../../controller/agents/grpc-agent.js'
import { errorToStatus } from '../../../../proto/error-wire.js'
import { AgentService } from '../../../../proto/gen/fleetmove.js'
import { FleetmoveError } from '../../../../proto/model/error.js'
import type { Name } from '../../../../proto/model/names.js'

const directory = mkdtempSync(join(tmpdir(), 'fleetmove-test-'))
/** One a test: the library remembers of an address that it has failed. */
let socket = ''
const closing: (() => unknown)[] = []
let tests = 0
beforeEach(() => {
  socket = join(directory, `${tests++}.sock`)
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})
afterAll(() => rmSync(directory, { recursive: true }))

/** Answers the call Hello by `hello`, and no other. */
async function serve(hello: (server: Server, fail: (error: FleetmoveError) => void) => void): Promise<void> {
  const server = new Server()
  const others = Object.fromEntries(
    Object.keys(AgentService).map((name) => [name, () => undefined]),
  ) as unknown as Parameters<typeof server.addService>[1]
  server.addService(AgentService, {
    ...others,
    hello: (_call: unknown, reply: (error: ReturnType<typeof errorToStatus>) => void) =>
      hello(server, (error) => reply(errorToStatus(error))),
  })
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  )
  closing.push(() => server.forceShutdown())
}

function call(failure?: FleetmoveError): GrpcAgent {
  const agent = grpcAgent(
    'old1' as Name,
    {
      ...{ address: `unix:${socket}`, credentials: credentials.createInsecure(), options: {}, slowness: 1 },
      ...{ failure: () => failure, close: async () => {} },
    },
    { lockId: () => '', call: () => () => {} },
  )
  closing.push(() => agent.close())
  return agent
}

const failureOf = (agent: GrpcAgent): Promise<FleetmoveError> =>
  agent.hello().then(
    () => {
      throw new Error('it answered')
    },
    (error: FleetmoveError) => error,
  )

test('an agent that ends while it is asked is gone, and its host is named', async () => {
  await serve((server) => server.forceShutdown())
  const error = await failureOf(call())
  expect(error).toMatchObject({ code: 'unreachable', host: 'old1' })
  expect(isAgentGone(error)).toBe(true)
})

test('so is one that takes no connection any more', async () => {
  expect(isAgentGone(await failureOf(call()))).toBe(true)
})

test('what the way to the host has said is told in its place, and is not waited for', async () => {
  await serve((server) => server.forceShutdown())
  const cut = new FleetmoveError('unreachable', { message: 'SSH has ended' })
  const error = await failureOf(call(cut))
  expect(error).toBe(cut)
  expect(isAgentGone(error)).toBe(false)
})

test('an agent that answers with an error is there', async () => {
  await serve((_server, fail) => fail(new FleetmoveError('invalid', { message: 'not a spec' })))
  expect(isAgentGone(await failureOf(call()))).toBe(false)
})

test('a connection speaks before anything is asked: agents end silent ones', async () => {
  const said = new Promise<string>((resolve) => {
    const server = createServer((connection) => {
      connection.on('error', () => {}).once('data', (bytes) => resolve(bytes.toString('latin1')))
      closing.push(() => connection.destroy())
    })
    server.listen(socket, () => call())
    closing.push(() => server.close())
  })
  // RFC 9113, 3.4.
  expect(await said).toMatch(/^PRI \* HTTP\/2\.0/)
})

test('of several failures all must be of leaving agents', async () => {
  await serve((server) => server.forceShutdown())
  const gone = await failureOf(call())
  expect(isAgentGone(new AggregateError([gone, gone]))).toBe(true)
  expect(isAgentGone(new AggregateError([gone, new FleetmoveError('locked', { message: 'taken' })]))).toBe(false)
})
