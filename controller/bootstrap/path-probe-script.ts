/**
 * The path between two hosts, asked from both ends at the same time before there is an agent: does UDP get
 * through on the tunnel's port, each way, and which packets fit? Perl, since its base package is on nearly
 * every Linux and speaks UDP with the DF flag, which no shell does; read from stdin, so nothing is left there.
 *
 * Arguments: port, address of the peer, word that both know, largest IP packet of the device, seconds.
 * Datagrams are that word, a kind (Question, Answer, Done), a number, and filling up. Each end looks for the
 * largest packet that its peer answers. Prints `HEARD MTU`: whether questions of the peer came, and
 * the largest packet of ours that it answered (0: none). Exit code 98: another process has the port.
 */
export const pathProbeScript = `
use strict; use Socket;
my ($port, $remote, $word, $top, $limit) = @ARGV;
my $six = $remote =~ /:/;
my $family = $six ? AF_INET6 : AF_INET;
my ($headers, $floor) = $six ? (48, 1280) : (28, 576);
socket(my $socket, $family, SOCK_DGRAM, 0) or die "no socket: $!\\n";
# ip(7), ipv6(7): IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = IP_PMTUDISC_PROBE: DF, whatever the kernel has learnt; IPV6_V6ONLY.
setsockopt($socket, $six ? 41 : 0, $six ? 23 : 10, pack('i', 3)) or die "no DF: $!\\n";
setsockopt($socket, 41, 26, pack('i', 1)) if $six;
bind($socket, $six ? Socket::pack_sockaddr_in6($port, Socket::inet_pton($family, '::'))
                   : pack_sockaddr_in($port, INADDR_ANY)) or exit 98;
my $bytes = Socket::inet_pton($family, $remote) or die "no address: $remote\\n";
my $peer = $six ? Socket::pack_sockaddr_in6($port, $bytes) : pack_sockaddr_in($port, $bytes);

my ($now, $heard, $number, $asked, $tries, $rtt, $mtu) = (0, 0, 0, -1, 0, 0, 0);
my ($fails, $size, $done, $peerDone, $told) = ($top + 1, $floor, 0, 0, -1);
my @likely = ($top, 1500);
my $patience = 0.2;

sub say_to_peer { my ($kind, $n, $length) = @_;
  my $text = $word . $kind . pack('N', $n);
  $text .= "\\0" x ($length - length $text) if $length > length $text;
  return send($socket, $text, 0, $peer); }
# The next size to try, or the end of the search.
sub choose {
  $tries = 0;
  while ($mtu + 1 < $fails) {
    my $guess = shift @likely;
    $size = defined $guess ? $guess : int(($mtu + $fails) / 2);
    return if $size > $mtu && $size < $fails;
  }
  $done = 1; }
sub came { my ($n) = @_;
  return if $n != $number || $done;
  $rtt = $now - $asked if $mtu == 0 || $now - $asked < $rtt;
  $patience = 3 * $rtt; $patience = 0.06 if $patience < 0.06; $patience = 1 if $patience > 1;
  $mtu = $size;
  choose(); $asked = -1; }

my $end = $limit;
while ($now < $end) {
  if (!$done && ($asked < 0 || $now - $asked >= $patience)) {
    # The smallest size is asked for as long as there is time: the peer may be late, its firewall slow.
    if ($mtu && $tries >= 3) { $fails = $size; choose(); $asked = -1; next; }
    $number++; $tries++; $asked = $now;
    $tries = 3 unless defined say_to_peer('Q', $number, $size - $headers);
  }
  if ($done && ($told < 0 || $now - $told >= 0.1)) { say_to_peer('D', 0, 0); $told = $now; }
  # The peer has heard that we are done, or soon will.
  $end = $now + 0.3 if $done && $peerDone && $end == $limit;
  my $ready = ''; vec($ready, fileno($socket), 1) = 1;
  my ($count, $left) = select($ready, undef, undef, 0.02);
  $now += 0.02 - $left;
  next unless $count > 0 && defined recv($socket, my $text, 65535, 0);
  next unless substr($text, 0, length $word) eq $word && length $text >= 5 + length $word;
  my ($kind, $n) = unpack 'aN', substr $text, length $word;
  if ($kind eq 'Q') { $heard = 1; say_to_peer('A', $n, 0); }
  elsif ($kind eq 'A') { came($n); }
  else { $peerDone = 1; }
}
print "$heard $mtu\\n";
`
