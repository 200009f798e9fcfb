/**
 * The two shell programs that make the lab's namespaces. Both end as a perl process that only reaps:
 * perl-base is on every Debian machine, and with SIGCHLD ignored the kernel reaps for it.
 */

/**
 * The lab's init: first process of a pid namespace of its own, so that its end is the end of every
 * process, namespace and mount of the lab. Arguments: the state directory, the names of hosts that have Node
 * and of those that haven't, each in one word, and for each file tree that hosts must see, Node first,
 * MARKER TREE: a file in it, and its root.
 *
 * Standard output gets `init PID` and `host NAME PID` lines, in the machine's own pid numbers, or complaints
 * and then `lost NAME`. It then waits for the line `up` on standard input: if its maker dies first, end of
 * file ends the lab.
 *
 * The hosts' writable layers are one tmpfs, mounted only here: it vanishes with the mount namespace, so
 * no crash can leave it behind, and overlayfs takes it as upper layer even where `/` is itself an
 * overlay (a container), which it refuses for a directory on such a disk.
 */
export const initScript = `set -eu
exec 2>&1
umask 022
dir=$1 hosts=$2 nodeless=$3; shift 3
# Its own /proc is still the machine's, so this is the pid as the machine knows it.
read -r pid rest </proc/self/stat
echo "init $pid"
mount -t tmpfs -o mode=0755 fleetmove-lab "$dir/fs"
start() {
  unshare --mount --pid --net --uts --ipc --fork --kill-child sh "$dir/host.sh" "$dir" "$@" </dev/null &
}
for host in $hosts; do start "$host" "$@"; done
# The first tree is Node's.
shift 2
for host in $nodeless; do start "$host" "$@"; done
exec perl -e '
  $0 = "fleetmove-lab"; $SIG{CHLD} = "IGNORE";
  my $word = <STDIN>; exit 1 unless defined $word && $word eq "up\\n";
  open STDIN, "<", "/dev/null"; open STDOUT, ">", "/dev/null"; open STDERR, ">", "/dev/null";
  sleep while 1'
`

/** One host's init, in all its namespaces. Arguments: state directory, name, MARKER TREE pairs. */
export const hostScript = `set -eu
umask 022
dir=$1 host=$2; shift 2
trap 'echo "lost $host"' EXIT
read -r pid rest </proc/self/stat
fs=$dir/fs/$host
root=$fs/root
mkdir -p "$fs/work" "$root"
# At the first boot only. What the operator keeps in dot files is no host's business: a whiteout hides each.
if [ ! -e "$fs/upper" ]; then
  mkdir -p "$fs/upper"
  mkdir -m 0700 "$fs/upper/root"
  for hidden in /root/.[!.]*; do
    [ ! -e "$hidden" ] || mknod "$fs/upper$hidden" c 0 0
  done
fi
# The kernel is the machine's, and yet each boot of a host is one of its own.
cat /proc/sys/kernel/random/uuid >"$fs/boot_id"
mount -t overlay -o "lowerdir=/,upperdir=$fs/upper,workdir=$fs/work" "lab-$host" "$root" || {
  echo "cannot mount an overlay over /" >&2; exit 1; }

mount -t proc proc "$root/proc"
echo "$host" >"$root/proc/sys/kernel/hostname"
# Only the network's sysctls belong to the host; the others are the whole machine's.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount --bind "$fs/boot_id" "$root/proc/sys/kernel/random/boot_id"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=0755 run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mkdir -p "$root/run/sshd" "$root/run/lab" "$root/run/lock"

mount -t tmpfs -o mode=0755 dev "$root/dev"
mkdir -p "$root/dev/pts" "$root/dev/net" "$root/dev/shm"
chmod 1777 "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
for node in null zero full random urandom tty net/tun; do
  [ -e "/dev/$node" ] || continue
  : >"$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done

# What lies on another file system than / is not in the overlay.
while [ $# -gt 0 ]; do
  marker=$1 tree=$2; shift 2
  [ ! -e "$root$marker" ] || continue
  if [ -d "$tree" ]; then mkdir -p "$root$tree"; else mkdir -p "$root\${tree%/*}"; : >"$root$tree"; fi
  mount --bind "$tree" "$root$tree"
  mount -o remount,bind,ro "$root$tree"
done

mkdir "$root/run/lab/machine"
cd "$root"
pivot_root . run/lab/machine
cd /root
umount -l /run/lab/machine
rmdir /run/lab/machine
echo "host $host $pid"
exec perl -e '
  $0 = "lab-$ARGV[0]"; $SIG{CHLD} = "IGNORE";
  sleep while 1' "$host" </dev/null >/dev/null 2>&1
`
