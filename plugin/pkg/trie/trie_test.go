package trie

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/tidwall/btree"
	"pgregory.net/rapid"
)

// model is a sorted slice of entries: slow, and plainly right.
type model []Entry

func (m model) search(key string) (int, bool) {
	i := sort.Search(len(m), func(i int) bool { return m[i].Key >= key })
	return i, i < len(m) && m[i].Key == key
}

func (m model) put(key, value string) model {
	i, ok := m.search(key)
	m = slices.Clone(m)
	if ok {
		m[i].Value = value
		return m
	}
	return slices.Insert(m, i, Entry{key, value})
}

func (m model) delete(key string) (model, bool) {
	i, ok := m.search(key)
	if !ok {
		return m, false
	}
	return slices.Delete(slices.Clone(m), i, i+1), true
}

func (m model) at(i int) (Entry, bool) {
	if i < 0 || i >= len(m) {
		return Entry{}, false
	}
	return m[i], true
}

// genKey draws keys that often share prefixes or are prefixes of one another.
var genKey = rapid.Custom(func(t *rapid.T) string {
	return string(rapid.SliceOfN(rapid.SampledFrom([]byte{1, 2, 3, 46, 47}), 0, 6).Draw(t, "key"))
})

func same(t *rapid.T, tr Trie, m model) {
	if tr.Len() != len(m) {
		t.Fatalf("%d keys, want %d", tr.Len(), len(m))
	}
	if got := slices.Collect(tr.All()); !slices.Equal(got, []Entry(m)) {
		t.Fatalf("holds %q, want %q", got, m)
	}
}

func query(t *rapid.T, tr Trie, m model) {
	key := genKey.Draw(t, "query")
	i, there := m.search(key)
	v, ok := tr.Get([]byte(key))
	if ok != there || ok && v != m[i].Value {
		t.Fatalf("Get(%q) = %q, %v", key, v, ok)
	}
	expect := func(what string, e Entry, ok bool, at int) {
		if want, has := m.at(at); e != want || ok != has {
			t.Fatalf("%s(%q) = %q, %v; want %q, %v", what, key, e, ok, want, has)
		}
	}
	step := 0
	if there {
		step = 1
	}
	e, ok := tr.Below([]byte(key), false)
	expect("Below", e, ok, i-1)
	e, ok = tr.Below([]byte(key), true)
	expect("Below or equal", e, ok, i-1+step)
	e, ok = tr.Above([]byte(key), false)
	expect("Above", e, ok, i+step)
	e, ok = tr.Above([]byte(key), true)
	expect("Above or equal", e, ok, i)
	e, ok = tr.First()
	expect("First", e, ok, 0)
	e, ok = tr.Last()
	expect("Last", e, ok, len(m)-1)

	var p Path
	tr.Find([]byte(key), &p)
	var prefixes []Entry
	match := 0
	for _, e := range m {
		if strings.HasPrefix(key, e.Key) {
			prefixes = append(prefixes, e)
		}
		match = max(match, commonPrefix(key, e.Key))
	}
	var got []Entry
	for i := range p.Len() {
		got = append(got, p.At(i))
	}
	if !slices.Equal(got, prefixes) || p.Match() != match {
		t.Fatalf("Find(%q) = %q, %d; want %q, %d in %q", key, got, p.Match(), prefixes, match, m)
	}
}

// Every version made on the way stays as it was.
func TestAgainstSortedSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tries []Trie
		var models []model
		var tr Trie
		var m model
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v := genKey.Draw(t, "key"), rapid.StringN(0, 3, 8).Draw(t, "value")
				tr, m = tr.Put([]byte(k), v), m.put(k, v)
			},
			"delete": func(t *rapid.T) {
				k := genKey.Draw(t, "key")
				var a, b bool
				tr, a = tr.Delete([]byte(k))
				m, b = m.delete(k)
				if a != b {
					t.Fatalf("Delete(%q) = %v", k, a)
				}
			},
			"keep": func(t *rapid.T) { tries, models = append(tries, tr), append(models, m) },
			"back": func(t *rapid.T) {
				if len(tries) > 0 {
					i := rapid.IntRange(0, len(tries)-1).Draw(t, "version")
					tr, m = tries[i], models[i]
				}
			},
			"": func(t *rapid.T) { query(t, tr, m) },
		})
		same(t, tr, m)
		for i := range tries {
			same(t, tries[i], models[i])
		}
	})
}

func TestBuilderAgainstBtree(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var b Builder
	var tr Trie
	var ref btree.Map[string, string]
	for i := range 50_000 {
		k := make([]byte, rng.IntN(12))
		for j := range k {
			k[j] = byte(1 + rng.IntN(47)*rng.IntN(2)%47)
		}
		v := fmt.Sprint(i)
		b.Put(k, v)
		tr = tr.Put(k, v)
		ref.Set(string(k), v)
	}
	for name, got := range map[string]Trie{"Builder": b.Trie(), "Put": tr} {
		if got.Len() != ref.Len() {
			t.Fatalf("%s: %d keys, want %d", name, got.Len(), ref.Len())
		}
		it := ref.Iter()
		for e := range got.All() {
			if !it.Next() || e.Key != it.Key() || e.Value != it.Value() {
				t.Fatalf("%s: entry %q, btree has %q", name, e, it.Key())
			}
		}
	}
	if left := b.Trie(); left.Len() != 0 {
		t.Error("the builder is not empty after Trie")
	}
}

func TestPutRefusesForeignBytes(t *testing.T) {
	for _, k := range []string{"\x00", "\x30", "\xff"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("key %q was taken", k)
				}
			}()
			Trie{}.Put([]byte(k), "")
		}()
	}
}

func TestNoAllocs(t *testing.T) {
	tr := million(1000)
	k := numberKey(nil, 77)
	var p Path
	if n := testing.AllocsPerRun(100, func() { tr.Find(k, &p); tr.Get(k); tr.Below(k, false) }); n != 0 {
		t.Errorf("%v allocations a look-up", n)
	}
}

func numberKey(dst []byte, i int) []byte {
	dst = append(dst, 20)
	for _, c := range fmt.Sprintf("%07d", i) {
		dst = append(dst, byte(c-'0')+3)
	}
	return append(dst, 1)
}

func million(n int) Trie {
	var b Builder
	var buf [64]byte
	for i := range n {
		b.Put(numberKey(buf[:0], i), "")
	}
	return b.Trie()
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		tr := million(n)
		runtime.GC()
		runtime.ReadMemStats(&after)
		keys := make([][]byte, 1<<16)
		for i := range keys {
			keys[i] = numberKey(nil, rand.IntN(n))
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var p Path
			i := 0
			for b.Loop() {
				tr.Find(keys[i&(1<<16-1)], &p)
				i++
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/key")
		})
		b.Run(fmt.Sprint("put/", n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				tr.Put(keys[i&(1<<16-1)], "v")
				i++
			}
		})
		runtime.KeepAlive(tr)
	}
	b.Run("build/1000000", func(b *testing.B) {
		for b.Loop() {
			million(1_000_000)
		}
	})
}
