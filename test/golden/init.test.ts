/**
 * What hosts have said (the records in init/, which end in .txt) → the fleet.yaml that `init` writes. UPDATE_GOLDEN=1
 * writes the files anew: read the difference before it is committed.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseFacts } from '../../controller/bootstrap/parse-facts.js'
import { parseFleet } from '../../controller/config/load-fleet.js'
import { draftHost, hostIps } from '../../controller/discover/draft-host.js'
import { fleetText } from '../../controller/discover/fleet-text.js'
import { parsePresence, parseSurvey } from '../../controller/discover/parse-survey.js'
import type { DraftEnd, DraftHost } from '../../controller/plan/draft/draft.js'
import { draftFleet } from '../../controller/plan/draft/draft-fleet.js'
import type { Survey } from '../../controller/plan/draft/survey.js'

const directory = join(__dirname, 'init')

interface Recorded {
  draft: DraftHost
  end: DraftEnd
  survey: Survey
}

function host(record: string, name: string, at: string): Recorded {
  const text = readFileSync(join(directory, `${record}.txt`), 'utf8')
  const [facts, survey] = [parseFacts(text), parseSurvey(text)]
  if (!facts || !survey) throw new Error(`${record} is torn`)
  const draft = draftHost({ name, ssh: `root@${at}`, become: 'none', facts, survey, reachedAt: hostIps(at) })
  return { draft, survey, end: { name, addresses: draft.addresses, survey, systemd: facts.systemd } }
}

const bare = { record: 'bare', at: '198.51.100.20', has: '' }
const cases = {
  web: { at: '203.0.113.10', after: bare },
  mail: {
    at: '203.0.113.25',
    after: {
      record: 'ready',
      at: '198.51.100.30',
      has: 'exe:/usr/lib/postfix/sbin/master\nunit:postfix.service\ndir:/var/spool/postfix\n',
    },
  },
  // Behind a provider's translation.
  database: { at: '203.0.113.50', after: bare },
  docker: { at: '203.0.113.40', after: { record: 'ready', at: '198.51.100.30', has: 'container:mqtt\n' } },
}

describe.each(Object.entries(cases))('%s', (record, { at, after }) => {
  const [old, next] = [host(record, 'old', at), host(after.record, 'new', after.at)]
  const presence = parsePresence(after.has)
  const draft = draftFleet('old-to-new', [old.draft, next.draft], [{ old: old.end, new: next.end, presence }])
  const text = fleetText(draft)

  it('is the golden text', () => {
    const path = join(directory, `${record}.yaml`)
    if (process.env.UPDATE_GOLDEN === '1') writeFileSync(path, text)
    expect(text).toBe(readFileSync(path, 'utf8'))
  })

  it('loads as it is', () => {
    const fleet = parseFleet(text, `${record}.yaml`)
    expect([...fleet.services.keys()]).toEqual(draft.services.map(({ name }) => name))
  })
})
