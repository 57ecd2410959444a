package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/signed"
)

// signedBlock gives the Corefile of example.org with an authority that has more lines, which can be updated and transferred.
func signedBlock(dir, lines string) string {
	return block(dir, fmt.Sprintf("authority {\nfile zone\nstore data\ntransfer net 127.0.0.1\n%s\n}\nupdate {\ngrant all.test. zonesub ANY\n}\nkeys {\n%s}\n", lines, tsigLine(allKey)))
}

// A zone whose keys are in the store is not served without them: neither a start nor a reload takes the signatures away, and the error tells
// the way out. By that way it is not at once without them, as the parent has its DS.
func TestSignedNoMore(t *testing.T) {
	t.Parallel()
	const zone = "example.org."
	dir := t.TempDir()
	write(t, filepath.Join(dir, "zone"), movedZone)
	s := server.StartOurs(t, signedBlock(dir, "dnssec"), zone)
	before := axfr(t, s, zone)
	corefile := func(lines string) {
		t.Helper()
		put(t, filepath.Join(s.Dir, "Corefile"), strings.ReplaceAll(signedBlock(dir, lines), server.Port, fmt.Sprint(s.Addr.Port())))
	}
	corefile("")
	reloadWith(t, s, reloadFailed)
	if d := differ(t, before, axfr(t, s, zone)); d != "" {
		t.Errorf("after a reload that must fail: %s", d)
	}
	if log := s.Log(); !strings.Contains(log, "dnssec insecure") {
		t.Errorf("the log does not tell the way out:\n%s", log)
	}
	s.Stop()
	startFails(t, signedBlock(dir, ""), "example.org.", "signed", "insecure")
	corefile("dnssec insecure")
	s.Restart(t)
	after := axfr(t, s, zone)
	if !slices.Equal(signed.DNSKEYs(before, zone), signed.DNSKEYs(after, zone)) {
		t.Errorf("keys on the way out: %q, before %q", signed.DNSKEYs(after, zone), signed.DNSKEYs(before, zone))
	}
	if err := signed.Hold(after, signed.Records(after, zone, dns.TypeDNSKEY), time.Now()); err != nil {
		t.Errorf("on the way out: %v", err)
	}
}

// What cannot be meant ends the start.
func TestSignedConfigErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "zone"), movedZone)
	for lines, want := range map[string]string{
		"authority {\nfile zone\ndnssec\n}":                                                      `property "store" with a folder is missing`,
		"authority {\nfile zone\nstore data\ndnssec\n}\ndnssec":                                  "the plugin dnssec is in this server block",
		"authority {\nfile zone\nstore memory\ndnssec {\nsplit 0 30d\n}\n}":                      `property "store" wants a folder, not "memory"`,
		"authority {\nfile zone\nstore data\ndnssec {\nkeys nowhere\n}\n}":                       "nowhere",
		"authority {\nfile zone\nstore data\ndnssec strong\n}":                                   `unknown policy "strong"`,
		"authority {\nfile zone\nstore data\ndnssec {\nsplit 1h 1h\n}\n}":                        "lifetime",
		"authority {\nfile zone\nstore data\ndnssec {\nsignature 1d\nrefresh 1d\njitter 0\n}\n}": "refresh",
	} {
		startFails(t, block(dir, lines), "dnssec", want)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("starts that failed have left a store behind")
	}
}

// U11: what follows from the keys is not for clients to change, and the limit of records is about the data alone.
func TestSignedUpdatesRefused(t *testing.T) { bothWays(t, testSignedUpdatesRefused) }

func testSignedUpdatesRefused(t *testing.T, start starter) {
	const zone = "example.org."
	dir := t.TempDir()
	write(t, filepath.Join(dir, "zone"), movedZone)
	s := start(t, signedBlock(dir, "dnssec {\nnsec3\n}\nlimits {\nrecords 9\n}"), zone)
	before := axfr(t, s, zone)
	if len(before) < 20 {
		t.Fatalf("%d records", len(before))
	}
	update := func(lines string) string {
		t.Helper()
		r := sendUpdate(t, "tcp", s.Addr.String(), updating(t, zone, lines), allKey)
		_, text := ednsText(r)
		return dns.RcodeToString[r.Rcode] + " " + text
	}
	key := signed.Records(before, zone, dns.TypeDNSKEY)[0].(*dns.DNSKEY)
	ds := key.ToDS(dns.SHA256)
	for _, rr := range []string{
		"DNSKEY 257 3 13 " + key.PublicKey, "DNSKEY 256 3 15 bnZRlBgdopA96voSLcdmNdV5Vo0juWn2hRioNbxo8LE=",
		"CDS " + fmt.Sprintf("%d %d %d %s", ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest), "CDNSKEY 0 3 0 AA==", "NSEC a A", "NSEC3PARAM 1 0 0 -",
		"RRSIG A 13 3 300 20380101000000 20260101000000 1 example.org. " + strings.Repeat("A", 86) + "==",
		"NSEC3 1 0 0 - " + strings.Repeat("0", 32) + " A",
	} {
		typ, _, _ := strings.Cut(rr, " ")
		for _, lines := range []string{"add @ 60 " + rr, "delete @ " + typ, "delete @ " + rr, "add new 60 A 192.0.2.1; add @ 60 " + rr} {
			if got := update(lines); !strings.HasPrefix(got, "REFUSED ") || !strings.Contains(got, typ) {
				t.Errorf("%s: %s", lines, got)
			}
		}
	}
	if d := differ(t, before, axfr(t, s, zone)); d != "" {
		t.Errorf("after updates that were refused: %s", d)
	}
	for i, want := range []string{"NOERROR", "NOERROR", "REFUSED"} { // there are 7
		if got := update(fmt.Sprintf("add new%d 60 A 192.0.2.1", i)); !strings.HasPrefix(got, want) {
			t.Errorf("record %d: %s", 8+i, got)
		}
	}
	if r := askSigned(s, "new1."+zone); r == nil || len(r.Answer) != 2 { // by UDP
		t.Errorf("%v", r)
	}
	if got := update("delete @"); !strings.HasPrefix(got, "NOERROR") { // all types at the apex: but those
		t.Errorf("all records at the apex: %s", got)
	}
	after := axfr(t, s, zone)
	if !slices.Equal(signed.DNSKEYs(before, zone), signed.DNSKEYs(after, zone)) {
		t.Error("other keys")
	}
	if err := signed.Hold(after, signed.Records(after, zone, dns.TypeDNSKEY), time.Now()); err != nil {
		t.Error(err)
	}
}

