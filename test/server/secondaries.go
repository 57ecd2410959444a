package server

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Addresses that the secondaries take zones from, so that a primary can tell them apart.
var (
	NamedSource = netip.AddrFrom4([4]byte{127, 0, 0, 2})
	KnotdSource = netip.AddrFrom4([4]byte{127, 0, 0, 3})
	NSDSource   = netip.AddrFrom4([4]byte{127, 0, 0, 4})
)

// Primary is what a secondary is told about the server that it takes zones from.
type Primary struct {
	Addr    netip.AddrPort
	Zones   []string
	Key     *Key // signs requests to the primary; nil: none are signed
	Refresh int  // seconds after which it is asked, at the latest, whether there is a new version
	// Validate has knotd refuse versions that are not signed as they should be; the others do not look at that.
	Validate bool
}

// StartNamedSecondary starts named as secondary of zones, with AXFR for everybody, and waits until it has them. Its log
// tells of each transfer. It needs the program named; see [Require].
func StartNamedSecondary(t testing.TB, p Primary) *Server {
	t.Helper()
	path := program(t, "named")
	return start(t, plan{
		name:  "named " + version(path, "-v"),
		zones: p.Zones,
		prepare: func(dir string, port int) ([]string, error) {
			var b strings.Builder
			key := ""
			if p.Key != nil {
				fmt.Fprintf(&b, "key %q { algorithm %s; secret %q; };\n", p.Key.Name, p.Key.Algorithm, p.Key.Secret)
				key = fmt.Sprintf(" key %q", p.Key.Name)
			}
			fmt.Fprintf(&b, `options {
	directory %[1]q;
	pid-file none;
	session-keyfile none;
	listen-on port %[2]d { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no;
	notify no;
	allow-transfer { any; };
	empty-zones-enable no;
	dnssec-validation no;
	transfer-source %[3]s;
	min-refresh-time 1;
	max-refresh-time %[4]d;
	min-retry-time 1;
	max-retry-time 1;
	serial-query-rate 1000;
	startup-notify-rate 1000;
};
logging {
	channel all { stderr; severity info; print-category yes; print-time yes; };
	channel transfers { stderr; severity debug 3; print-category yes; print-time yes; };
	category default { all; };
	category xfer-in { transfers; };
	category notify { transfers; };
};
controls { };
`, dir, port, NamedSource, p.Refresh)
			for _, z := range p.Zones {
				fmt.Fprintf(&b, "zone %q { type secondary; file %q; primaries { %s port %d%s; }; };\n",
					z, strings.ToLower(z)+".db", p.Addr.Addr(), p.Addr.Port(), key)
			}
			conf := filepath.Join(dir, "named.conf")
			return []string{path, "-f", "-n", "1", "-c", conf}, os.WriteFile(conf, []byte(b.String()), 0o644)
		},
	})
}

// StartKnotdSecondary starts knotd as secondary of zones, with AXFR for everybody, and waits until it has them. Its log
// tells of each transfer. It needs the program knotd; see [Require].
func StartKnotdSecondary(t testing.TB, p Primary) *Server {
	t.Helper()
	path := program(t, "knotd")
	return start(t, plan{
		name:  "knotd " + version(path, "--version"),
		zones: p.Zones,
		prepare: func(dir string, port int) ([]string, error) {
			var b strings.Builder
			key := ""
			if p.Key != nil {
				fmt.Fprintf(&b, "key:\n  - id: %q\n    algorithm: %s\n    secret: %q\n", p.Key.Name, p.Key.Algorithm, p.Key.Secret)
				key = fmt.Sprintf("    key: %q\n", p.Key.Name)
			}
			fmt.Fprintf(&b, `server:
    rundir: %[1]q
    listen: 127.0.0.1@%[2]d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 2
log:
  - target: stderr
    any: info
database:
    storage: %[1]q
remote:
  - id: primary
    address: %[3]s@%[4]d
    via: %[5]s
%[6]sacl:
  - id: all
    address: 127.0.0.0/8
    action: transfer
  - id: notify
    remote: primary
    action: notify
template:
  - id: default
    storage: %[1]q
    master: primary
    acl: [all, notify]
    semantic-checks: off
    dnssec-validation: %[8]s
    zonefile-sync: -1
    refresh-min-interval: 2
    refresh-max-interval: %[7]d
    retry-min-interval: 1
    retry-max-interval: 1
zone:
`, dir, port, p.Addr.Addr(), p.Addr.Port(), KnotdSource, key, max(2, p.Refresh), map[bool]string{true: "on", false: "off"}[p.Validate])
			for _, z := range p.Zones {
				fmt.Fprintf(&b, "  - domain: %q\n", z)
			}
			conf := filepath.Join(dir, "knot.conf")
			return []string{path, "-c", conf}, os.WriteFile(conf, []byte(b.String()), 0o644)
		},
	})
}

// StartNSDSecondary starts nsd as secondary of zones, with AXFR for everybody, and waits until it has them. Its log
// tells of each version. It needs the program nsd; see [Require].
func StartNSDSecondary(t testing.TB, p Primary) *Server {
	t.Helper()
	path := program(t, "nsd")
	return start(t, plan{
		name:  "nsd " + version(path, "-v"),
		zones: p.Zones,
		prepare: func(dir string, port int) ([]string, error) {
			var b strings.Builder
			fmt.Fprintf(&b, `server:
	ip-address: 127.0.0.1
	port: %[2]d
	username: ""
	zonesdir: %[1]q
	pidfile: "nsd.pid"
	database: ""
	zonelistfile: "zone.list"
	xfrdfile: "xfrd.state"
	xfrdir: %[1]q
	xfrd-reload-timeout: 0
	server-count: 1
	verbosity: 2
	rrl-ratelimit: 0
	rrl-whitelist-ratelimit: 0
	tcp-count: 50
remote-control:
	control-enable: no
`, dir, port)
			key := "NOKEY"
			if p.Key != nil {
				fmt.Fprintf(&b, "key:\n\tname: %q\n\talgorithm: %s\n\tsecret: %q\n", p.Key.Name, p.Key.Algorithm, p.Key.Secret)
				key = p.Key.Name
			}
			for _, z := range p.Zones {
				fmt.Fprintf(&b, `zone:
	name: %[1]q
	zonefile: "%[1]s.db"
	request-xfr: %[2]s@%[3]d %[4]s
	allow-notify: %[2]s %[4]s
	outgoing-interface: %[5]s
	provide-xfr: 127.0.0.0/8 NOKEY
	min-refresh-time: 1
	max-refresh-time: %[6]d
	min-retry-time: 1
	max-retry-time: 1
`, z, p.Addr.Addr(), p.Addr.Port(), key, NSDSource, p.Refresh)
			}
			conf := filepath.Join(dir, "nsd.conf")
			return []string{path, "-d", "-c", conf}, os.WriteFile(conf, []byte(b.String()), 0o644)
		},
	})
}
