package server

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// StartNamed starts BIND's named as primary of the zones: no recursion, no NS RRset in positive answers but additional data, AXFR for
// everybody.
// With secrets for cookies, the first makes them, and BADCOOKIE is the answer to a client cookie without a valid server
// cookie. It needs the program named; see [Require].
func StartNamed(t testing.TB, zones []Zone, secrets ...string) *Server {
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
%s};
controls { };
`, dir, port, namedCookies(secrets))
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

// namedCookies gives the options for cookies.
func namedCookies(secrets []string) string {
	if len(secrets) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\tanswer-cookie yes;\n\tcookie-algorithm siphash24;\n\trequire-server-cookie yes;\n")
	for _, secret := range secrets {
		fmt.Fprintf(&b, "\tcookie-secret %q;\n", secret)
	}
	return b.String()
}

// StartKnotd starts Knot DNS's knotd as primary of the zones, with AXFR for everybody, and with secrets for cookies, one up
// to version 3.2, as [StartNamed] does. It needs the program knotd; see [Require].
func StartKnotd(t testing.TB, zones []Zone, secrets ...string) *Server {
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
			module := ""
			if len(secrets) > 0 {
				fmt.Fprintf(&b, "mod-cookies:\n  - id: default\n    secret: [0x%s]\n", strings.Join(secrets, ", 0x"))
				module = "    global-module: mod-cookies/default\n"
			}
			fmt.Fprintf(&b, `template:
  - id: default
%s    acl: [%s]
    semantic-checks: off
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
zone:
`, module, strings.Join(acls, ", "))
			for _, z := range zones {
				fmt.Fprintf(&b, "  - domain: %q\n    file: %q\n", z.Origin, z.File)
			}
			conf := filepath.Join(dir, "knot.conf")
			return []string{path, "-c", conf}, os.WriteFile(conf, []byte(b.String()), 0o644)
		},
	})
}

// StartNSD starts NLnet Labs' nsd as primary of the zones: minimal responses, no rate limit, AXFR for everybody. With
// secrets for cookies, two at most, the first makes them. It needs the program nsd; see [Require].
func StartNSD(t testing.TB, zones []Zone, secrets ...string) *Server {
	t.Helper()
	zones = absolute(t, zones)
	path := program(t, "nsd")
	return start(t, plan{
		name:  "nsd " + version(path, "-v"),
		zones: origins(zones),
		prepare: func(dir string, port int) ([]string, error) {
			var b strings.Builder
			cookies := ""
			if len(secrets) > 0 {
				path := filepath.Join(dir, "cookies")
				cookies = fmt.Sprintf("\tanswer-cookie: yes\n\tcookie-secret-file: %q\n", path)
				if err := os.WriteFile(path, []byte(strings.Join(secrets, "\n")+"\n"), 0o600); err != nil {
					return nil, err
				}
			}
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
%[3]sremote-control:
	control-enable: no
`, dir, port, cookies)
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

// StartPDNS starts PowerDNS's authoritative server on the zones by its bind backend, which reads the files: one thread
// each for UDP and the backend, the caches as they come, unsigned AXFR for everybody. It needs the programs pdns_server
// and pdnsutil; see [Require].
func StartPDNS(t testing.TB, zones []Zone) *Server {
	t.Helper()
	zones = absolute(t, zones)
	path, util := program(t, "pdns_server"), program(t, "pdnsutil")
	return start(t, plan{
		name:  "pdns " + version(util, "--version"), // pdns_server puts the date in front of it
		zones: origins(zones),
		prepare: func(dir string, port int) ([]string, error) {
			var b strings.Builder
			var signed []string
			for _, z := range zones {
				fmt.Fprintf(&b, "zone %q { type master; file %q; };\n", z.Origin, z.File)
				if z.Signed {
					signed = append(signed, z.Origin)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "named.conf"), []byte(b.String()), 0o644); err != nil {
				return nil, err
			}
			conf := fmt.Sprintf(`launch=bind
bind-config=%s/named.conf
local-address=127.0.0.1
local-port=%d
socket-dir=.
daemon=no
guardian=no
disable-syslog=yes
security-poll-suffix=
receiver-threads=1
distributor-threads=1
allow-axfr-ips=127.0.0.0/8
`, dir, port)
			args := []string{path, "--config-dir=" + dir}
			if len(signed) > 0 {
				conf += fmt.Sprintf("bind-dnssec-db=%s/dnssec.db\n", dir)
			}
			err := os.WriteFile(filepath.Join(dir, "pdns.conf"), []byte(conf), 0o644)
			if err != nil || len(signed) == 0 {
				return args, err
			}
			return args, presigned(util, dir, signed)
		},
	})
}

// presigned tells pdns, configured in a folder, which zones come with their signatures: it looks for keys of its own
// otherwise.
func presigned(util, dir string, zones []string) error {
	lines := [][]string{{"create-bind-db", filepath.Join(dir, "dnssec.db")}}
	for _, z := range zones {
		lines = append(lines, []string{"set-presigned", z})
	}
	for _, line := range lines {
		if out, err := exec.Command(util, append([]string{"--config-dir=" + dir}, line...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("pdnsutil %s: %w\n%s", strings.Join(line, " "), err, out)
		}
	}
	return nil
}

// StartGdnsd starts gdnsd on the zones, with one thread for UDP. It knows neither DNSSEC nor AXFR. It needs the program
// gdnsd; see [Require].
func StartGdnsd(t testing.TB, zones []Zone) *Server {
	t.Helper()
	zones = absolute(t, zones)
	path := program(t, "gdnsd")
	return start(t, plan{
		name:  "gdnsd " + version(path),
		zones: origins(zones),
		prepare: func(dir string, port int) ([]string, error) {
			if err := os.Mkdir(filepath.Join(dir, "zones"), 0o755); err != nil {
				return nil, err
			}
			for _, z := range zones { // the name of a file is that of its zone
				if err := os.Symlink(z.File, filepath.Join(dir, "zones", strings.TrimSuffix(z.Origin, "."))); err != nil {
					return nil, err
				}
			}
			conf := fmt.Sprintf(`options => {
	listen => 127.0.0.1:%d
	udp_threads => 1
	tcp_threads => 1
	run_dir => run
	state_dir => state
}
`, port)
			return []string{path, "-c", ".", "start"}, os.WriteFile(filepath.Join(dir, "config"), []byte(conf), 0o644)
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
		z.File = file
		out[i] = z
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

// StartNamedForwarder starts named as a resolver that asks the given server about everything. It needs the program named;
// see [Require].
func StartNamedForwarder(t testing.TB, to netip.AddrPort) *Server {
	t.Helper()
	path := program(t, "named")
	return start(t, plan{
		name:  "named " + version(path, "-v"),
		ready: "running",
		prepare: func(dir string, port int) ([]string, error) {
			text := fmt.Sprintf(`options {
	directory %q;
	pid-file none;
	session-keyfile none;
	listen-on port %d { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion yes;
	forward only;
	forwarders { %s port %d; };
	empty-zones-enable no;
	dnssec-validation no;
};
controls { };
`, dir, port, to.Addr(), to.Port())
			conf := filepath.Join(dir, "named.conf")
			return []string{path, "-g", "-n", "1", "-c", conf}, os.WriteFile(conf, []byte(text), 0o644)
		},
	})
}
