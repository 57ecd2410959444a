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

// With "check strict" an edit of a signed zone that leaves an RRSIG out, lets one expire
// or has another serial without being signed again is refused, and the version before
// stays; with "check warn" it is served, with a warning.
func TestStrictSigned(t *testing.T) { bothWays(t, testStrictSigned) }

func testStrictSigned(t *testing.T, start starter) {
	text, err := os.ReadFile("testdata/zones/nsec.example.zone")
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	edit := func(old, replacement string) string {
		t.Helper()
		if strings.Count(good, old) != 1 {
			t.Fatalf("%q is there %d times", old, strings.Count(good, old))
		}
		return strings.Replace(good, old, replacement, 1)
	}
	dir := t.TempDir()
	strict, warn := filepath.Join(dir, "strict", "zone"), filepath.Join(dir, "warn", "zone")
	metrics := freePort(t)
	write(t, strict, good)
	write(t, warn, good)
	s := start(t, fmt.Sprintf(`nsec.example:%[1]s {
 bind 127.0.0.1
 root %[2]s
 authority {
  file strict/zone
  check strict
 }
 prometheus 127.0.0.1:%[3]d
}
`, server.Port, dir, metrics), "nsec.example")
	loose := start(t, fmt.Sprintf("nsec.example:%s {\n bind 127.0.0.1\n root %s\n authority {\n  file warn/zone\n }\n}\n", server.Port, dir), "nsec.example")

	const sig = "www.nsec.example. 3600 IN RRSIG A 15 3 3600 20380101000000"
	for _, c := range []struct{ name, text, finding string }{
		{"left out", edit(sig, ";"), "www.nsec.example.: RRset without RRSIG: A, algorithm 15"},
		{"expired", edit(sig, "www.nsec.example. 3600 IN RRSIG A 15 3 3600 20260102000000"), "www.nsec.example.: RRSIG has expired: A, 2026-01-02T00:00:00Z"},
		{"not signed again", edit("2026010101 7200", "2026010102 7200"), "nsec.example.: RRSIG is not that of the records: SOA"},
	} {
		put(t, strict, c.text)
		waitFor(t, c.name+": the refusal in the log", func() bool {
			return strings.Contains(s.Log(), "nsec.example.: not loaded, serial 2026010101 stays in service: "+strict) && strings.Contains(s.Log(), c.finding)
		})
		if r := askSigned(s, "www.nsec.example."); r == nil || len(r.Answer) != 2 || r.Answer[1].(*dns.RRSIG).Expiration != 2145916800 {
			t.Errorf("%s: %v", c.name, r)
		}
		if n := serialOf(s, "nsec.example."); n != 2026010101 {
			t.Errorf("%s: serial %d", c.name, n)
		}
		put(t, warn, c.text)
		waitFor(t, c.name+": the warning in the log", func() bool { return strings.Contains(loose.Log(), c.finding) })
	}
	if n := serialOf(loose, "nsec.example."); n != 2026010102 {
		t.Errorf("with warnings: serial %d", n)
	}
	if n := metricOf(t, metrics, "coredns_authority_load_errors_total"); n != 3 {
		t.Errorf("%v load errors", n)
	}
	put(t, strict, good)
	waitFor(t, "the file that is right again", func() bool {
		return strings.Contains(s.Log(), "nsec.example.: the file is right again, serial 2026010101 is in service")
	})
	if strings.Contains(s.Log(), "[WARNING]") {
		t.Errorf("warnings:\n%s", s.Log())
	}
}

// askSigned asks for the A records of a name with their signatures.
func askSigned(s *server.Server, name string) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	m.SetEdns0(1232, true)
	r, _, err := new(dns.Client).Exchange(m, s.Addr.String())
	if err != nil {
		return nil
	}
	return r
}
