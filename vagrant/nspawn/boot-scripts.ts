/** The shell programs that boot the hosts of a network of systemd-nspawn containers. */

/**
 * The network's init: first process of a pid namespace of its own, so that its end is the end of every host.
 * Its network namespace is the router's. Arguments: directory, and HOST SUBNET TREE for each host.
 */
export const initScript = `set -eu
exec 2>&1
umask 022
dir=$1; shift
read -r pid rest </proc/self/stat
echo "init $pid"
mount -t proc proc /proc
mount -t tmpfs -o mode=0755 fleetmove-hosts "$dir/fs"
mkdir -p /run/netns
mount -t tmpfs -o mode=0755 fleetmove-netns /run/netns
# systemd-nspawn's own, which it doesn't clear when a host reboots.
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=0755 fleetmove-nspawn /run/systemd/nspawn
sh "$dir/router.sh"
while [ $# -gt 0 ]; do
  sh "$dir/host.sh" "$dir" "$3" "$1" "$2" </dev/null &
  shift 3
done
read -r word
`

/**
 * One host. A reboot ends systemd-nspawn with status 133 (its --keep-unit): the network namespace is made
 * anew then, or rules and tunnels would survive as they never do. Arguments: directory, tree, name, subnet.
 */
export const hostScript = `set -eu
dir=$1 tree=$2 host=$3 subnet=$4
fs=$dir/fs/$host
mkdir -p "$fs/upper" "$fs/work" "$fs/root" "$fs/docker"
mount -t overlay -o "lowerdir=$tree,upperdir=$fs/upper,workdir=$fs/work" "host-$host" "$fs/root"
cp -a "$dir/files/$host/." "$fs/root/"
mac=02:$(printf '%s' "$host" | sha256sum | sed 's/\\(..\\)\\(..\\)\\(..\\)\\(..\\)\\(..\\).*/\\1:\\2:\\3:\\4:\\5/')
binds=$(cat "$dir/binds-$host")
# Each host's systemd has the cgroup in which it was started as its root.
for cgroup in $(cat "$dir/cgroups"); do echo 0 >"$cgroup/$host/cgroup.procs"; done
while :; do
  ip netns add "$host"
  # A host that reboots keeps its card.
  ip link add eth0 netns "$host" address "$mac" type veth peer name "$host"
  ip link set "$host" master "$subnet" up
  code=0
  # shellcheck disable=SC2086
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_API_VFS_WRITABLE=network systemd-nspawn --quiet --boot \\
    --register=no --keep-unit --settings=no --link-journal=no --console=pipe --capability=all \\
    --directory="$fs/root" --machine="$host" --network-namespace-path="/run/netns/$host" \\
    --system-call-filter="@keyring bpf" --bind=/dev/net/tun --bind="$fs/docker:/var/lib/docker" $binds >>"$dir/console-$host" 2>&1 || code=$?
  ip netns del "$host"
  [ "$code" = 133 ] || { echo "lost $host: systemd-nspawn ended with $code"; exit 1; }
done
`
