package clients

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/secondary"
)

func TestMain(m *testing.M) { server.Main(m) }

const (
	forward = "example.org."
	reverse = "2.0.192.in-addr.arpa."
)

// seeds are the zones as they begin.
var seeds = map[string]string{
	forward: `@ 3600 IN SOA ns1 hostmaster 1 7200 1800 1209600 300
@ 3600 IN NS ns1
ns1 3600 IN A 192.0.2.53
www 300 IN A 192.0.2.1
www 300 IN A 192.0.2.2
`,
	reverse: `@ 3600 IN SOA ns1.example.org. hostmaster.example.org. 1 7200 1800 1209600 300
@ 3600 IN NS ns1.example.org.
`,
}

// seeded is what records gives of them.
var seeded = map[string][]string{
	forward: {"@ 3600 NS ns1.example.org.", "ns1 3600 A 192.0.2.53", "www 300 A 192.0.2.1", "www 300 A 192.0.2.2"},
	reverse: {"@ 3600 NS ns1.example.org."},
}

var (
	// zoneKey may change all.
	zoneKey = &server.Key{Name: "k.example.org.", Algorithm: "hmac-sha256", Secret: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}
	// hostKey may change the addresses of own.example.org.
	hostKey = &server.Key{Name: "host.example.org.", Algorithm: "hmac-sha256", Secret: "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="}
)

// A primary is a server whose zones can be changed.
type primary struct {
	*server.Server
}

// start starts the primary of the zones.
func start(t *testing.T) primary {
	t.Helper()
	dir := t.TempDir()
	for zone, text := range seeds {
		write(t, filepath.Join(dir, zone+"zone"), text)
	}
	switch peer := os.Getenv("CLIENTS_SERVER"); peer {
	case "":
		return primary{server.StartOurs(t, corefile(dir), forward, reverse)}
	case "named":
		return primary{startNamed(t, dir)}
	default:
		t.Fatalf("CLIENTS_SERVER: unknown server %q", peer)
		return primary{}
	}
}

func corefile(dir string) string {
	return fmt.Sprintf(`%[1]s:%[3]s %[2]s:%[3]s {
	bind 127.0.0.1
	root %[4]s
	keys {
		tsig %[5]s %[6]s %[7]s
		tsig %[8]s %[9]s %[10]s
	}
	authority {
		file {zone}.zone
		store %[4]s/store
		transfer key %[5]s
	}
	update {
		grant %[5]s zonesub ANY
		grant %[8]s name own.example.org. A AAAA
	}
}
`, forward, reverse, server.Port, dir, zoneKey.Name, zoneKey.Algorithm, zoneKey.Secret, hostKey.Name, hostKey.Algorithm, hostKey.Secret)
}

func startNamed(t *testing.T, zones string) *server.Server {
	t.Helper()
	return server.StartProgram(t, server.Program{
		Name:  "named",
		Zones: []string{forward, reverse},
		Prepare: func(dir string, port int) ([]string, error) {
			var b strings.Builder
			fmt.Fprintf(&b, `options {
	directory %q;
	pid-file none;
	session-keyfile none;
	listen-on port %d { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no;
	notify no;
	empty-zones-enable no;
	dnssec-validation no;
};
controls { };
`, dir, port)
			for _, k := range []*server.Key{zoneKey, hostKey} {
				fmt.Fprintf(&b, "key %q { algorithm %s; secret %q; };\n", k.Name, k.Algorithm, k.Secret)
			}
			for zone := range seeds {
				fmt.Fprintf(&b, `zone %[1]q {
	type primary;
	file %[2]q;
	allow-transfer { key %[3]q; };
	update-policy { grant %[3]s zonesub ANY; grant %[4]s name own.example.org. A AAAA; };
};
`, zone, filepath.Join(zones, zone+"zone"), zoneKey.Name, hostKey.Name)
			}
			conf := filepath.Join(dir, "named.conf")
			return []string{"-g", "-c", conf}, os.WriteFile(conf, []byte(b.String()), 0o644)
		},
	})
}

// host and port give the address apart.
func (p primary) host() string { return p.Addr.Addr().String() }
func (p primary) port() string { return strconv.Itoa(int(p.Addr.Port())) }

// records transfers a zone and gives all of it but the SOA record, sorted: "www 300 A 192.0.2.1". The serial is that of the
// SOA record.
func (p primary) records(t testing.TB, zone string) (records []string, serial uint32) {
	t.Helper()
	c := secondary.Client{Addr: p.Addr.String(), Zone: zone, Key: zoneKey}
	a, err := c.AXFR()
	if err != nil {
		t.Fatalf("transfer of %s: %v", zone, err)
	}
	for _, rr := range a.Records {
		if rr.Header().Rrtype == dns.TypeSOA {
			continue
		}
		owner := strings.TrimSuffix(strings.TrimSuffix(rr.Header().Name, zone), ".")
		if owner == "" {
			owner = "@"
		}
		fields := strings.SplitN(rr.String(), "\t", 5)
		records = append(records, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", owner, fields[1], fields[3], fields[4])))
	}
	slices.Sort(records)
	return records, a.SOA.Serial
}

// expect compares a zone with what it began with and the records given, and returns its serial.
func (p primary) expect(t testing.TB, zone string, more ...string) (serial uint32) {
	t.Helper()
	got, serial := p.records(t, zone)
	want := slices.Concat(seeded[zone], more)
	if extra, missing := apart(got, want), apart(want, got); len(extra)+len(missing) > 0 || len(got) != len(want) {
		t.Errorf("zone %s, serial %d: missing %.9q, not expected %.9q", zone, serial, missing, extra)
	}
	return serial
}

// apart returns what is in a and not in b.
func apart(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// write writes a file.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// hostPort joins 127.0.0.1 and a port.
func hostPort(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
