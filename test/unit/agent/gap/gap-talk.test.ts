import { createServer } from 'node:net'
import { answerOrigin, askTarget, type GapEnds, type GapQuestion } from '../../../../agent/gap/gap-talk.js'

const ends: GapEnds = {
  ...{ address: '127.0.0.1', peer: '127.0.0.1', port: 0, id: '0123456789abcdef' },
  secret: Buffer.alloc(32, 7).toString('base64'),
}
const heard: GapQuestion[] = []
const open: { close(): void }[] = []
const target = async (own: GapEnds = ends): Promise<GapEnds> => {
  const listening = await answerOrigin(own, async (question) => {
    heard.push(question)
    return question === 'whose' ? 'yielded' : 'ok'
  })
  open.push(listening)
  return { ...own, port: listening.port }
}
afterEach(() => {
  heard.length = 0
  for (const each of open.splice(0)) each.close()
})

test('questions are answered, one a connection', async () => {
  const there = await target()
  expect([await askTarget(there, 'hello'), await askTarget(there, 'whose'), await askTarget(there, 'gone')]).toEqual([
    'ok',
    'yielded',
    'ok',
  ])
  expect(heard).toEqual(['hello', 'whose', 'gone'])
})

test('who has not the secret of this move is not heard', async () => {
  const there = await target()
  const secret = Buffer.alloc(32, 8).toString('base64')
  expect(await askTarget({ ...there, secret }, 'whose')).toBeNull()
  expect(await askTarget({ ...there, id: 'fedcba9876543210' }, 'whose')).toBeNull()
  expect(heard).toEqual([])
})

test('nor is who comes from another address than the peer', async () => {
  const there = await target({ ...ends, peer: '127.0.0.9' })
  expect(await askTarget({ ...there, peer: '127.0.0.1' }, 'whose')).toBeNull()
  expect(heard).toEqual([])
})

test('an answer without proof is none, nor is one that was heard before, nor silence', async () => {
  const answers = ['yielded\n', `yielded ${'0'.repeat(64)}\n`, 'yielded', '']
  for (const answer of answers) {
    const server = createServer((socket) => {
      socket.write('00\n')
      socket.once('data', () => socket.end(answer))
      socket.on('error', () => {})
    })
    open.push(server)
    const port = await new Promise<number>((resolve) =>
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)),
    )
    expect(await askTarget({ ...ends, port }, 'whose')).toBeNull()
  }
  const there = await target()
  for (const each of open.splice(0)) each.close()
  expect(await askTarget(there, 'whose')).toBeNull()
})
