package wire

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// transfer packs all sets into messages of at most limit octets, but for those of
// one record.
func transfer(t testing.TB, p *StreamPacker, q *Question, all []zone.Set, limit int, perMessage func([]byte)) {
	t.Helper()
	p.Start(q, nil, limit, MaxMessage)
	first := true
	flush := func() {
		defer func() { first = false }()
		n := p.Records()
		msg := p.Message()
		if len(msg) > limit && n > 1 && (!first || n > 2) {
			t.Fatalf("%d octets", len(msg))
		}
		perMessage(msg)
	}
	for i := range all {
		for _, set := range []*rrset.RRset{&all[i].RRset, &all[i].Sigs} {
			for off := 0; off < len(set.Packed()); {
				next := p.Add(all[i].Owner, 0, set, off)
				if next == off && p.Records() == 0 {
					t.Fatalf("%v: a record does not fit into a message of its own", all[i].Owner)
				}
				if next < len(set.Packed()) {
					if p.Add(all[i].Owner, 0, set, next) != next {
						t.Fatal("a message that is full takes more")
					}
					flush()
				}
				off = next
			}
		}
	}
	flush()
}

func axfr(name dnsname.Name) *Question {
	return &Question{ID: 7, Flags: FlagRD | FlagCD, Name: name, Type: rrset.TypeAXFR, Class: dns.ClassINET}
}

// TestTransfer: RFC 5936 §2.2, RFC 3597 §4.
func TestTransfer(t *testing.T) {
	all := sets(t, "example.org. 300 IN SOA ns1.example.org. hostmaster.example.org. 1 7200 3600 1209600 300", "example.org. 300 IN"+sig)
	var packed []byte
	const records = 5000 // more than a message holds
	for i := range records {
		packed = append(packed, 0, 4, 10, 0, byte(i>>8), byte(i))
	}
	all = append(all, zone.Set{Owner: dnsname.MustParse("Big.example.org."), RRset: rrset.FromPacked(rrset.TypeA, 300, records, string(packed))})
	for i := range 2000 {
		all = append(all, sets(t, fmt.Sprintf("Host%d.Example.org. 300 IN NS ns%d.example.org.", i, i%7), fmt.Sprintf("Host%d.Example.org. 300 IN NS NS%d.Host%d.Example.ORG.", i, i%3, i))...)
	}
	for _, limit := range []int{512, 16384, MaxMessage} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			var p StreamPacker
			var got []record
			var names []dns.RR // for the letter case
			var theirs, ours, messages, last int
			transfer(t, &p, axfr("\x07example\x03org\x00"), all, limit, func(msg []byte) {
				if messages > 0 && last < limit-64 { // no record is larger
					t.Errorf("message %d has only %d octets", messages-1, last)
				}
				last = len(msg)
				m := unpack(t, msg)
				if m.MsgHdr != (dns.MsgHdr{Id: 7, Response: true, Authoritative: true, RecursionDesired: true}) ||
					len(m.Question) != 1 || m.Question[0] != (dns.Question{Name: "example.org.", Qtype: dns.TypeAXFR, Qclass: 1}) {
					t.Errorf("head of message %d: %v", messages, m.MsgHdr)
				}
				got = append(got, read(t, msg)[0]...)
				names = append(names, m.Answer...)
				ours += len(msg)
				theirs += len(byMiekg(t, msg))
				messages++
			})
			section(t, "records", got, all)
			if messages < 2 {
				t.Errorf("%d messages", messages)
			}
			if ours > theirs {
				t.Errorf("%d octets, miekg/dns has %d", ours, theirs)
			}
			sameCase(t, names, all)
		})
	}
}

// TestQuestionOfATransfer: it stands in every message as it was asked, and names
// are those of the zone all the same (RFC 5936 §2.2.1, §3.4).
func TestQuestionOfATransfer(t *testing.T) {
	all := sets(t, "example.org. 300 IN SOA ns1.example.org. hostmaster.example.org. 1 7200 3600 1209600 300")
	for i := range 100 {
		all = append(all, sets(t, fmt.Sprintf("Host%d.example.org. 300 IN NS ns%d.example.ORG.", i, i%7))...)
	}
	for _, name := range []dnsname.Name{"\x07EXAMPLE\x03org\x00", "\x07eXample\x03ORG\x00", dnsname.Root} {
		var p StreamPacker
		var names []dns.RR
		transfer(t, &p, axfr(name), all, 512, func(msg []byte) {
			m := unpack(t, msg)
			if len(m.Question) != 1 || m.Question[0].Name != name.String() {
				t.Errorf("question %v, want %v", m.Question, name)
			}
			names = append(names, m.Answer...)
		})
		sameCase(t, names, all)
	}
}

