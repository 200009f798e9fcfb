/**
 * A terminal session without what differs from run to run and from machine to machine. How columns stand and where
 * lines are broken follows from that, so it is left out too; the golden texts of single commands have it.
 */

const squeezed = (line: string): string => line.replace(/(?<=\S) +/g, ' ')
const countless = (line: string): string => squeezed(line).replace(/\d+(\.\d+)?k?/g, 'N')

type Rule = readonly [RegExp, string | ((line: string) => string)]

const rules: readonly Rule[] = [
  // A plan breaks its lines: each entry is one again.
  [/\n {6}(?=\S)/g, ' '],
  [/\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?Z/g, 'TIME'],
  [/^([✓✗]) +[\d.ms]+( s)? {2}/gm, '$1 TIME  '],
  // The machine.
  [/Debian GNU\/Linux \d+ \(\w+\), Linux \d\S*,? \w+/g, 'OS, KERNEL'],
  [/^( {4}(tools|kernel)): .*$/gm, '$1: …'],
  [/\b\d+ of \d+ entries, room for about \d+ /g, 'N of N entries, room for about N '],
  // Which tunnel there is depends on it, and what is to be done for it.
  [/\bwireguard: WireGuard, .*$/gm, 'wireguard: WireGuard, …'],
  [/^ {4}WireGuard, .*$/gm, '    WireGuard, …'],
  [/^(Step 2: .*\n)([\s\S]*?)(?=^ {2}then$)/gm, '$1  …\n'],
  [/\b\d+ changes taken back/g, 'N changes taken back'],
  // The moment.
  [/\b[0-9a-f]{32}\b|(?<=-)[0-9a-f]{16}\b/g, 'HASH'],
  [/\b\d+ chains\b/g, 'N chains'],
  [/(has the peer (?:\[[^\]]+\]|[\d.]+)):\d+/g, '$1:PORT'],
  [/\b\d+(\.\d+)? (ms|kB|MB|GB)\b/g, 'N $2'],
  // The load: whoever came last stands first.
  [/\(2001:db8:c::11, 198\.18\.0\.11\)/g, '(198.18.0.11, 2001:db8:c::11)'],
  [/^( *# )(now: .*|no connections at the moment)$/gm, '$1now: …'],
  [/^SERVICE {2}STAGE .*$/gm, squeezed],
  [/^nginx +moved .*$/gm, countless],
  [/^TIME {2}nginx .*$/gm, countless],
  [/^old-to-new {2}1 service, .*$/gm, countless],
  [
    /\d+ connections by the old address, \d+ by the new one since up, [\d.]+ %/g,
    'N by the old address, N by the new one, N %',
  ],
  [/by the old address [\d.]+ % [▁-█]+ [\d.]+ %/g, 'by the old address N % ▅ N %'],
]

/** Hosts are asked at the same time, and end in any order: lines that tell the same of each are sorted. */
function settled(lines: readonly string[]): string[] {
  const told = (line: string | undefined): string => /^[✓✗] TIME {2}\S+ +(.*?)(:|$)/.exec(line ?? '')?.[1] ?? ''
  // `asked what runs on` names the host itself.
  const kind = (line: string | undefined): string => told(line).replace(/\S+@\S+/, '')
  const sorted: string[] = []
  for (let begin = 0; begin < lines.length; ) {
    let end = begin + 1
    while (kind(lines[begin]) !== '' && kind(lines[end]) === kind(lines[begin])) end++
    sorted.push(...lines.slice(begin, end).sort())
    begin = end
  }
  return sorted
}

/** What is left is the same every time, wherever a practice network can be. */
export function normalised(text: string): string {
  const replaced = rules.reduce(
    (said, [what, by]) => (typeof by === 'string' ? said.replace(what, by) : said.replace(what, by)),
    text,
  )
  return settled(replaced.split('\n')).join('\n')
}
