package zone_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// walked gives what a walk goes through, with owners that outlast it.
func walked(t *testing.T, walk func(func(*zone.Set, int) bool) bool) (all []zone.Set) {
	t.Helper()
	complete := walk(func(set *zone.Set, shared int) bool {
		kept := *set
		kept.Owner = dnsname.Name([]byte(set.Owner))
		if len(all) > 0 {
			// What is shared begins at a label, and is there in both.
			end := kept.Owner[len(kept.Owner)-shared:]
			whole := end == kept.Owner
			for n := kept.Owner; n != dnsname.Root; n = n.Parent() {
				whole = whole || n == end
			}
			if !strings.HasSuffix(string(all[len(all)-1].Owner), string(end)) || !whole && end != dnsname.Root {
				t.Fatalf("%s shares %d octets with %s", kept.Owner, shared, all[len(all)-1].Owner)
			}
		}
		all = append(all, kept)
		return true
	})
	if !complete {
		t.Fatal("a walk ended early")
	}
	return all
}

// TestWalk: Walk goes through the same sets as All, in the same order.
func TestWalk(t *testing.T) {
	for i := range 200 {
		sim := newSimulation(t, seedChoices{rand.New(rand.NewPCG(uint64(i), 5936))})
		for range 20 {
			sim.transaction()
		}
		for _, v := range sim.versions {
			if got := walked(t, v.snapshot.Walk); dumpAll(got) != v.text {
				t.Fatalf("seed %d: walked\n%swant\n%s", i, dumpAll(got), v.text)
			}
			var got []zone.Set
			for _, part := range v.snapshot.WalkParts(i % 20) {
				got = append(got, walked(t, part)...)
			}
			if dumpAll(got) != v.text {
				t.Fatalf("seed %d: walked in parts\n%swant\n%s", i, dumpAll(got), v.text)
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
		if s.Walk(func(*zone.Set, int) bool { seen++; return seen <= n }) || seen != n+1 {
			t.Fatalf("%d sets, want %d", seen, n+1)
		}
	}
}

// TestWalkDoesNotAllocate: what a walk allocates does not grow with the zone.
func TestWalkDoesNotAllocate(t *testing.T) {
	var text strings.Builder
	for i := range 200 {
		for _, label := range []string{"a", "b.a", "C.a", "d.C.a", "\\000", "x.y.z"} {
			fmt.Fprintf(&text, "%[1]s.h%[2]d A 192.0.2.1\n%[1]s.h%[2]d TXT a\n", label, i)
		}
	}
	s := newZones(t, map[string]string{"example.": text.String()})[dnsname.MustParse("example.")]
	if n := testing.AllocsPerRun(100, func() { s.Walk(func(*zone.Set, int) bool { return true }) }); n > 20 {
		t.Errorf("%v allocations for %d owners", n, s.Names())
	}
}
