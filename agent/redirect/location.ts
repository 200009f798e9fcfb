/** Where a request is sent. Pure. */

/**
 * @param to without a slash at its end
 * @param target as the request's first line has it (RFC 9112, 3.2): a path with its query, an absolute URL, or `*`
 */
export function locationOf(to: string, target: string): string {
  const path = target.replace(/^https?:\/\/[^/?#]*/i, '')
  // Behind a host name only a slash may follow, or the client's text would become part of the name.
  const rest = path.startsWith('/') ? path : path.startsWith('?') ? `/${path}` : '/'
  return to + rest.replace(/[^!-~]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}
