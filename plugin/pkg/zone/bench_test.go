package zone_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// benchZone makes a zone of n names, and gives the octets of live heap that it
// takes. Delegations have two NS records each and the address of one of the
// servers; hosts have one address.
func benchZone(b *testing.B, n int, delegations bool) (s *zone.Snapshot, heap uint64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	builder := zone.NewBuilder(origin)
	add := func(owner dnsname.Name, typ uint16, rdata string) {
		if err := builder.Add(owner, typ, 3600, []byte(rdata)); err != nil {
			b.Fatal(err)
		}
	}
	add(origin, rrset.TypeSOA, soaRecord(1).rdata)
	add(origin, rrset.TypeNS, "\x02ns\x03net\x00")
	for i := range n {
		owner := benchName(i)
		if !delegations {
			add(owner, rrset.TypeA, "\xc0\x00\x02\x01")
			continue
		}
		add(owner, rrset.TypeNS, "\x03ns1"+string(owner))
		add(owner, rrset.TypeNS, "\x03ns2\x07example\x03net\x00")
		add("\x03ns1"+owner, rrset.TypeA, "\xc0\x00\x02\x01")
	}
	s, _, err := builder.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	builder = nil
	runtime.GC()
	runtime.ReadMemStats(&after)
	return s, after.HeapAlloc - before.HeapAlloc
}

func benchName(i int) dnsname.Name {
	label := fmt.Sprintf("d%07d", i)
	return dnsname.Name(string(byte(len(label)))+label) + origin
}

// BenchmarkLookup looks random names up. B/name is what an owner takes of the
// live heap, all included.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		for _, delegations := range []bool{false, true} {
			content := "hosts"
			if delegations {
				content = "delegations"
			}
			b.Run(fmt.Sprintf("%s=%d", content, n), func(b *testing.B) {
				s, heap := benchZone(b, n, delegations)
				perName := float64(heap) / float64(s.Names())
				r := rand.New(rand.NewPCG(1, 2))
				for _, bench := range []struct {
					name string
					kind zone.Kind
					qry  func(dnsname.Name) dnsname.Name
					skip bool
				}{
					{"hit", zone.Success, func(n dnsname.Name) dnsname.Name { return n }, delegations},
					{"referral", zone.Delegation, func(n dnsname.Name) dnsname.Name { return "\x03www" + n }, !delegations},
					{"nxdomain", zone.NXDomain, func(n dnsname.Name) dnsname.Name { return "\x09" + n[1:1+n[0]] + "x" + n[1+n[0]:] }, false},
				} {
					if bench.skip {
						continue
					}
					queries := make([]zone.Query, 1<<16)
					for i := range queries {
						queries[i] = zone.Query{Name: bench.qry(benchName(r.IntN(n))), Type: rrset.TypeA}
					}
					b.Run(bench.name, func(b *testing.B) {
						b.ReportAllocs()
						var a zone.Answer
						for i := 0; b.Loop(); i++ {
							s.Lookup(&queries[i%len(queries)], &a)
							if a.Kind != bench.kind {
								b.Fatalf("%s: %s", queries[i%len(queries)].Name, a.Kind)
							}
						}
						b.ReportMetric(perName, "B/name")
					})
				}
				runtime.KeepAlive(s)
			})
		}
	}
}

// BenchmarkDenial looks random names up in small signed zones.
func BenchmarkDenial(b *testing.B) {
	for _, name := range []string{"nsec.example.", "nsec3.example.", "optout.example."} {
		origin := dnsname.MustParse(name)
		s, _ := load(b, origin, name+"zone")
		for _, bench := range []struct {
			name  string
			query zone.Query
		}{
			{"nxdomain", zone.Query{Name: "\x04nope" + origin, Type: rrset.TypeA, DO: true}},
			{"nodata", zone.Query{Name: "\x03www" + origin, Type: rrset.TypeTXT, DO: true}},
			{"wildcard", zone.Query{Name: "\x01q\x01w" + origin, Type: rrset.TypeTXT, DO: true}},
			{"referral", zone.Query{Name: "\x01h\x08insecure" + origin, Type: rrset.TypeA, DO: true}},
		} {
			b.Run(name+"/"+bench.name, func(b *testing.B) {
				b.ReportAllocs()
				var a zone.Answer
				for b.Loop() {
					s.Lookup(&bench.query, &a)
				}
			})
		}
	}
}

// BenchmarkBuilder makes a zone of delegations, three records each.
func BenchmarkBuilder(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		if s, _ := benchZone(b, n, true); s.Records() != 3*n+2 {
			b.Fatal(s.Records())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(3*n), "ns/record")
}

// BenchmarkTxn commits transactions that change one record of a large zone.
func BenchmarkTxn(b *testing.B) {
	s, _ := benchZone(b, 100_000, true)
	r := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		txn := s.Begin()
		if _, err := txn.Add("\x03ns1"+benchName(r.IntN(100_000)), rrset.TypeA, 3600, string([]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})); err != nil {
			b.Fatal(err)
		}
		next, _, err := txn.Commit()
		if err != nil {
			b.Fatal(err)
		}
		s = next
	}
}