// sameCase checks that owners and targets of NS have the letter case of the sets.
func sameCase(t testing.TB, names []dns.RR, all []zone.Set) {
	t.Helper()
	i := 0
	for _, s := range all {
		for range s.Len() + s.Sigs.Len() {
			if want := s.Owner.String(); names[i].Header().Name != want {
				t.Fatalf("owner %s, want %s", names[i].Header().Name, want)
			}
			i++
		}
		if s.Type == rrset.TypeNS && s.Sigs.IsEmpty() {
			_, rdata, err := rrset.FromRR(names[i-1])
			if err != nil || !slices.Contains(slices.Collect(s.All()), rdata) {
				t.Fatalf("target %q of %v: %v", rdata, s.Owner, err)
			}
		}
	}
}

// TestTransferBytes: what is written where.
func TestTransferBytes(t *testing.T) {
	all := sets(
		t, "example. 1 IN SOA ns.example. h.example. 1 2 3 4 5",
		"example. 1 IN NS ns.sub.example.", "example. 1 IN NS a.net.", "example. 1 IN NS b.net.",
		"example. 1 IN MX 10 b.net.", "sub.example. 1 IN SRV 1 2 3 ns.sub.example.", "ns.sub.example. 1 IN A 192.0.2.1", "NS.example. 1 IN CNAME .",
	)
	var p StreamPacker
	q := axfr("\x07example\x00")
	q.HasEDNS, q.DO = true, true
	p.Start(q, AppendOption(nil, OptionNSID, "me"), MaxMessage, MaxMessage)
	for i := range all {
		if next := p.Add(all[i].Owner, 0, &all[i].RRset, 0); next != len(all[i].Packed()) {
			t.Fatalf("%d of %d octets", next, len(all[i].Packed()))
		}
	}
	want := unhex(t, "0007 8500 0001 0008 0000 0001"+ // QR AA RD
		"07 65 78 61 6d 70 6c 65 00 00fc 0001"+
		"c00c 0006 0001 00000001 001d 02 6e 73 c00c 01 68 c00c 00000001 00000002 00000003 00000004 00000005"+
		"c00c 0002 0001 00000001 0009 02 6e 73 03 73 75 62 c00c"+
		"c00c 0002 0001 00000001 0007 01 61 03 6e 65 74 00"+
		"c00c 0002 0001 00000001 0004 01 62 c065"+
		"c00c 000f 0001 00000001 0004 000a c076"+
		"c051 0021 0001 00000001 0016 0001 0002 0003 02 6e 73 03 73 75 62 07 65 78 61 6d 70 6c 65 00"+ // never compressed
		"c04e 0001 0001 00000001 0004 c0000201"+
		"02 4e 53 c00c 0005 0001 00000001 0001 00"+ // another letter case than ns
		"00 0029 04d0 00 00 8000 0006 0003 0002 6d65")
	if got := p.Message(); string(got) != string(want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	p.Add(all[0].Owner, 0, &all[0].RRset, 0)
	if m := unpack(t, p.Message()); m.IsEdns0() != nil || len(m.Answer) != 1 { // RFC 5936 §2.2.5: the first is enough
		t.Errorf("second message: %v", m)
	}
}

// TestLargeRecords: a record that is larger than the others' limit goes alone; one
// that is larger than all limits is told from one that waits for the next message.
func TestLargeRecords(t *testing.T) {
	txt := func(n int) rrset.RRset {
		return rrset.FromPacked(65280, 1, 1, string([]byte{byte(n >> 8), byte(n)})+strings.Repeat("x", n))
	}
	owner := dnsname.MustParse("a.example.")
	var p StreamPacker
	p.Start(axfr("\x07example\x00"), nil, 600, 1000)
	const head = 12 + 9 + 4
	first := txt(10)
	p.Add(owner, 0, &first, 0)
	second := txt(600)
	if p.Add(owner, 0, &second, 0) == 0 || len(unpack(t, p.Message()).Answer) != 2 {
		t.Error("the first record is alone")
	}
	for _, c := range []struct{ octets, records, size int }{
		{1000 - head - 4 - 10, 1, 1000}, {1000 - head - 4 - 10 + 1, 0, head},
	} {
		small, large := txt(10), txt(c.octets)
		if p.Add(owner, 0, &small, 0) == 0 || p.Add(owner, 0, &large, 0) != 0 || p.Records() != 1 {
			t.Fatalf("%d octets fit into 600", c.octets)
		}
		p.Message()
		p.Add(owner, 0, &large, 0)
		if p.Records() != c.records {
			t.Errorf("%d octets: %d records, want %d", c.octets, p.Records(), c.records)
		}
		if p.Add(owner, 0, &small, 0) != 0 {
			t.Error("a message that is full takes more")
		}
		if msg := p.Message(); len(msg) != c.size || len(unpack(t, msg).Answer) != c.records {
			t.Errorf("%d octets, want %d", len(msg), c.size)
		}
	}
}

// TestManyNames fills the table of names: the message gets larger, not wrong.
func TestManyNames(t *testing.T) {
	var p StreamPacker
	deep := strings.Repeat("x.", 60)
	var all []zone.Set
	for i := range 3000 {
		set, err := rrset.New(rrset.TypeNS, 300, string(dnsname.MustParse(fmt.Sprintf("%x.%s%d.test.", i, deep, i))))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, zone.Set{Owner: dnsname.MustParse(fmt.Sprintf("%x.%x.%x.example.org.", i%16, i/16%16, i/256)), RRset: set})
	}
	var got []record
	full := false
	transfer(t, &p, axfr("\x07example\x03org\x00"), all, MaxMessage, func(msg []byte) {
		unpack(t, msg)
		got = append(got, read(t, msg)[0]...)
		run := 0
		for _, s := range p.slots {
			if run++; s == 0 {
				run = 0
			}
			full = full || run >= maxProbes
		}
	})
	if !full {
		t.Error("the table was never full")
	}
	section(t, "records", got, all)
}

