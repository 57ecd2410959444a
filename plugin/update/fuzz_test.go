package update

import (
	"io"
	golog "log"
	"os"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	coredns "github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// rcodes are all that a response to an update can have (RFC 2136 §2.2).
var rcodes = map[int]bool{
	dns.RcodeSuccess: true, dns.RcodeFormatError: true, dns.RcodeNameError: true, dns.RcodeRefused: true, dns.RcodeYXDomain: true,
	dns.RcodeYXRrset: true, dns.RcodeNXRrset: true, dns.RcodeNotAuth: true, dns.RcodeNotZone: true,
}

// fuzzLines let one key do everything, and another a little.
const fuzzLines = `grant all.example.org zonesub ANY
deny few.example.org name www.example.org TXT
grant few.example.org zonesub A TXT CNAME max 3
grant any selfsub
grant net 10.0.0.0/8 zonesub A
lease 3s 1s 5s
lease required for lease.example.org`

// FuzzServeDNS: whatever UPDATE comes in that the library takes, one response goes
// out, with a code of the protocol, and the zone is still one. A code other than
// NOERROR means that nothing was changed.
func FuzzServeDNS(f *testing.F) {
	add := func(m *dns.Msg) {
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		for key := range byte(4) {
			f.Add(wire, key)
		}
	}
	for _, lines := range [][]string{
		{"a.example.org. 60 A 192.0.2.1", "a.example.org. 60 A 192.0.2.2"},
		{"-www.example.org. ANY", "www.example.org. 60 CNAME a"},
		{"-example.org. ANY", "-example.org. NS"},
		{"-c.example.org. 0 CNAME www.example.org.", "c.example.org. 60 DNAME x."},
		{"example.org. 60 SOA a. b. 4294967295 1 1 1 1", "*.example.org. 60 NS a."},
		{"k.example.org. 60 KEY 0 3 13 AAAA", "k.example.org. 60 TYPE65280 \\# 2 0102", "k.example.org. 60 NSEC3PARAM 1 0 0 -"},
		{"www.example.org. 60 RRSIG A 13 3 300 20300101000000 20200101000000 1 example.org. AAAA", "-www.example.org. A"},
		{"few.example.org. 60 SVCB 1 . alpn=h2 port=53", "sub.example.org. 60 DS 1 13 2 AA", "x.example.net. 60 A 192.0.2.1"},
	} {
		add(updating(lines...))
		leased := updating(lines...)
		leased.IsEdns0().Option = append(leased.IsEdns0().Option, leaseOption(2, 9))
		add(leased)
	}
	demanding := updating("a.example.org. 60 A 192.0.2.1")
	demanding.NameUsed(rrs("www.example.org. 0 A 192.0.2.1"))
	demanding.NameNotUsed(rrs("nothing.example.org. 0 A 192.0.2.1"))
	demanding.Used(rrs("www.example.org. 0 A 192.0.2.1"))
	demanding.RRsetNotUsed(rrs("www.example.org. 0 TXT x"))
	demanding.RRsetUsed(rrs("ns1.example.org. 0 A 192.0.2.1"))
	add(demanding)
	odd := updating()
	odd.Ns = append(odd.Ns, &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: dns.ClassANY}}, &dns.RFC3597{Hdr: dns.RR_Header{Name: "example.org.", Rrtype: 0, Class: dns.ClassNONE}})
	odd.Question[0].Qclass = dns.ClassANY
	add(odd)
	keys := []string{"", "all.example.org.", "few.example.org.", "lease.example.org."}

	golog.SetOutput(io.Discard)
	f.Cleanup(func() { golog.SetOutput(os.Stderr) })
	u := handlerFor(f, zoneText, fuzzLines)
	f.Fuzz(func(t *testing.T, wire []byte, key byte) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil || m.Response || len(m.Question) == 0 || m.Opcode != dns.OpcodeUpdate {
			return // the server answers these, or others do
		}
		asked := m.Copy()
		before := u.zone().Snapshot()
		rec := dnstest.NewRecorder(&test.ResponseWriter{TCP: key&4 != 0})
		code, err := u.ServeDNS(as(t.Context(), keys[key%4]), coredns.NewScrubWriter(m, rec), m)
		if code == dns.RcodeNameError && rec.Msg == nil {
			return // the next plugin has got it
		}
		if err != nil || !plugin.ClientWrite(code) || rec.Msg == nil {
			t.Fatalf("code %d, error %v, response %v", code, err, rec.Msg)
		}
		r := rec.Msg
		if _, err := r.Pack(); err != nil {
			t.Fatal(err)
		}
		if !rcodes[r.Rcode] || r.Id != asked.Id || !r.Response || r.Opcode != dns.OpcodeUpdate || r.Question[0] != asked.Question[0] {
			t.Errorf("asked %v, answered %v", asked, r)
		}
		now := u.zone().Snapshot()
		switch {
		case now == before:
			return
		case r.Rcode != dns.RcodeSuccess:
			t.Errorf("%s, and the serial went from %d to %d", dns.RcodeToString[r.Rcode], before.Serial(), now.Serial())
		case !now.Serial().After(before.Serial()):
			t.Errorf("serial %d after %d", now.Serial(), before.Serial())
		}
		if now.Records() > 200 {
			t.Skip() // what is looked at below should not become slow
		}
		for _, c := range sound(now) {
			t.Errorf("after %v: %s", asked, c)
		}
	})
}
