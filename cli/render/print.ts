/** Results go to stdout, progress and errors to stderr. */
export function print(text: string): void {
  process.stdout.write(text)
}
