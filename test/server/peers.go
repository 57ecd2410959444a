package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// StartNamed starts BIND's named as primary of the zones: no recursion, no NS RRset in positive answers but additional data, AXFR for
// everybody.
// It needs the program named; see [Require].
func StartNamed(t testing.TB, zones []Zone) *Server {
	t.Helper()
	zones = absolute(t, zones)
	path := program(t, "named")
	return start(t, plan{
		name:  "named " + version(path, "-v"),
		zones: origins(zones),
		prepare: func(dir string, port int) ([]string, error) {
			var b strings.Builder
			fmt.Fprintf(&b, `options {
	directory %q;
	pid-file none;
	session-keyfile none;
	listen-on port %d { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no;
	minimal-responses no-auth;
	zero-no-soa-ttl no;
	notify no;
	allow-transfer { any; };
	check-names primary ignore;
	check-integrity no;
	empty-zones-enable no;
	dnssec-validation no;
	rate-limit { responses-per-second 0; };
	transfers-out 100;
};
controls { };
`, dir, port)
			for _, k := range keys(zones) {
				fmt.Fprintf(&b, "key %q { algorithm %s; secret %q; };\n", k.Name, k.Algorithm, k.Secret)
			}
			for _, z := range zones {
				fmt.Fprintf(&b, "zone %q { type primary; file %q; };\n", z.Origin, z.File)
			}
			conf := filepath.Join(dir, "named.conf")
			return []string{path, "-g", "-n", "1", "-c", conf}, os.WriteFile(conf, []byte(b.String()), 0o644)
		},
	})
}

// StartKnotd starts Knot DNS's knotd as primary of the zones, with AXFR for everybody. It needs the program knotd; see
// [Require].
func StartKnotd(t testing.TB, zones []Zone) *Server {
	t.Helper()
	zones = absolute(t, zones)
	path := program(t, "knotd")
	return start(t, plan{
		name:  "knotd " + version(path, "--version"),
		zones: origins(zones),
		prepare: func(dir string, port int) ([]string, error) {
			var b strings.Builder
			fmt.Fprintf(&b, `server:
    rundir: %[1]q
    listen: 127.0.0.1@%[2]d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: %[1]q
`, dir, port)
			acls := knotKeys(&b, keys(zones))
			fmt.Fprintf(&b, `template:
  - id: default
    acl: [%s]
    semantic-checks: off
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
zone:
`, strings.Join(acls, ", "))
			for _, z := range zones {
				fmt.Fprintf(&b, "  - domain: %q\n    file: %q\n", z.Origin, z.File)
			}
			conf := filepath.Join(dir, "knot.conf")
			return []string{path, "-c", conf}, os.WriteFile(conf, []byte(b.String()), 0o644)
		},
	})
}

// StartNSD starts NLnet Labs' nsd as primary of the zones: minimal responses, no rate limit, AXFR for everybody. It
// needs the program nsd; see [Require].
func StartNSD(t testing.TB, zones []Zone) *Server {
	t.Helper()
	zones = absolute(t, zones)
	path := program(t, "nsd")
	return start(t, plan{
		name:  "nsd " + version(path, "-v"),
		zones: origins(zones),
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
	server-count: 1
	verbosity: 1
	minimal-responses: yes
	rrl-ratelimit: 0
	rrl-whitelist-ratelimit: 0
	tcp-count: 50
remote-control:
	control-enable: no
`, dir, port)
			for _, k := range keys(zones) {
				fmt.Fprintf(&b, "key:\n\tname: %q\n\talgorithm: %s\n\tsecret: %q\n", k.Name, k.Algorithm, k.Secret)
			}
			for _, z := range zones {
				fmt.Fprintf(&b, "zone:\n\tname: %q\n\tzonefile: %q\n\tprovide-xfr: 127.0.0.0/8 NOKEY\n", z.Origin, z.File)
				if z.Key != nil {
					fmt.Fprintf(&b, "\tprovide-xfr: 127.0.0.0/8 %q\n", z.Key.Name)
				}
			}
			conf := filepath.Join(dir, "nsd.conf")
			return []string{path, "-d", "-c", conf}, os.WriteFile(conf, []byte(b.String()), 0o644)
		},
	})
}

// program returns the path of a program that the test has required.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := lookPath(name)
	if err != nil {
		t.Fatalf("%v; call server.Require first", err)
	}
	return path
}

// absolute makes the files' paths absolute, for servers run in a folder of their own.
func absolute(t testing.TB, zones []Zone) []Zone {
	t.Helper()
	out := make([]Zone, len(zones))
	for i, z := range zones {
		file, err := filepath.Abs(z.File)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = Zone{Origin: z.Origin, File: file, Key: z.Key}
	}
	return out
}

func origins(zones []Zone) []string {
	out := make([]string, len(zones))
	for i, z := range zones {
		out[i] = z.Origin
	}
	return out
}
