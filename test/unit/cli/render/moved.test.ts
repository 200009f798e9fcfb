import { movedText } from '../../../../cli/render/moved.js'
import type { Name } from '../../../../proto/model/names.js'

const moved = { service: 'web' as Name, active: 'new1' as Name, switchMs: 81.4, undrained: 0 }

test.each([
  [moved, 'web answers on new1 now (switched in 81 ms).\n'],
  [
    { ...moved, switchMs: 0, undrained: 2 },
    'web answers on new1 now (switched before this run; 2 connections were still open when the drain was over).\n',
  ],
  [{ ...moved, addresses: ['192.0.2.1'] }, 'web answers on new1 now (switched in 81 ms); 192.0.2.1 is there now.\n'],
])('%j', (result, text) => expect(movedText([result])).toBe(text))
