package signer_test

import (
	"fmt"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// manyNames gives a zone of that many names.
func manyNames(b *testing.B, origin dnsname.Name, n int) *zone.Snapshot {
	b.Helper()
	z := zone.NewBuilder(origin)
	if err := z.Add(origin, rrset.TypeSOA, 3600, []byte(soa(origin, 1, 300))); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		if err := z.Add(dnsname.Name(fmt.Sprintf("\x08h%07d", i))+origin, rrset.TypeA, 60, []byte{192, 0, 2, byte(i)}); err != nil {
			b.Fatal(err)
		}
	}
	s, _, err := z.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkFull signs a zone of 1,000 names from nothing.
func BenchmarkFull(b *testing.B) {
	origin := dnsname.MustParse("example.")
	from := manyNames(b, origin, 1000)
	for _, alg := range algorithms {
		b.Run(alg.String(), func(b *testing.B) {
			s := newSigner(b, origin, signer.Policy{}, inUse(testKeys(b, origin, alg)[0])...)
			signatures := 0
			for b.Loop() {
				_, _, result := version(b, s, from, start, nil, nil)
				signatures += result.Signatures
			}
			b.ReportMetric(float64(signatures)/b.Elapsed().Seconds(), "signatures/s")
		})
	}
}

// BenchmarkUpdate adds and removes a name, each in a version of its own.
func BenchmarkUpdate(b *testing.B) {
	origin := dnsname.MustParse("example.")
	for _, names := range []int{1_000, 100_000} {
		from := manyNames(b, origin, names)
		for _, mode := range modes[:2] {
			b.Run(fmt.Sprintf("%s/%d", mode.name, names), func(b *testing.B) {
				s := newSigner(b, origin, mode.policy, inUse(testKeys(b, origin, signer.ECDSAP256SHA256)[0])...)
				snap, _, _ := version(b, s, from, start, nil, nil)
				owner := "\x09h0000500x" + origin
				added := false
				for b.Loop() {
					snap, _, _ = version(b, s, snap, start, nil, func(t *zone.Txn) {
						if added = !added; !added {
							t.RemoveName(owner)
						} else if _, err := t.Add(owner, rrset.TypeA, 60, "\xc0\x00\x02\x01"); err != nil {
							b.Fatal(err)
						}
					})
				}
			})
		}
	}
}
