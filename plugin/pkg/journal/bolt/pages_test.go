package bolt

import (
	"hash/fnv"
	"math/rand/v2"
	"testing"
)

// metaPage makes a meta page, without its header.
func metaPage(m meta) []byte {
	b := make([]byte, metaSize)
	order.PutUint32(b, boltMagic)
	order.PutUint32(b[4:], boltVersion)
	order.PutUint32(b[8:], m.pageSize)
	order.PutUint64(b[16:], m.root)
	order.PutUint64(b[32:], m.freelist)
	order.PutUint64(b[40:], m.pages)
	order.PutUint64(b[48:], m.txid)
	h := fnv.New64a()
	_, _ = h.Write(b[:metaSize-sumSize]) // never fails
	order.PutUint64(b[metaSize-sumSize:], h.Sum64())
	return b
}

// TestTorn damages meta pages and tries all that one octet may have been.
func TestTorn(t *testing.T) {
	slow := func(b []byte, other meta) bool {
		for i, was := range b {
			for v := range 256 {
				b[i] = byte(v)
				if m, ok := parseMeta(b); ok && m.txid > other.txid && m.root != other.root {
					return false
				}
			}
			b[i] = was
		}
		return true
	}
	r := rand.New(rand.NewPCG(3, 3))
	found := map[bool]int{}
	for range 300 {
		m := meta{pageSize: 4096, root: r.Uint64N(300), freelist: r.Uint64N(300), pages: r.Uint64N(300), txid: 10}
		other := m
		other.txid = 8 + r.Uint64N(4)
		other.root = m.root + r.Uint64N(2)
		b := metaPage(m)
		if got, ok := parseMeta(b); !ok || got != m {
			t.Fatalf("%+v, %v, want %+v", got, ok, m)
		}
		for range 1 + r.IntN(2) {
			b[16+r.IntN(metaSize-16)] ^= byte(1 + r.IntN(255))
		}
		want := slow(append([]byte(nil), b...), other)
		if got := torn(b, other); got != want {
			t.Fatalf("%x beside %+v: %v, want %v", b, other, got, want)
		}
		found[want]++
	}
	if found[true] == 0 || found[false] == 0 {
		t.Error(found)
	}
}
