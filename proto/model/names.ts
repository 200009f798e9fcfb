/**
 * Names that the operator chose in fleet.yaml. The alphabet ([a-z0-9-], at most 32, beginning with a
 * letter or digit) is what makes them safe in nft identifiers, file names and argv; values are made
 * only by `parseName` in proto/parse.ts.
 */
declare const brand: unique symbol
export type Name = string & { readonly [brand]: 'Name' }
export const namePattern = /^[a-z0-9][a-z0-9-]{0,31}$/
