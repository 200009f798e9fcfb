import { styleText } from 'node:util'

export type Style = (format: Parameters<typeof styleText>[0], text: string) => string

/** Colour only on a terminal, and never against NO_COLOR (no-color.org). */
export const styleFor = (stream: NodeJS.WriteStream): Style =>
  stream.isTTY && !process.env.NO_COLOR ? (format, text) => styleText(format, text) : (_format, text) => text
