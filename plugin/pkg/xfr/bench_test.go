package xfr

import (
	"fmt"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// registry makes the zone of a registry as test/bench has it: n delegations,
// each to a server in it, with glue, and to one outside.
func registry(b testing.TB, n int) *zone.Snapshot {
	b.Helper()
	const scatter = 0x9e3779b97f4a7c15
	origin := dnsname.MustParse("big.example.")
	builder := zone.NewBuilder(origin)
	add := func(owner string, typ uint16, rdata string) {
		if err := builder.Add(dnsname.MustParse(owner), typ, 3600, []byte(rdata)); err != nil {
			b.Fatal(err)
		}
	}
	add("big.example.", rrset.TypeSOA, "\x03ns1"+string(origin)+"\x0ahostmaster"+string(origin)+
		"\x78\xc3\x0e\x15\x00\x00\x1c\x20\x00\x00\x03\x84\x00\x12\x75\x00\x00\x00\x01\x2c")
	add("big.example.", rrset.TypeNS, "\x03ns1"+string(origin))
	add("big.example.", rrset.TypeNS, "\x03ns2"+string(origin))
	add("big.example.", rrset.TypeMX, "\x00\x0a\x04mail"+string(origin))
	for i, h := range []string{"ns1", "ns2", "mail"} {
		add(h+".big.example.", rrset.TypeA, "\xc0\x00\x02"+string(byte(i+1)))
	}
	for i := range n {
		provider := uint64(i) * scatter >> 40
		cut := fmt.Sprintf("d%07d.big.example.", i)
		server := string(dnsname.MustParse("ns1." + cut))
		add(cut, rrset.TypeNS, server)
		add(cut, rrset.TypeNS, string(dnsname.MustParse(fmt.Sprintf("ns%d.dns%03d.example.net.", 1+provider%4, provider%500))))
		add("ns1."+cut, rrset.TypeA, string([]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	s, _, err := builder.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkWhole packs whole zones: messages for AXFR, without a socket.
func BenchmarkWhole(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("delegations=%d", n), func(b *testing.B) {
			st, err := Plan(&Request{Question: wire.Question{Name: dnsname.MustParse("big.example."), Type: rrset.TypeAXFR, Class: 1}}, registry(b, n), nil, Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			octets, records := 0, 0
			for b.Loop() {
				octets, records = 0, 0
				for msg, err := range st.Messages() {
					if err != nil {
						b.Fatal(err)
					}
					octets += len(msg)
					records += int(msg[6])<<8 | int(msg[7])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/RR")
			b.ReportMetric(float64(octets)/1e6, "MB")
		})
	}
}
