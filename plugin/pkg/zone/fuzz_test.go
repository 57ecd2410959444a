package zone_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// FuzzLookup makes a zone, transactions and questions of bytes, and holds them
// against the model; zones that are signed give proofs that a validator accepts.
func FuzzLookup(f *testing.F) {
	r := rand.New(rand.NewPCG(1034, 4592))
	for range 8 {
		b := make([]byte, 600)
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			t.Skip("long enough to be slow")
		}
		c := &byteChoices{data}
		var a zone.Answer
		kind := c.below(8)
		if kind > 3 { // unsigned, changed by transactions
			sim := newSimulation(t, c)
			for range 1 + c.below(4) {
				sim.transaction()
			}
			last := sim.versions[len(sim.versions)-1]
			for range 10 {
				q := sim.query()
				last.snapshot.Lookup(&q, &a)
				if !q.DO {
					sameAnswer(t, last.model, q, &a)
				}
			}
			for _, v := range sim.versions {
				if now := dumpAll(slices.Collect(v.snapshot.All())); now != v.text {
					t.Fatalf("a version was\n%sand is\n%s", v.text, now)
				}
			}
			return
		}
		g := newGenerator(c)
		g.tame = true
		m := g.zone(25)
		optOut := &naiveNSEC3{iterations: 1, salt: "\xbe\xef", optOut: true}
		switch kind {
		case 0:
			m.nsec = true
		case 1:
			m.nsec3 = &naiveNSEC3{}
		case 2:
			m.nsec3 = optOut
		case 3:
			m.nsec3, m.former = &naiveNSEC3{}, optOut
		}
		m.sign()
		s := m.build(t)
		for range 20 {
			q := g.query()
			s.Lookup(&q, &a)
			sameAnswer(t, m, q, &a)
			if fault := m.validate(q, &a); q.DO && q.Type != rrset.TypeANY && fault != "" {
				t.Fatalf("%s TYPE%d in\n%s%s\n%s", q.Name, q.Type, m, dump(&a, true), fault)
			}
		}
	})
}
