package parent

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// seeds are responses with ID 7 to a question.
func seeds(f *testing.F, q question) {
	d := append(records(f, ds1Text+ds2Text), records(f, parentText)...)
	for _, h := range []host{d.serves(), d.resolves(), records(f, parentText).serves(), records(f, childText).serves(), records(f, parentText+"a.b.example. 60 CNAME x.example.").resolves()} {
		f.Add(h(q.pack(7)))
	}
}

// FuzzJudge: whatever a server sends, there is a verdict, and one without an error is
// what miekg/dns reads in the message too.
func FuzzJudge(f *testing.F) {
	q := question{name: zone, typ: typeDS}
	seeds(f, q)
	f.Fuzz(func(t *testing.T, reply []byte) {
		before := bytes.Clone(reply)
		m, err := q.parse(reply, 7)
		if !bytes.Equal(reply, before) {
			t.Fatal("changes the message")
		}
		if err != nil {
			return
		}
		ds, ttl, err := judge(&m, zone, "")
		_, _, strict := judge(&m, zone, dnsname.MustParse("example."))
		if err != nil {
			if ds != nil || ttl != 0 || strict == nil {
				t.Fatalf("%q, %v, %v, %v", ds, ttl, err, strict)
			}
			return
		}
		other := new(dns.Msg)
		if other.Unpack(reply) != nil {
			return // it looks into records that do not matter
		}
		if !other.Response || !other.Authoritative || other.Truncated || other.Rcode&15 != 0 || other.Id != 7 {
			t.Fatalf("%v", other)
		}
		if want := slices.Compact(dsOf(t, other.Answer)); !slices.Equal(ds, want) {
			t.Fatalf("%q, want %q: %v", ds, want, other)
		}
		if len(ds) > 0 {
			return
		}
		soa := 0
		for _, rr := range other.Ns {
			if rr.Header().Rrtype == dns.TypeSOA && strings.EqualFold(rr.Header().Name, "a.b.example.") {
				t.Fatalf("the zone itself has spoken: %v", other)
			} else if rr.Header().Rrtype == dns.TypeSOA && dns.IsSubDomain(rr.Header().Name, "a.b.example.") {
				soa++
			}
		}
		if soa != 1 {
			t.Fatalf("no DS, by %d zones: %v", soa, other)
		}
	})
}

// FuzzLearn: whatever a resolver sends, what is learned of it is about the question.
func FuzzLearn(f *testing.F) {
	for _, typ := range []uint16{typeSOA, typeNS, typeA, typeAAAA} {
		seeds(f, question{name: dnsname.MustParse("ns1.example."), typ: typ, recurse: true})
		seeds(f, question{name: dnsname.MustParse("example."), typ: typ, recurse: true})
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		for _, q := range []question{{name: "\x03ns1\x07example\x00", typ: typeA}, {name: "\x03ns1\x07example\x00", typ: typeAAAA}, {name: "\x07example\x00", typ: typeNS}, {name: "\x07example\x00", typ: typeSOA}} {
			m, err := q.parse(reply, 7)
			if err != nil {
				continue
			}
			l, err := learn(&m, q.name, q.typ)
			if err != nil {
				continue
			}
			if len(l.records) > 0 && l.zone != "" || l.ttl < 0 || l.zone != "" && !q.name.IsBelow(l.zone) {
				t.Fatalf("%+v", l)
			}
			for _, r := range l.records {
				size := map[uint16]int{typeA: 4, typeAAAA: 16, typeNS: dnsname.Len(r.rdata), typeSOA: len(r.rdata)}[q.typ]
				if !r.owner.Equal(q.name) || r.typ != q.typ || size == 0 || len(r.rdata) != size {
					t.Fatalf("%+v", r)
				}
			}
		}
	})
}

// FuzzReadResolvers: a file of any octets.
func FuzzReadResolvers(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nnameserver fe80::1%eth0\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := readResolvers(strings.NewReader(text))
		if err != nil && list != nil || len(list) > maxResolvers {
			t.Fatalf("%v, %v", list, err)
		}
		for _, a := range list {
			if !a.IsValid() || a.Port() != defaultPort {
				t.Fatal(a)
			}
		}
	})
}
