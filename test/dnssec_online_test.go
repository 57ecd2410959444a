package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/signed"
)

const onlineZone = `@ 300 SOA ns hostmaster 1 7200 3600 1209600 120
@ 300 NS ns
ns 300 A 192.0.2.53
www 300 A 192.0.2.1
*.wild 300 TXT wild
a.ent 300 A 192.0.2.2
alias 300 CNAME www
sub 300 NS ns.sub
ns.sub 300 A 192.0.2.3
`

// TestSignedOnline has answers signed as they are made (C1 to C7): the zone itself holds keys and no signatures, delv validates what is asked
// for, updates are seen at once, and the chain of a zone that is signed in advance comes by a reload.
func TestSignedOnline(t *testing.T) { bothWays(t, testSignedOnline) }

func testSignedOnline(t *testing.T, start starter) {
	server.Require(t, "delv")
	const zone = "example.org."
	dir := t.TempDir()
	write(t, filepath.Join(dir, "zone"), onlineZone)
	s := start(t, signedBlock(dir, "dnssec {\nonline\n}"), zone)
	held := axfr(t, s, zone)
	if len(signed.Records(held, zone, dns.TypeDNSKEY)) != 1 || len(signed.Records(held, zone, dns.TypeCDS)) != 1 {
		t.Fatalf("%v", held)
	}
	for _, rr := range held {
		if typ := rr.Header().Rrtype; typ == dns.TypeRRSIG || typ == dns.TypeNSEC {
			t.Errorf("the zone holds %s", rr)
		}
	}
	ds := signed.Anchors(held, zone)[0]
	anchors := filepath.Join(dir, "anchors")
	write(t, anchors, fmt.Sprintf("trust-anchors { %q static-ds %d %d %d %q; };\n", zone, ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest))
	delv := func(name, typ string) string {
		ctx, cancel := context.WithTimeout(t.Context(), server.Patience)
		defer cancel()
		out, err := exec.CommandContext(ctx, server.Path(t, "delv"), "@127.0.0.1", "-p", fmt.Sprint(s.Addr.Port()), "-a", anchors, "+root="+zone, "-q", name, "-t", typ).CombinedOutput()
		if err != nil {
			t.Errorf("%s %s: %v", name, typ, err)
		}
		return string(out)
	}
	validates := func() {
		t.Helper()
		for _, q := range [][3]string{
			{zone, "SOA", "SOA"},
			{zone, "CDS", "CDS"},
			{"www." + zone, "A", "192.0.2.1"},
			{"x.wild." + zone, "TXT", "wild"},
			{"alias." + zone, "A", "192.0.2.1"},
			{"www." + zone, "AAAA", "negative"},
			{"nothing." + zone, "A", "negative"},
			{"ent." + zone, "A", "negative"},
			{"x.wild." + zone, "A", "negative"},
			{"sub." + zone, "DS", "negative"},
		} {
			if out := delv(q[0], q[1]); !strings.Contains(out, "fully validated") || !strings.Contains(out, q[2]) {
				t.Errorf("%s %s:\n%s", q[0], q[1], out)
			}
		}
	}
	validates()
	answer := func(name string, co bool) *dns.Msg {
		t.Helper()
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeA)
		m.SetEdns0(1232, true)
		m.IsEdns0().SetCo(co)
		r, err := dns.Exchange(m, s.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for co, rcode := range map[bool]int{false: dns.RcodeSuccess, true: dns.RcodeNameError} {
		r := answer("nothing."+zone, co)
		if r.Rcode != rcode || r.IsEdns0().Co() != co || !strings.Contains(fmt.Sprint(r.Ns), "\\000.nothing."+zone) {
			t.Errorf("CO %v:\n%s", co, r)
		}
	}
	if r := sendUpdate(t, "tcp", s.Addr.String(), updating(t, zone, "add nothing 60 A 192.0.2.9"), allKey); r.Rcode != dns.RcodeSuccess {
		t.Fatal(r)
	}
	if out := delv("nothing."+zone, "A"); !strings.Contains(out, "fully validated") || !strings.Contains(out, "192.0.2.9") {
		t.Error(out)
	}
	if r := sendUpdate(t, "tcp", s.Addr.String(), updating(t, zone, "delete nothing"), allKey); r.Rcode != dns.RcodeSuccess {
		t.Fatal(r)
	}
	corefile, err := os.ReadFile(filepath.Join(s.Dir, "Corefile"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(s.Dir, "Corefile"), strings.Replace(string(corefile), "online", "nsec3", 1))
	reloadWith(t, s, reloaded, reloadFailed)
	validates()
	if r := answer("nothing."+zone, false); r.Rcode != dns.RcodeNameError || !strings.Contains(fmt.Sprint(r.Ns), "NSEC3") {
		t.Errorf("%s", r)
	}
}
