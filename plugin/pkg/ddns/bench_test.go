package ddns

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// BenchmarkUpdate is a whole request on a zone of 100 names: a prerequisite and
// records that give names a new address.
func BenchmarkUpdate(b *testing.B) {
	var more strings.Builder
	for i := range 100 {
		fmt.Fprintf(&more, "h%d A 192.0.2.1\n", i)
	}
	s := load(b, more.String())
	prerequisites := section(b, "yxdomain www")
	for _, n := range []int{1, 100} {
		var list []Record
		for i := range n {
			list = append(list, section(b, fmt.Sprintf("add h%d 300 A 192.0.2.%d", i, 2+i%200))...)
		}
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				txn := s.Begin()
				if err := Prerequisites(txn, prerequisites); err != nil {
					b.Fatal(err)
				}
				if err := Prescan(origin, list, false); err != nil {
					b.Fatal(err)
				}
				if err := Apply(txn, list, Limits{RRset: 1000}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLargeRRset is the most that one message can ask for: an RRset of as
// many records as fit.
func BenchmarkLargeRRset(b *testing.B) {
	s := load(b, "")
	var list []Record
	for i := range 4000 {
		list = append(list, Record{Owner: origin, Type: rrset.TypeA, Class: ClassINET, RDATA: string([]byte{10, 0, byte(i >> 8), byte(i)})})
	}
	for b.Loop() {
		if err := Apply(s.Begin(), list, Limits{RRset: 5000}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPrescan(b *testing.B) {
	for _, bench := range []struct {
		typ  uint16
		text string
	}{
		{rrset.TypeA, "192.0.2.1"},
		{rrset.TypeAAAA, "2001:db8::1"},
		{rrset.TypeTXT, `"v=spf1 -all" "x"`},
		{rrset.TypeCNAME, "www"},
		{rrset.TypeMX, "10 www"},
		{rrset.TypeSRV, "1 2 3 www"},
		{rrset.TypeHTTPS, "1 . alpn=h2"},
		{dns.TypeTLSA, "3 1 1 " + strings.Repeat("ab", 32)},
	} {
		b.Run(rrset.TypeString(bench.typ), func(b *testing.B) {
			list := []Record{{Owner: dnsname.MustParse("www.example.org."), Type: bench.typ, Class: ClassINET, TTL: 60, RDATA: rdata(b, bench.typ, bench.text)}}
			b.ReportAllocs()
			for b.Loop() {
				if err := Prescan(origin, list, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
