package authority

import (
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// FuzzServeDNS: whatever message comes in that the library takes, one response
// goes out, to the question, and over UDP it is no larger than the client takes.
func FuzzServeDNS(f *testing.F) {
	for _, req := range []*dns.Msg{
		query("www.example.org.", dns.TypeA, do),
		query("MX.example.org.", dns.TypeMX, edns(700)),
		query("h.many.example.org.", dns.TypeA),
		query("huge.example.org.", dns.TypeANY),
		query("out.example.org.", dns.TypeAAAA, edns(1232, subnet(1, 24, 0, "198.51.100.0"))),
		query("deep.example.org.", dns.TypeDS, edns(4096, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_ZONEVERSION{Code: dns.EDNS0ZONEVERSION})),
		query("a\\000b.w.example.org.", dns.TypeTXT),
		query("nope.example.org.", dns.TypeA, co),
		query("example.org.", dns.TypeSOA, opcode(dns.OpcodeNotify)),
		query("example.org.", dns.TypeSOA, opcode(dns.OpcodeUpdate)),
		query("other.com.", dns.TypeNXNAME, class(dns.ClassANY), edns(1232), edns(1232)),
	} {
		wire, err := req.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, false)
		f.Add(wire, true)
	}
	h := newTestAuthority(f, nil, "fallthrough", "example.net", "child.example.org")
	f.Fuzz(func(t *testing.T, wire []byte, tcp bool) {
		r := new(dns.Msg)
		if r.Unpack(wire) != nil || r.Response || len(r.Question) != 1 {
			return // the server answers these
		}
		asked := r.Copy()
		rec := dnstest.NewRecorder(&test.ResponseWriter{TCP: tcp})
		code, err := h.ServeDNS(t.Context(), request.NewScrubWriter(r, rec), r)
		if err != nil || !plugin.ClientWrite(code) || rec.Msg == nil {
			t.Fatalf("code %d, error %v, response %v", code, err, rec.Msg)
		}
		m := rec.Msg
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if m.Id != asked.Id || !m.Response || m.Opcode != asked.Opcode || m.Question[0] != asked.Question[0] {
			t.Errorf("asked %v, answered %v", asked, m)
		}
		if asked.IsTsig() != nil {
			return // not stripped: no plugin tsig, and the library does not truncate
		}
		limit := 512
		if opt := asked.IsEdns0(); opt != nil {
			limit = min(max(limit, int(opt.UDPSize())), 1232)
		}
		if !tcp && len(packed) > limit {
			t.Errorf("%d octets, the client takes %d", len(packed), limit)
		}
		if (m.IsEdns0() != nil) != (asked.IsEdns0() != nil) {
			t.Errorf("asked %v, answered %v", asked, m)
		}
	})
}
