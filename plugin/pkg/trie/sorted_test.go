package trie

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// What Sorted makes is, branch for branch, what Put makes.
func TestSortedAgainstPut(t *testing.T) {
	var same func(t *rapid.T, a, b node)
	same = func(t *rapid.T, a, b node) {
		if a.word != b.word {
			t.Fatalf("word %x, want %x", a.word, b.word)
		}
		if !a.isBranch() {
			if a.entry() != b.entry() {
				t.Fatalf("leaf %q, want %q", a.entry(), b.entry())
			}
			return
		}
		for i := range a.twigs() {
			same(t, a.twig(i), b.twig(i))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfDistinct(genKey, rapid.ID).Draw(t, "keys")
		slices.Sort(keys)
		var s Sorted
		for range 2 { // it is empty, and ready again, after Trie
			var want Trie
			for _, k := range keys {
				want = want.Put([]byte(k), "value of "+k)
				key, value := []byte(k), []byte("value of "+k)
				if !s.Put(key, value) {
					t.Fatalf("%q was refused", k)
				}
				clear(key)
				clear(value)
				again := rapid.SampledFrom(keys).Draw(t, "again")
				if again <= k && s.Put([]byte(again), nil) {
					t.Fatalf("%q after %q was taken", again, k)
				}
			}
			got := s.Trie()
			if got.Len() != want.Len() {
				t.Fatalf("%d keys, want %d", got.Len(), want.Len())
			}
			same(t, got.root, want.root)
		}
	})
}

func TestSortedRefusesForeignBytes(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a byte that is no symbol was taken")
		}
	}()
	var s Sorted
	s.Put([]byte{Symbols}, nil)
}

func BenchmarkSorted(b *testing.B) {
	const n = 1_000_000
	var buf [64]byte
	for b.Loop() {
		var s Sorted
		for i := range n {
			s.Put(numberKey(buf[:0], i), nil)
		}
		if s.Trie().Len() != n {
			b.Fatal("keys are missing")
		}
	}
}
