package zone_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// walked gives what Walk goes through, with owners that outlast it.
func walked(s *zone.Snapshot) (all []zone.Set, complete bool) {
	complete = s.Walk(func(set *zone.Set) bool {
		kept := *set
		kept.Owner = dnsname.Name([]byte(set.Owner))
		all = append(all, kept)
		return true
	})
	return all, complete
}

// TestWalk: Walk goes through the same sets as All, in the same order.
func TestWalk(t *testing.T) {
	for i := range 200 {
		sim := newSimulation(t, seedChoices{rand.New(rand.NewPCG(uint64(i), 5936))})
		for range 20 {
			sim.transaction()
		}
		for _, v := range sim.versions {
			got, complete := walked(v.snapshot)
			if !complete || dumpAll(got) != v.text {
				t.Fatalf("seed %d: walked, to the end: %v\n%swant\n%s", i, complete, dumpAll(got), v.text)
			}
		}
	}
}

// TestWalkEnds: Walk goes no further than its caller wants.
func TestWalkEnds(t *testing.T) {
	sim := newSimulation(t, seedChoices{rand.New(rand.NewPCG(1, 2))})
	s := sim.versions[0].snapshot
	all := slices.Collect(s.All())
	for n := range all {
		seen := 0
		if s.Walk(func(*zone.Set) bool { seen++; return seen <= n }) || seen != n+1 {
			t.Fatalf("%d sets, want %d", seen, n+1)
		}
	}
}

// TestWalkDoesNotAllocate: what it takes does not grow with the zone.
func TestWalkDoesNotAllocate(t *testing.T) {
	var text strings.Builder
	for _, label := range []string{"a", "b.a", "C.a", "d.C.a", "e"} {
		text.WriteString(label + " A 192.0.2.1\n" + label + " TXT a\n")
	}
	s := newZones(t, map[string]string{"example.": text.String()})[dnsname.MustParse("example.")]
	if n := testing.AllocsPerRun(100, func() { s.Walk(func(*zone.Set) bool { return true }) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}
