/**
 * The questions that a host is asked before anything is changed on it: a POSIX sh script, read from
 * stdin, that prints `key<TAB>value` lines. Each item stands alone: what is missing or fails leaves
 * only its own lines away. It writes nothing; kernel features are tried in network namespaces that
 * end with the trial (the kernel may load the module in question by itself).
 *
 * `ip -o` and not `-j`: iproute2 has JSON only since 4.14, and busybox never.
 */
import { toolNames } from '../../proto/model/facts.js'
import { ledgerFile, libraryDirectory, pidFile, socketPath, unitName } from './remote-paths.js'

const tools = toolNames.join(' ')

/** One table with one thing in it, so that a refusal names what is missing. */
const queueRuleset = `
  chain c { type filter hook prerouting priority -310; queue num 5180; }`
const rulesets = {
  nat: `
  chain c { type nat hook prerouting priority -110; }`,
  zone: `
  chain c {
    type filter hook prerouting priority -300;
    ct original zone set 1
  }`,
  fib: `
  chain c {
    type filter hook prerouting priority -150;
    fib daddr type local accept
  }`,
  map: `
  map m {
    type ipv4_addr . inet_proto . inet_service : verdict
    flags interval
    elements = { 192.0.2.1 . tcp . 80-81 : accept }
  }
  chain c {
    type filter hook prerouting priority -150;
    ip daddr . meta l4proto . th dport vmap @m
  }`,
}

const table = (key: string, text: string): string => `table inet fmprobe_${key} {${text}\n}\n`
const tryTable = (key: string, text: string): string => `try nft.${key} nft -f - <<'END'\n${table(key, text)}END\n`
const tables = Object.entries(rulesets)

const preamble = `
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
say() { printf '%s\\t%s\\n' "$1" "$2"; }
has() { command -v "$1" >/dev/null 2>&1; }
each() { while IFS= read -r line; do say "$1" "$line"; done; }
# The first line of a text, without a process for it.
newline='
'
first() { line=\${1%%"$newline"*}; }
# Runs a trial and says yes, or no with the first words of its complaint.
try() {
  key=$1; shift
  if said=$("$@" 2>&1); then say "$key" yes
  else first "$said"; say "$key" "no $line"; fi
}
`

/** A function, so that sh has read all of it before a command can take its stdin. */
const scriptOf = (questions: string): string => `${preamble}main() {
${questions}
}
main </dev/null 2>/dev/null
exit 0
`

/**
 * What kernel and tools can do, tried in one network namespace: to make and to end one waits for all others of the machine.
 * As a rule nothing is missing, and all tables pass as one; else each by itself says what is.
 */
const trials = scriptOf(`
  if has iptables && has ip6tables; then
    # -w: the lock of xtables is the whole machine's.
    try xtables.queue sh -c 'for each in iptables ip6tables; do
      $each -w -t raw -I PREROUTING -m mark --mark 0x1 -m comment --comment x -j NFQUEUE --queue-num 5180 || exit 1
    done'
  fi
  if has ip; then
    try link.wireguard ip link add fmprobe0 type wireguard
    try link.vxlan ip link add fmprobe1 type vxlan id 1 dstport 4789 local 127.0.0.1 remote 127.0.0.2
  fi
  if has nft; then
    if nft -f - <<'END'
${tables.map(([key, text]) => table(key, text)).join('')}END
    then for each in ${Object.keys(rulesets).join(' ')}; do say nft.$each yes; done
    else
${tables.map(([key, text]) => tryTable(key, text)).join('')}
    fi
${tryTable('queue', queueRuleset)}
  fi`)

/** Before an agent that runs is spoken with. All other questions take fifty processes and a dozen network namespaces. */
const basics = `
  say arch "$(uname -m)"
  ip -o addr show 2>/dev/null | each addr
  ip -o -4 route show default 2>/dev/null | each route4
  ip -o -6 route show default 2>/dev/null | each route6
  [ -d ${libraryDirectory} ] && say installed directory
  [ -S ${socketPath} ] && say installed socket
  [ -e ${ledgerFile} ] && say installed ledger
  pid=
  [ -d /run/systemd/system ] && pid=$(systemctl show -p MainPID --value ${unitName} 2>/dev/null)
  [ "\${pid:-0}" != 0 ] || { [ -r ${pidFile} ] && read -r pid <${pidFile}; }
  [ -n "$pid" ] && [ "$pid" != 0 ] && [ -r "/proc/$pid/cmdline" ] && say running "$(tr '\\0' ' ' <"/proc/$pid/cmdline")"`

