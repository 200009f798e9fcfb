/**
 * Prints everything about a host's network that a migration could leave behind, and the names of its
 * processes: text that is equal before and after if nothing was left. Counters, timers and secrets that
 * the kernel makes up are left out; so are the processes of this script itself.
 */
export const hostStateScript = `set -eu
section() { echo "== $1"; }
section addresses
ip -d addr | sed -E 's/ (hello|tcn|topology_change|gc)_timer +[0-9.]+//g'
for family in -4 -6; do
  section "routes $family"
  ip $family route show table all
  section "rules $family"
  ip $family rule
done
section nft
nft -s list ruleset
section sysctl
sysctl -a -r '^net\\.(ipv4|ipv6|netfilter)\\.' 2>/dev/null |
  grep -vE 'tcp_fastopen_key|nf_conntrack_count|stable_secret' | sort
section processes
ps -e -o pid= -o ppid= -o comm= | while read -r pid parent name; do
  [ "$pid" = $$ ] || [ "$parent" = $$ ] || echo "$name"
done | sort -u
`
