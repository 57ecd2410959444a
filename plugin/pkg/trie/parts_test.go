package trie

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestParts: the parts together are the whole, in order.
func TestParts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 2, 3, 10, 100, 5000} {
		var b Builder
		for range size {
			key := make([]byte, 1+r.IntN(8))
			for i := range key {
				key[i] = byte(1 + r.IntN(1+r.IntN(Symbols-1)))
			}
			b.Put(key, fmt.Sprint(r.Int()))
		}
		all := b.Trie()
		want := slices.Collect(all.All())
		for _, n := range []int{0, 1, 2, 16, 1000, 10000} {
			var got []Entry
			parts := all.Parts(n)
			for _, p := range parts {
				part := slices.Collect(p)
				if len(part) == 0 {
					t.Fatal("an empty part")
				}
				got = append(got, part...)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%d keys in %d parts are not what All gives", all.Len(), len(parts))
			}
			if least := min(n, all.Len()); len(parts) < least || len(parts) > max(1, n*(Symbols-1)) {
				t.Errorf("%d keys: %d parts, want at least %d", all.Len(), len(parts), least)
			}
			for _, p := range parts { // one can be left early
				for range p {
					break
				}
			}
		}
	}
}