const everything = `
  say hostname "$(uname -n)"
  say system "$(uname -s)"
  say kernel "$(uname -r)"
  say uid "$(id -u)"
  if libc=$(getconf GNU_LIBC_VERSION 2>/dev/null); then say libc "$libc"
  elif ls /lib/ld-musl-* >/dev/null 2>&1; then say libc "musl $(ldd 2>&1 | sed -n 's/^Version //p')"; fi
  if [ -r /etc/os-release ]; then each os </etc/os-release
  elif [ -r /usr/lib/os-release ]; then each os </usr/lib/os-release; fi
  [ -d /run/systemd/system ] && say systemd yes
  for tool in ${tools}; do
    path=$(command -v "$tool" 2>/dev/null) || continue
    # Each tool has its own word for it; those of util-linux and coreutils agree.
    case $tool in
      ip) version=$(ip -V) ;;
      conntrack) version=$(conntrack --version) ;;
      wg) version=$(wg --version) ;;
      *) version=$("$tool" --version </dev/null) ;;
    esac 2>&1
    first "$version"; say tool "$tool $path $line"
  done
  if [ -c /dev/net/tun ]; then try tun sh -c 'exec 3<>/dev/net/tun'
  else say tun 'no /dev/net/tun is not there'; fi
  has unshare && unshare -n sh -s <<'TRIALS'
${trials}
TRIALS
  ip -o link show 2>/dev/null | each link
  ip -o link show type vrf 2>/dev/null | each vrf
  # One process for all: hosts with hundreds of containers have thousands of them.
  (cd /proc/sys/net && grep -H . ipv4/conf/all/send_redirects ipv4/conf/*/forwarding ipv4/conf/*/rp_filter \
    ipv4/conf/*/route_localnet ipv6/conf/*/forwarding ipv6/conf/*/accept_ra) | each sysctl
  for dir in /usr/local /var/lib; do
    free=$(df -Pk "$dir" 2>/dev/null | awk 'NR == 2 { print $4 }')
    [ -n "$free" ] && say disk "$dir $free"
  done
  say bootid "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
  # busybox knows no nanoseconds, and prints the letter.
  say clock "$(date +%s.%N)"
  [ -r /proc/sys/net/netfilter/nf_conntrack_max ] &&
    say conntrack "$(cat /proc/sys/net/netfilter/nf_conntrack_count) $(cat /proc/sys/net/netfilter/nf_conntrack_max)"
  ip -o -4 rule show 2>/dev/null | each rule4
  ip -o -6 rule show 2>/dev/null | each rule6
  for family in 4 6; do
    ip -o -$family route show table all 2>/dev/null | grep -E ' table 5(1[89]|2[0-4])[0-9]( |$)' | head -n 20 | each table
  done
  ss -Hltunp 2>/dev/null | each listener
  # One listing for all: \`list tables\` reads every rule too, and a process a question adds up.
  filters=
  if has nft; then
    filters=$(nft -t list ruleset 2>/dev/null | awk '
      /^table / { family = $2; print "nft.table\\t" $1 " " $2 " " $3 }
      /^table |^[ \\t]+(flags|chain) |hook (forward|input)/ { print "nft.chain\\t" $0 }
      /hook (forward|input|prerouting)/ { print "nft.hooked\\t" family }
      /mark|comment "fleetmove"/ && rules++ < 500 { print "nft.rule\\t" $0 }')
    printf '%s\\n' "$filters"
  fi
  found() { case "$newline$filters$newline" in *"$newline$1$newline"*) ;; *) return 1 ;; esac; }
  for tool in iptables ip6tables; do
    has $tool-save && $tool-save 2>/dev/null | grep -E '^[*]|^:(FORWARD|DOCKER-USER) |mark|fleetmove' | head -n 500 | each $tool
  done
  has nft && nft -j -t list ruleset inet 2>/dev/null | each firewall.nft
  for base in iptables ip6tables; do
    case $base in iptables) family=ip ;; *) family=ip6 ;; esac
    kinds=
    if found "nft.table\ttable $family filter"; then kinds=nft; fi
    if grep -qx filter /proc/net/\${family}_tables_names 2>/dev/null; then kinds="$kinds legacy"; fi
    for kind in $kinds; do
      for command in $base-$kind $base; do
        has $command-save || continue
        $command-save -t filter 2>/dev/null | sed "s/^/$command /" | each firewall.iptables
        break
      done
    done
    # Kubernetes has megabytes of them, and nothing there that filters apart from iptables' tables.
    if found "nft.hooked\t$family"; then
      listing=$(nft -j -t list ruleset $family 2>/dev/null)
      [ \${#listing} -lt 1000000 ] && say firewall.nft "$listing"
    fi
  done`

/** Prints all facts of a host. */
export const factsScript = scriptOf(`${basics}${everything}\n  say end end`)
/** Prints the few that are needed to speak with an agent that runs. */
export const basicsScript = scriptOf(`${basics}\n  say end end`)