// K3: a reload with another algorithm begins a rollover, and one with the former takes it back: the DS of before leads to answers that are
// valid all the time, and all is signed by the key of before.
func TestSignedAlgorithmChange(t *testing.T) {
	t.Parallel()
	server.Require(t, "delv")
	const zone = "example.org."
	dir := t.TempDir()
	write(t, filepath.Join(dir, "zone"), movedZone)
	s := server.StartOurs(t, signedBlock(dir, "dnssec {\nalgorithm 13\n}"), zone)
	before := axfr(t, s, zone)
	ds := signed.Anchors(before, zone)[0]
	anchors := filepath.Join(t.TempDir(), "anchors")
	write(t, anchors, fmt.Sprintf("trust-anchors { %q static-ds %d %d %d %q; };\n", zone, ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest))
	good := func(what string) []dns.RR {
		t.Helper()
		rrs := axfr(t, s, zone)
		old := signed.Records(before, zone, dns.TypeDNSKEY)
		var by []dns.RR
		count := 0
		for _, rr := range rrs {
			if sig, ok := rr.(*dns.RRSIG); ok && sig.Algorithm != dns.ECDSAP256SHA256 {
				continue
			} else if ok {
				count++
			}
			by = append(by, rr)
		}
		if err := signed.Hold(by, old, time.Now()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		sets := make(map[setID]bool)
		for _, rr := range rrs {
			if id := idOf(rr); id.typ != dns.TypeRRSIG && id.owner != "ns.cut."+zone && (id.typ != dns.TypeNS || id.owner == zone) {
				sets[id] = true
			}
		}
		if count != len(sets) {
			t.Errorf("%s: %d signatures of the key of before for %d RRsets", what, count, len(sets))
		}
		for _, q := range []string{zone + " SOA", "www." + zone + " A", "x.wild.ent." + zone + " TXT", "nothing." + zone + " A", "ent." + zone + " A", zone + " DNSKEY"} {
			name, typ, _ := strings.Cut(q, " ")
			out := run(t, "", "delv", "@127.0.0.1", "-p", fmt.Sprint(s.Addr.Port()), "-a", anchors, "+root="+zone, name, typ)
			if !strings.Contains(out, "fully validated") || strings.Contains(out, "unsigned") {
				t.Errorf("%s: %s: %s", what, q, out)
			}
		}
		return rrs
	}
	good("at first")
	change := func(lines string) {
		t.Helper()
		put(t, filepath.Join(s.Dir, "Corefile"), strings.ReplaceAll(signedBlock(dir, lines), server.Port, fmt.Sprint(s.Addr.Port())))
		reloadWith(t, s, reloaded)
	}
	by15 := func() (n int) {
		for _, rr := range axfr(t, s, zone) {
			if sig, ok := rr.(*dns.RRSIG); ok && sig.Algorithm == dns.ED25519 {
				n++
			}
		}
		return n
	}
	change("dnssec {\nalgorithm 15\n}")
	waitFor(t, "signatures of the other algorithm", func() bool { return by15() > 0 })
	rrs := good("with the other algorithm")
	if keys := signed.DNSKEYs(rrs, zone); !slices.Equal(keys, signed.DNSKEYs(before, zone)) { // signatures first, RFC 6781 §4.1.4
		t.Errorf("keys %q", keys)
	}
	if r := sendUpdate(t, "tcp", s.Addr.String(), updating(t, zone, "add new 60 A 192.0.2.1"), allKey); r.Rcode != dns.RcodeSuccess {
		t.Errorf("%v", r)
	}
	good("with the other algorithm, after an update")
	s.Stop()
	s.Restart(t) // K5
	good("with the other algorithm, after a restart")
	n := by15()
	change("dnssec {\nalgorithm 13\n}")
	waitFor(t, "the key of before alone", func() bool { return by15() < n })
	rrs = good("back")
	if keys := signed.DNSKEYs(rrs, zone); !slices.Equal(keys, signed.DNSKEYs(before, zone)) {
		t.Errorf("keys %q", keys)
	}
	if strings.Contains(s.Log(), "[ERROR]") {
		t.Errorf("the log:\n%s", s.Log())
	}
}
