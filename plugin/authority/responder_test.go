package authority

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// responds gives a function that appends the response to a query that it takes, and
// gives nil for others.
func responds(h *Authority, shape wire.Shape) func(dst []byte, q *wire.Question, options []byte) ([]byte, zone.Account) {
	r := h.Responder(nil, shape)
	return func(dst []byte, q *wire.Question, options []byte) ([]byte, zone.Account) {
		if !r.Takes(q) {
			return nil, zone.Account{}
		}
		return r.Append(dst, q, options)
	}
}

// FuzzResponder: whatever comes in, a response in wire form is the message that
// ServeDNS gives, is no larger, and has the same TC.
func FuzzResponder(f *testing.F) {
	for _, req := range []*dns.Msg{
		query("www.example.org.", dns.TypeA, do),
		query("MX.example.org.", dns.TypeMX, edns(700)),
		query("h.many.example.org.", dns.TypeA),
		query("huge.example.org.", dns.TypeANY),
		query("out.example.org.", dns.TypeAAAA, edns(1232, subnet(1, 24, 0, "198.51.100.0"))),
		query("out.example.org.", dns.TypeAAAA, edns(1232, subnet(1, 20, 0, "198.51.255.0"))),
		query("deep.example.org.", dns.TypeDS, edns(4096, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})),
		query("a\\000b.w.example.org.", dns.TypeTXT),
		query("nope.example.org.", dns.TypeA, co),
		query("example.com.", dns.TypeDS),
		query("www.example.com.", dns.TypeA, edns(4096, subnet(1, 20, 0, "198.51.255.0"))),
	} {
		packed, err := req.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	h := newTestAuthority(f, nil, "fallthrough", "example.net", "child.example.org")
	respond, cached := responds(h, wire.Shape{Refuse: true}), responds(h, wire.Shape{Refuse: true, Cache: wire.NewCache()})
	f.Fuzz(func(t *testing.T, msg []byte) {
		var q wire.Question
		if wire.ParseQuestion(msg, &q) != wire.Plain || q.ZoneVersion {
			return
		}
		buf := make([]byte, 0, wire.MaxUDP)
		got, account := respond(buf, &q, nil)
		if got == nil {
			return
		}
		if len(got) > q.UDPLimit() || &got[0] != &buf[:1][0] {
			t.Fatalf("%d octets, the limit is %d", len(got), q.UDPLimit())
		}
		for range 3 {
			again, same := cached(nil, &q, nil)
			if !bytes.Equal(again, got) || same.Kind != account.Kind || !same.Name.Equal(account.Name) {
				t.Fatalf("%x %v, with a cache %x %v", got, account, again, same)
			}
		}
		r := new(dns.Msg)
		if err := r.Unpack(msg); err != nil {
			t.Fatalf("%x: %v", msg, err)
		}
		rec := dnstest.NewRecorder(&test.ResponseWriter{})
		if _, err := h.ServeDNS(t.Context(), request.NewScrubWriter(r, rec), r); err != nil || rec.Msg == nil {
			t.Fatalf("%v, %v", rec.Msg, err)
		}
		var m dns.Msg
		if err := m.Unpack(got); err != nil {
			t.Fatalf("%x: %v", got, err)
		}
		want := rec.Msg
		if m.Truncated && want.Truncated {
			m.Answer, m.Ns, want.Answer, want.Ns = nil, nil, nil, nil
			m.Extra, want.Extra = m.Extra[len(m.Extra)-min(1, len(m.Extra)):], want.Extra[len(want.Extra)-min(1, len(want.Extra)):]
		}
		if a, b := strings.ToLower(want.String()), strings.ToLower(m.String()); a != b {
			t.Errorf("ServeDNS says\n%s\nthe responder\n%s", a, b)
		}
	})
}

// TestResponderZoneVersion: who asks for the version of the zone gets its serial, with
// answers of each kind, but not with a refusal (RFC 9660 §3).
func TestResponderZoneVersion(t *testing.T) {
	h := newTestAuthority(t, nil, "")
	respond := responds(h, wire.Shape{Refuse: true, Cache: wire.NewCache()})
	serial := binary.BigEndian.AppendUint32(nil, uint32(h.match(dnsname.MustParse("example.org."), dns.TypeSOA).zone.Snapshot().Serial()))
	for name, want := range map[string]*dns.EDNS0_ZONEVERSION{
		"www.example.org.":  {LabelCount: 2, Version: string(serial)},
		"nope.example.org.": {LabelCount: 2, Version: string(serial)},
		"www.example.com.":  nil,
	} {
		for _, q := range questions(t, query(name, dns.TypeA, edns(1232)), query(name, dns.TypeA, edns(1232, &dns.EDNS0_LOCAL{Code: dns.EDNS0ZONEVERSION}))) {
			m := new(dns.Msg)
			packed, _ := respond(nil, &q, nil)
			if err := m.Unpack(packed); err != nil {
				t.Fatal(err)
			}
			var got *dns.EDNS0_ZONEVERSION
			for _, o := range m.IsEdns0().Option {
				if v, ok := o.(*dns.EDNS0_ZONEVERSION); ok {
					got = v
				}
			}
			if asked := q.ZoneVersion && want != nil; asked != (got != nil) || asked && *got != *want {
				t.Errorf("%s, asked: %t: %v", name, q.ZoneVersion, m)
			}
		}
	}
}

