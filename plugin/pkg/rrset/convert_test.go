package rrset

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// records are of every type that has a way of its own through AppendRRs, and of
// some that have none.
var records = []string{
	"a.example. 300 IN A 192.0.2.1",
	"a.example. 300 IN AAAA 2001:db8::1",
	"a.example. 300 IN NS NS.other.example.",
	"a.example. 300 IN NS .",
	"a.example. 300 IN CNAME b\\.c\\000d.example.",
	"a.example. 300 IN PTR b.example.",
	"a.example. 300 IN DNAME b.example.",
	"a.example. 300 IN MX 10 mail.example.",
	"a.example. 300 IN SRV 1 2 443 srv.example.",
	"a.example. 300 IN SOA ns.example. host\\.master.example. 4294967295 7200 3600 1209600 300",
	"a.example. 300 IN TXT \"plain\" \"\" \"two words\"",
	"a.example. 300 IN TXT \"qu\\\"ote\\\\ \\000\\255\"",
	"a.example. 300 IN DS 12345 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
	"a.example. 300 IN RRSIG A 13 2 300 20300101000000 20200101000000 12345 example. AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	"a.example. 300 IN NSEC b.example. A NS TYPE65280",
	"a.example. 300 IN NSEC3 1 1 0 aabb 2VPTU5TIMAMQTTGL4LUU9KG21E0AOR3S A RRSIG",
	"a.example. 300 IN DNSKEY 257 3 13 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	"a.example. 300 IN CAA 0 issue \"ca.example\"",
	"a.example. 300 IN HTTPS 1 . alpn=\"h2,h3\" ipv4hint=192.0.2.1",
	"a.example. 300 IN LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000.00m 10.00m",
	"a.example. 300 IN TYPE65280 \\# 3 010203",
	"a.example. 300 IN NULL \\# 0",
}

func TestAppendRRs(t *testing.T) {
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		owner, rdata, err := FromRR(rr)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		set, err := New(rr.Header().Rrtype, rr.Header().Ttl, rdata)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got := AppendRRs(nil, owner.String(), set)
		if len(got) != 1 {
			t.Fatalf("%s: %d records", text, len(got))
		}
		if got[0].String() != rr.String() {
			t.Errorf("got  %s\nwant %s", got[0], rr)
		}
		if h := got[0].Header(); int(h.Rdlength) != len(rdata) || h.Class != dns.ClassINET {
			t.Errorf("%s: header %+v", text, h)
		}
		single, err := ToRR(owner.String(), set.Type, set.TTL, rdata)
		if err != nil || single.String() != rr.String() {
			t.Errorf("ToRR gives %v, %v, want %s", single, err, rr)
		}
	}
}

// TestAppendRRsIsExact: whatever the RDATA of a type, it goes out as it is.
func TestAppendRRsIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	check := func(typ uint16, rdata string) {
		t.Helper()
		set := FromPacked(typ, 300, 1, string([]byte{byte(len(rdata) >> 8), byte(len(rdata))})+rdata)
		got := AppendRRs(nil, "a.example.", set)
		if len(got) != 1 || got[0].Header().Rrtype != typ {
			t.Fatalf("%s: %d records", dns.Type(typ), len(got))
		}
		_, packed, err := FromRR(got[0])
		if err != nil || packed != rdata {
			t.Errorf("%s: % x goes out as % x, %v", dns.Type(typ), rdata, packed, err)
		}
	}
	for typ := range dns.TypeToRR {
		if IsMeta(typ) {
			continue
		}
		for range 300 {
			b := make([]byte, random.IntN(40))
			for i := range b {
				if b[i] = byte(random.IntN(256)); random.IntN(2) == 0 {
					b[i] %= 6 // lengths of labels and strings
				}
			}
			check(typ, string(b))
		}
	}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		_, rdata, err := FromRR(rr)
		if err != nil {
			t.Fatal(err)
		}
		for end := range len(rdata) {
			check(rr.Header().Rrtype, rdata[:end])
		}
	}
}

func TestAppendRRsOfASet(t *testing.T) {
	set, err := New(TypeA, 60, "\xc0\x00\x02\x01", "\xc0\x00\x02\x02", "\xc0\x00\x02\x03")
	if err != nil {
		t.Fatal(err)
	}
	first := &dns.TXT{}
	rrs := AppendRRs([]dns.RR{first}, "A.example.", set)
	var got []string
	for _, rr := range rrs[1:] {
		got = append(got, strings.Join(strings.Fields(rr.String()), " "))
	}
	want := "A.example. 60 IN A 192.0.2.1; A.example. 60 IN A 192.0.2.2; A.example. 60 IN A 192.0.2.3"
	if rrs[0] != dns.RR(first) || strings.Join(got, "; ") != want {
		t.Errorf("got %s", strings.Join(got, "; "))
	}
	a := rrs[1].(*dns.A)
	a.A[3] = 99
	a.A = append(a.A, 1)
	if set.First() != "\xc0\x00\x02\x01" || rrs[2].(*dns.A).A.String() != "192.0.2.2" {
		t.Error("a change of a record changes the set or another record")
	}
}

func TestToRRRefusesMalformedRDATA(t *testing.T) {
	for _, c := range []struct {
		typ   uint16
		rdata string
	}{
		{TypeA, "\x01\x02\x03"},
		{TypeA, "\x01\x02\x03\x04\x05"},
		{TypeMX, ""},
		{TypeMX, "\x00\x0a\x05mail"},
		{TypeNS, "\x01a\x00\x00"},
		{TypeCNAME, "\xc0\x00"},
	} {
		if rr, err := ToRR("a.example.", c.typ, 300, c.rdata); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s % x: %v, %v", dns.Type(c.typ), c.rdata, rr, err)
		}
	}
}

func TestFromRRRefusesWhatCannotBePacked(t *testing.T) {
	rr := &dns.NS{Hdr: dns.RR_Header{Name: "a.example.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "relative"}
	if owner, rdata, err := FromRR(rr); err == nil {
		t.Errorf("%s % x", owner, rdata)
	}
}

func BenchmarkAppendRRs(b *testing.B) {
	for _, text := range []string{records[0], records[2], records[9], records[10], records[13], records[15]} {
		rr, err := dns.NewRR(text)
		if err != nil {
			b.Fatal(err)
		}
		owner, rdata, err := FromRR(rr)
		if err != nil {
			b.Fatal(err)
		}
		set, err := New(rr.Header().Rrtype, 300, rdata)
		if err != nil {
			b.Fatal(err)
		}
		name := owner.String()
		b.Run(dnsTypeName(rr), func(b *testing.B) {
			buf := make([]dns.RR, 0, 1)
			b.ReportAllocs()
			for b.Loop() {
				buf = AppendRRs(buf[:0], name, set)
			}
		})
	}
}

func dnsTypeName(rr dns.RR) string { return dns.Type(rr.Header().Rrtype).String() }
