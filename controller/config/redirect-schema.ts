/** `redirect:` of a service: what its old host answers once it has moved, where forwarding isn't wanted. */
import { z } from 'zod'
import { type Listener, parseListener, parseRedirect } from '../../proto/parse.js'
import { list, mapping, parsedText } from './schema-parts.js'

const forms = 'https://HOST[:PORT][/PATH], or { to: https://…, listen: [tcp/PORT] }'
const url = parsedText(parseRedirect, forms, {
  pattern: '^https://',
  description: 'The path and the query of a request are put behind it',
})
const httpListener = parsedText(parseListener, 'a listener of the service such as tcp/8080', {
  pattern: '^tcp/[1-9][0-9]{0,4}$',
  description: 'A listener of the service that speaks HTTP',
})

/** `listen` undefined: tcp/80. */
export const redirect = z
  .union(
    [
      url.transform((to) => ({ to, listen: undefined as Listener[] | undefined })),
      mapping(
        { to: url, listen: list(httpListener, 'a list of one listener or more, such as [tcp/8080]').optional() },
        forms,
      ).transform(({ to, listen }) => ({ to, listen })),
    ],
    { error: forms },
  )
  .meta({
    description:
      'Once the service has moved, its old host answers HTTP with a 308 to this URL instead of forwarding it; listeners that are not named (default: tcp/80) are forwarded all the same',
  })