// questions gives questions of all kinds to the zone of the benchmarks.
func questions(t testing.TB, reqs ...*dns.Msg) []wire.Question {
	t.Helper()
	list := make([]wire.Question, len(reqs))
	for i, r := range reqs {
		packed, err := r.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if o := wire.ParseQuestion(packed, &list[i]); o != wire.Plain {
			t.Fatalf("%v: %v", r, o)
		}
	}
	return list
}

func benchQuestions(t testing.TB) map[string]wire.Question {
	names := []string{"A", "alias", "MX", "TXT", "nodata", "nxdomain", "referral", "refused"}
	list := questions(t,
		query("h77.example.org.", dns.TypeA, edns(1232)),
		query("a77.example.org.", dns.TypeA, edns(1232)),
		query("example.org.", dns.TypeMX, edns(1232)),
		query("t77.example.org.", dns.TypeTXT, edns(1232)),
		query("h77.example.org.", dns.TypeTXT, edns(1232)),
		query("nope.example.org.", dns.TypeA, edns(1232)),
		query("www.d77.example.org.", dns.TypeA, edns(1232)),
		query("www.example.com.", dns.TypeA, edns(1232)))
	m := make(map[string]wire.Question)
	for i, n := range names {
		m[n] = list[i]
	}
	return m
}

func benchAuthority(t testing.TB) *Authority {
	path := filepath.Join(t.TempDir(), "example.org")
	writeFile(t, path, benchZone(10_000))
	return newAuthority(t, fmt.Sprintf("authority example.org {\nfile %s\n}", path), nil)
}

func TestResponderDoesNotAllocate(t *testing.T) {
	h := benchAuthority(t)
	buf := make([]byte, 0, wire.MaxUDP)
	for _, shape := range []wire.Shape{{Refuse: true}, {Rotate: true}, {Cache: wire.NewCache()}} {
		respond := responds(h, shape)
		for name, q := range benchQuestions(t) {
			if n := testing.AllocsPerRun(1000, func() { respond(buf, &q, nil) }); n > 0 && !raceDetector {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	}
}

// TestResponderAccount: answers to names that anybody can make up have one account.
func TestResponderAccount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "example.org")
	writeFile(t, path, `@ 3600 IN SOA ns admin 1 7200 3600 1209600 300
@ NS ns
ns A 192.0.2.53
*.w A 192.0.2.1
*.alias CNAME nowhere.example.org.
d DNAME example.org.
cut NS ns.example.net.
www A 192.0.2.80
`)
	h := newAuthority(t, fmt.Sprintf("authority example.org {\nfile %s\n}", path), nil)
	respond := responds(h, wire.Shape{Cache: wire.NewCache()})
	for _, c := range []struct {
		name string
		typ  uint16
		kind zone.Kind
		want string
	}{
		{"WWW.example.org.", dns.TypeA, zone.Success, "www.example.org."},
		{"www.example.org.", dns.TypeMX, zone.NoData, "www.example.org."},
		{"q1.example.org.", dns.TypeA, zone.NXDomain, "example.org."},
		{"q1.w.example.org.", dns.TypeA, zone.Success, "*.w.example.org."},
		{"q1.w.example.org.", dns.TypeMX, zone.NoData, "*.w.example.org."},
		{"q1.alias.example.org.", dns.TypeA, zone.Success, "*.alias.example.org."},
		{"q1.d.example.org.", dns.TypeA, zone.Success, "d.example.org."},
		{"q1.cut.example.org.", dns.TypeA, zone.Delegation, "cut.example.org."},
		{"cut.example.org.", dns.TypeDS, zone.NoData, "cut.example.org."},
	} {
		q := questions(t, query(c.name, c.typ, edns(1232)))[0]
		for i := range 3 { // not from the cache, twice, and from it
			_, account := respond(nil, &q, nil)
			if account.Kind != c.kind || !account.Name.Equal(dnsname.MustParse(c.want)) {
				t.Errorf("%s, time %d: %v %v, want %v %s", c.name, i, account.Kind, account.Name, c.kind, c.want)
			}
		}
	}
}

func BenchmarkResponder(b *testing.B) {
	h := benchAuthority(b)
	buf := make([]byte, 0, wire.MaxUDP)
	for way, cache := range map[string]*wire.Cache{"lookup": nil, "cache": wire.NewCache()} {
		respond := responds(h, wire.Shape{Refuse: true, Cache: cache})
		for name, q := range benchQuestions(b) {
			b.Run(name+"/"+way, func(b *testing.B) {
				for b.Loop() {
					if msg, _ := respond(buf, &q, nil); msg == nil {
						b.Fatal("no response")
					}
				}
			})
		}
	}
}
