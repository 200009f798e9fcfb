import { parse } from 'yaml'
import { z } from 'zod'
import { fleetSchema } from '../../../../controller/config/fleet-schema.js'
import { parseFleet } from '../../../../controller/config/load-fleet.js'
import { exampleFleet } from './example-fleet.js'

describe('fleetSchema', () => {
  const schema = fleetSchema()

  it('is a JSON Schema that says so, and is plain JSON', () => {
    expect(schema).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      title: 'fleet.yaml of fleetmove',
      type: 'object',
      required: ['fleet', 'hosts', 'services'],
      additionalProperties: false,
    })
    expect(JSON.parse(JSON.stringify(schema))).toEqual(schema)
  })

  it('knows defaults and choices', () => {
    expect(schema).toHaveProperty(
      'properties.services.additionalProperties.properties',
      expect.objectContaining({
        hold: expect.objectContaining({ type: 'string', default: '15s', pattern: '^[0-9]{1,9}(ms|s|m|h)$' }),
        strategy: expect.objectContaining({ enum: ['rolling', 'recreate'], default: 'rolling' }),
        wave: expect.objectContaining({ type: 'integer', minimum: 1, default: 1 }),
      }),
    )
  })

  it('takes the example and refuses what the loader refuses by shape', () => {
    const checked = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0])
    expect(checked.safeParse(parse(exampleFleet)).error).toBeUndefined()
    const spoilt: [string, string][] = [
      ['vantages:', 'vantage:'],
      ['port: 51820', 'port: 65536'],
      ['driver: auto', 'driver: ipsec'],
      ['hold: 15s', 'hold: "15"'],
      ['tcp/25', 'tcp'],
      ['stop: "systemctl stop postfix", ', ''],
      ['ssh: ops@198.18.9.9', 'ssh: ops@198.18.9.9, password: x'],
      ['/var/spool/postfix', 'spool'],
    ]
    for (const [sound, bad] of spoilt) {
      const text = exampleFleet.replace(sound, bad)
      expect({ bad, refused: !checked.safeParse(parse(text)).success }).toEqual({ bad, refused: true })
      expect(() => parseFleet(text, 'fleet.yaml')).toThrow('fleet.yaml:')
    }
  })
})
