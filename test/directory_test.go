package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// state tells what a server says to a question: the address, or the response code
// and the extended error.
func state(s *server.Server, name string) string {
	r := ask(s, name, dns.TypeA)
	switch {
	case r == nil:
		return "no reply"
	case len(r.Answer) == 1:
		if a, ok := r.Answer[0].(*dns.A); ok {
			return a.A.String()
		}
	case r.Rcode == dns.RcodeSuccess && !r.Authoritative && len(r.Ns) > 0:
		return "referral to " + r.Ns[0].Header().Name
	}
	return fmt.Sprintf("%s %d", dns.RcodeToString[r.Rcode], ede(r))
}

// startFails starts a Corefile that must end the start, and gives the output.
func startFails(t *testing.T, corefile string, want ...string) {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "Corefile")
	write(t, conf, strings.ReplaceAll(corefile, server.Port, fmt.Sprint(freePort(t))))
	out := run(t, "", server.Binary(t), "-conf", conf)
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("got\n%s\nwant %q; Corefile:\n%s", out, text, corefile)
		}
	}
	if strings.Contains(out, "CoreDNS-") {
		t.Errorf("the server was started:\n%s", out)
	}
}

// Zones of a directory come and go with their files, while the server runs.
func TestDirectoryZones(t *testing.T) { bothWays(t, testDirectoryZones) }

func testDirectoryZones(t *testing.T, start starter) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	zone := func(serial int) string { return fmt.Sprintf(zoneText, serial, fmt.Sprintf("192.0.2.%d", serial)) }
	metrics := freePort(t)
	put(t, at("zones/example.org.zone"), zone(1)+"sub 300 NS ns1.sub\nns1.sub 300 A 192.0.2.53\n")
	put(t, at("shadow.zone"), zone(100))
	s := start(t, fmt.Sprintf(`.:%[1]s {
 bind 127.0.0.1
 root %[2]s
 authority example.org shadow.org 192.0.2.0/24 {
  directory zones
 }
 prometheus 127.0.0.1:%[3]d
}
sub.shadow.org:%[1]s {
 bind 127.0.0.1
 root %[2]s
 authority {
  file shadow.zone
 }
}
`, server.Port, dir, metrics), "example.org", "sub.shadow.org")
	become := func(name, want string) {
		t.Helper()
		got := ""
		waitFor(t, name+": "+want, func() bool { got = state(s, name); return got == want })
	}
	logged := func(want string) {
		t.Helper()
		waitFor(t, want+" in the log", func() bool { return strings.Contains(s.Log(), want) })
	}
	become("www.example.org.", "192.0.2.1")
	become("www.sub.example.org.", "referral to sub.example.org.")
	become("www.shadow.org.", "REFUSED 20")

	put(t, at("zones/Sub.Example.Org.zone"), zone(2))
	become("www.sub.example.org.", "192.0.2.2")
	put(t, at("zones/2.0.192.in-addr.arpa.zone"), zone(3))
	become("www.2.0.192.in-addr.arpa.", "192.0.2.3")
	put(t, at("zones/shadow.org.zone"), zone(4))
	become("www.shadow.org.", "192.0.2.4")
	put(t, at("zones/example.org.zone"), zone(5))
	become("www.example.org.", "192.0.2.5")

	failures := metricOf(t, metrics, "coredns_authority_load_errors_total")
	put(t, at("zones/example.com.zone"), zone(6))
	logged(fmt.Sprintf("directory: %q: zone example.com. is outside of example.org. shadow.org. 2.0.192.in-addr.arpa., which is all that %s:4 serves",
		at("zones/example.com.zone"), filepath.Join(s.Dir, "Corefile")))
	put(t, at("zones/a.sub.shadow.org.zone"), zone(7))
	logged(fmt.Sprintf("directory: %q: queries for zone a.sub.shadow.org. do not come here: the server block for sub.shadow.org. takes them", at("zones/a.sub.shadow.org.zone")))
	if n := metricOf(t, metrics, "coredns_authority_load_errors_total") - failures; n != 2 {
		t.Errorf("%v failures", n)
	}
	become("www.example.com.", "REFUSED 20")
	become("www.sub.shadow.org.", "192.0.2.100")
	become("www.a.sub.shadow.org.", "NXDOMAIN 0")

	put(t, at("zones/x.example.org.zone"), "@ 300 IN SOA not enough\n")
	become("www.x.example.org.", "SERVFAIL 14")
	if n := metricOf(t, metrics, "coredns_authority_zones", `state="failed"`); n != 1 {
		t.Errorf("%v zones failed", n)
	}
	put(t, at("zones/x.example.org.zone"), zone(8))
	become("www.x.example.org.", "192.0.2.8")
	put(t, at("zones/x.example.org.zone"), "@ 300 IN SOA not enough\n")
	logged("x.example.org.: not loaded, serial 8 stays in service")
	become("www.x.example.org.", "192.0.2.8")

	if n := metricOf(t, metrics, "coredns_authority_answers_total", `zone="x.example.org."`); n == 0 {
		t.Error("no answers counted")
	}
	for _, name := range []string{"x.example.org", "Sub.Example.Org", "shadow.org"} {
		if err := os.Remove(at("zones/" + name + ".zone")); err != nil {
			t.Fatal(err)
		}
	}
	become("www.x.example.org.", "NXDOMAIN 0") // of the zone above
	become("www.shadow.org.", "REFUSED 20")
	become("www.sub.example.org.", "NXDOMAIN 0") // example.org has lost the delegation
	if n := metricOf(t, metrics, "coredns_authority_answers_total", `zone="x.example.org."`) + metricOf(t, metrics, "coredns_authority_serial", `zone="x.example.org."`); n != 0 {
		t.Errorf("%v of a zone that is gone", n)
	}
	if n := metricOf(t, metrics, "coredns_authority_zones", `state="current"`); n != 3 {
		t.Errorf("%v zones", n)
	}

	// The whole directory is renewed, as deployments do: then away, and back.
	put(t, at("next/example.org.zone"), zone(20))
	put(t, at("next/shadow.org.zone"), zone(21))
	if err := os.Rename(at("zones"), at("last")); err != nil {
		t.Fatal(err)
	}
	become("www.example.org.", "192.0.2.5")
	if err := os.Rename(at("next"), at("zones")); err != nil {
		t.Fatal(err)
	}
	become("www.shadow.org.", "192.0.2.21")
	become("www.example.org.", "192.0.2.20")
	become("www.2.0.192.in-addr.arpa.", "REFUSED 20")
	put(t, at("zones/example.org.zone"), zone(22))
	become("www.example.org.", "192.0.2.22")
	if log := s.Log(); strings.Contains(log, "panic") {
		t.Errorf("the log:\n%s", log)
	}
}

// What cannot work with a directory ends the start.
func TestDirectoryErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "example.org.zone"), fmt.Sprintf(zoneText, 1, "192.0.2.1"))
	startFails(t, block(dir, "authority {\n directory .\n}\ncache"),
		`Corefile:4 - Error during parsing: property "directory" and the plugin cache exclude each other`)
	startFails(t, block(dir, "authority {\n directory nowhere\n}"), `Corefile:5 - Error during parsing: directory: stat `+filepath.Join(dir, "nowhere"))
	startFails(t, block(dir, "authority {\n directory example.org.zone\n}"), `Corefile:5 - Error during parsing: directory: `+filepath.Join(dir, "example.org.zone")+` is not a directory`)
}