// TestMalformedInStream: RDATA goes out as it is, whatever its type demands.
func TestMalformedInStream(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		typ := rapid.SampledFrom([]uint16{rrset.TypeNS, rrset.TypeMX, rrset.TypeSOA, rrset.TypeMINFO, rrset.TypeSRV, rrset.TypePTR}).Draw(rt, "type")
		octet := rapid.SampledFrom([]byte{0, 1, 2, 3, 'a', 63, 64, 0xc0, 12, 255})
		data := rapid.SliceOfN(octet, 0, 300).Draw(rt, "rdata")
		if rapid.Bool().Draw(rt, "ends as a name") {
			data = append(data[:min(len(data), 4)], "\x01a\x07example\x00"...)
		}
		set := rrset.FromPacked(typ, 1, 1, string([]byte{byte(len(data) >> 8), byte(len(data))})+string(data))
		owner := dnsname.Name("\x01a\x07example\x00")
		var p StreamPacker
		p.Start(axfr("\x07example\x00"), nil, MaxMessage, MaxMessage)
		p.Add(owner, 0, &set, 0)
		msg := p.Message()
		if rrset.Check(typ, data) == nil {
			if got := read(t, msg)[0]; len(got) != 1 || got[0] != records([]zone.Set{{Owner: owner, RRset: set}})[0] {
				rt.Fatalf("got %v of %x", got, msg)
			}
			return
		}
		// A name before the mistake may be compressed, as others do it.
		names, rest := 0, string(data)
		if before, n := compressible(typ); len(data) >= before {
			rest = rest[before:]
			for ; n > 0; n-- {
				l := dnsname.Len(rest)
				if l == 0 {
					break
				}
				rest = rest[l:]
				names++
			}
		}
		if !strings.HasSuffix(string(msg), rest) || names == 0 && !strings.HasSuffix(string(msg), string(data)) {
			rt.Fatalf("%x does not end with % x", msg, data)
		}
	})
}

// TestAnyTransfer packs any sets into messages of any size.
func TestAnyTransfer(t *testing.T) {
	var p StreamPacker
	rapid.Check(t, func(rt *rapid.T) {
		all := rapid.SliceOfN(anySet, 1, 30).Draw(rt, "sets")
		limit := rapid.SampledFrom([]int{512, 700, 16384, MaxMessage}).Draw(rt, "limit")
		q := axfr(anyName.Draw(rt, "zone"))
		var got []record
		var names []dns.RR
		transfer(t, &p, q, all, limit, func(msg []byte) {
			got = append(got, read(t, msg)[0]...)
			names = append(names, unpack(t, msg).Answer...)
		})
		section(t, "records", got, all)
		sameCase(t, names, all)
		if t.Failed() {
			rt.FailNow()
		}
	})
}

func TestStreamPackerDoesNotAllocate(t *testing.T) {
	all := examples(t)["referral"].Authority
	var p StreamPacker
	q := axfr(all[0].Owner)
	if n := testing.AllocsPerRun(100, func() {
		p.Start(q, nil, 4096, 4096)
		for i := range all {
			p.Add(all[i].Owner, 0, &all[i].RRset, 0)
		}
		p.Message()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkTransfer packs delegations as a registry has them; xfr has the
// benchmark of a whole zone.
func BenchmarkTransfer(b *testing.B) {
	var all []zone.Set
	records := 0
	for i := range 10000 {
		all = append(all, sets(b, fmt.Sprintf("zone%d.example. 300 IN NS ns1.provider%d.example.", i, i%100), fmt.Sprintf("zone%d.example. 300 IN NS ns2.provider%d.example.", i, i%100))...)
		records += 2
	}
	var p StreamPacker
	q := axfr("\x07example\x00")
	b.ReportAllocs()
	octets := 0
	for b.Loop() {
		p.Start(q, nil, 16384, MaxMessage)
		octets = 0
		for i := range all {
			if p.Add(all[i].Owner, 0, &all[i].RRset, 0) < len(all[i].Packed()) {
				octets += len(p.Message())
				p.Add(all[i].Owner, 0, &all[i].RRset, 0)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
	b.ReportMetric(float64(octets)/float64(records), "octets/record")
}
