package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
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

// TestPagesOfBolt has bbolt put and remove keys of chance, alone and in ranges, so
// that trees become deep and collapse. What it makes is never called damaged.
func TestPagesOfBolt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: minPageSize, NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	r := rand.New(rand.NewPCG(5, 5))
	key := func() []byte { // of up to 300 octets: few go into a branch
		k := binary.BigEndian.AppendUint16(nil, uint16(r.IntN(3000)))
		return append(k, make([]byte, int(k[1])%3*150)...)
	}
	n := 600
	if testing.Short() || raced {
		n = 150
	}
	for i := range n {
		err := db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte{byte(r.IntN(3))})
			if err != nil {
				return err
			}
			b.FillPercent = 0.5 + 0.4*float64(r.IntN(2))
			for range r.IntN(200) {
				if err := b.Put(key(), make([]byte, r.IntN(200))); err != nil {
					return err
				}
			}
			from, many := key(), r.IntN(180)
			if i%20 == 19 {
				many = 3000
			}
			for range many { // from there on, or from the first
				k, _ := b.Cursor().Seek(from)
				if k == nil {
					from = nil
					continue
				}
				if err := b.Delete(bytes.Clone(k)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(checkPages(f, info.Size()), f.Close()); err != nil {
			t.Fatalf("after transaction %d: %v", i, err)
		}
	}
}
