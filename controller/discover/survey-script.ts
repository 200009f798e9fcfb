/**
 * What a host is asked by `init`: a POSIX sh script, read from stdin, that prints `key<TAB>value` lines, and
 * writes nothing. Each item stands alone: what is missing or fails leaves only its own lines away. Keys begin
 * with `s.`, so that its output and that of the facts can stand in one record.
 */
import { knownDirectories } from '../plan/draft/known-programs.js'

/** Of busy hosts: listeners, processes and directories beyond these are no longer a draft for people. */
const limits = { listeners: 2000, processes: 400, containers: 200 }

const inspectFormat = [
  '{"id":{{json .Id}}',
  '"name":{{json .Name}}',
  '"image":{{json .Config.Image}}',
  '"labels":{{json .Config.Labels}}',
  '"ports":{{json .NetworkSettings.Ports}}',
  '"mounts":{{json .Mounts}}',
  '"pid":{{.State.Pid}}}',
].join(',')

export const surveyScript = `
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
say() { printf '%s\\t%s\\n' "$1" "$2"; }
has() { command -v "$1" >/dev/null 2>&1; }
each() { while IFS= read -r line; do say "$1" "$line"; done; }
# Established connections by listening port, out of the tables of one network stack: port in hex, connections,
# distinct clients, connections from the host itself. 0A listens, 01 is established (include/net/tcp_states.h).
flows() {
  cat "/proc/$1/net/tcp" "/proc/$1/net/tcp6" 2>/dev/null | awk '
    { split($2, l, ":"); split($3, r, ":") }
    $4 == "0A" { listens[l[2]] = 1 }
    $4 == "01" {
      n[l[2]]++
      if (substr(r[1], length(r[1]) - 7) == substr(l[1], length(l[1]) - 7)) own[l[2]]++
      if (!((l[2], r[1]) in seen)) { seen[l[2], r[1]] = 1; clients[l[2]]++ }
    }
    END { for (p in n) if (p in listens) print p, n[p], clients[p], own[p] + 0 }'
}
main() {
  listening=$(ss -Hlntup 2>/dev/null)
  if [ -n "$listening" ]; then
    printf '%s\\n' "$listening" | head -n ${limits.listeners} | each s.listener
    pids=$(printf '%s\\n' "$listening" | grep -o 'pid=[0-9]*' | cut -c5- | sort -un)
  else
    # Without ss: the kernel's own tables, and whose descriptor the socket is.
    rows=$(for table in tcp tcp6 udp udp6; do
      awk -v t=$table '(t ~ /tcp/ && $4 == "0A") || (t ~ /udp/ && $4 == "07") { print t, $2, $10 }' /proc/net/$table
    done | head -n ${limits.listeners})
    printf '%s\\n' "$rows" | each s.socket
    owners=$({ printf '%s\\n---\\n' "$rows"; ls -l /proc/[0-9]*/fd 2>/dev/null; } | awk '
      $0 == "---" { files = 1; next }
      !files { inodes[$3] = 1; next }
      /^\\/proc\\// { split($1, part, "/"); pid = part[3] }
      match($0, /socket:\\[[0-9]+\\]/) {
        inode = substr($0, RSTART + 8, RLENGTH - 9)
        if (inode in inodes) print inode, pid
      }')
    printf '%s\\n' "$owners" | each s.owner
    pids=$(printf '%s\\n' "$owners" | cut -d' ' -f2 | sort -un)
  fi
  units=
  for pid in $(printf '%s\\n' $pids | head -n ${limits.processes}); do
    [ -d "/proc/$pid" ] || continue
    say s.name "$pid $(cat /proc/$pid/comm)"
    say s.program "$pid $(readlink /proc/$pid/exe)"
    say s.directory "$pid $(readlink /proc/$pid/cwd)"
    say s.command "$pid $(tr '\\000\\n\\t' '   ' </proc/$pid/cmdline | cut -c1-400)"
    say s.user "$pid $(stat -c %U /proc/$pid)"
    group=$(grep -E '^(0|[0-9]+:name=systemd):' /proc/$pid/cgroup | tail -n 1)
    say s.group "$pid $group"
    units="$units $(printf %s "$group" | grep -oE '[^/]+[.]service' | tail -n 1)"
  done
  if [ -d /run/systemd/system ]; then
    units=$(printf '%s\\n' $units | sort -u)
    [ -n "$units" ] && systemctl show --no-pager -p Id -p Description -p StateDirectory -p WorkingDirectory -- $units | each s.unit
    systemctl list-sockets --no-pager --no-legend | each s.activation
  fi
  ls /etc/init.d | each s.init
  for directory in ${knownDirectories.join(' ')}; do
    [ -n "$(ls -A "$directory" 2>/dev/null)" ] && say s.data "$directory"
  done
  # Asking would start a daemon that waits behind its socket, and podman makes its storage when first asked.
  engine=
  if grep -qsx dockerd /proc/[0-9]*/comm && has docker; then engine=docker
  elif [ -d /var/lib/containers/storage ] && has podman; then engine=podman; fi
  if [ -n "$engine" ]; then
    ids=$($engine ps -q --no-trunc | head -n ${limits.containers})
    [ -n "$ids" ] && $engine inspect --type container --format '${inspectFormat}' $ids | each s.container
    [ -n "$ids" ] && for pid in $($engine inspect --type container --format '{{.State.Pid}}' $ids); do
      flows "$pid" | sed "s/^/$pid /" | each s.containerflow
    done
  fi
  flows self | each s.flow
  ip -o -6 addr show temporary 2>/dev/null | each s.temporary
  say s.ephemeral "$(cat /proc/sys/net/ipv4/ip_local_port_range)"
  say s.end end
}
main </dev/null 2>/dev/null
exit 0
`

/** What of `exe:PATH`, `unit:NAME`, `container:NAME` and `dir:PATH` is on a host, a line each; of directories, those with something in them. */
export const presenceScript = `
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
for thing; do
  name=\${thing#*:}
  case $thing in
    exe:*) [ -x "$name" ] ;;
    unit:*) systemctl cat -- "$name" >/dev/null 2>&1 ;;
    container:*) grep -qsx dockerd /proc/[0-9]*/comm && docker container inspect "$name" >/dev/null 2>&1 ;;
    dir:*) [ -n "$(ls -A "$name" 2>/dev/null)" ] ;;
  esac && printf '%s\\n' "$thing"
done </dev/null
exit 0
`
