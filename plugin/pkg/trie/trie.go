// Package trie is a persistent ordered map from byte strings to byte strings:
// a qp-trie (quelques-bits popcount patricia trie) whose updates copy the path
// to the root. A Trie is a value: it never changes, any number of goroutines may
// read it, and making a changed one from it costs the length of a path.
//
//	            word                                      ptr
//	branch  1 | offset (15) | bitmap of symbols (48)  →  twigs: one node a set bit, in the order of the bits
//	leaf    0 | key length (15) | value length (48)   →  key and value, one allocation without pointers
//
// A branch tests the symbol of the key at its offset; the symbol 0 stands for
// the end of the key, so a key that is a prefix of others sits in the first twig
// of a branch. Keys hold the symbols 1 to 47 only: with so small an alphabet a
// branch is one word, and looking for the next step touches one cache line.
package trie

import (
	"iter"
	"math/bits"
	"unsafe"
)

const (
	// Symbols is one more than the greatest byte allowed in a key; 0 is not
	// allowed either.
	Symbols = 48
	// MaxKey is the greatest length of a key.
	MaxKey = 1<<15 - 1

	branchBit   = 1 << 63
	bitmapMask  = 1<<Symbols - 1
	offsetShift = Symbols
	offsetMask  = MaxKey
)

// node is a branch, a leaf, or, if all zero, nothing. Every ptr comes from
// newLeaf or newTwigs, and nothing that it leads to is written after it has
// become reachable from a Trie.
type node struct {
	word uint64
	ptr  unsafe.Pointer
}

// Trie is an immutable ordered map. The zero value is an empty one.
type Trie struct {
	root node
	len  int
}

// Len gives the number of keys.
func (t Trie) Len() int { return t.len }

func newLeaf[K ~string | ~[]byte](key K, val string) node {
	b := make([]byte, max(1, len(key)+len(val)))
	copy(b, key)
	copy(b[len(key):], val)
	return node{word: uint64(len(key))<<offsetShift | uint64(len(val)), ptr: unsafe.Pointer(unsafe.SliceData(b))}
}

func newBranch(offset int, bitmap uint64, twigs []node) node {
	return node{word: branchBit | uint64(offset)<<offsetShift | bitmap, ptr: unsafe.Pointer(unsafe.SliceData(twigs))}
}

func (n node) isBranch() bool { return n.word&branchBit != 0 }
func (n node) offset() int    { return int(n.word >> offsetShift & offsetMask) }
func (n node) bitmap() uint64 { return n.word & bitmapMask }

// twigs gives the children of a branch.
func (n node) twigs() []node {
	return unsafe.Slice((*node)(n.ptr), bits.OnesCount64(n.word&bitmapMask))
}

// twig gives one child of a branch without building the slice.
func (n node) twig(i int) node {
	return *(*node)(unsafe.Add(n.ptr, i*int(unsafe.Sizeof(node{}))))
}

// index tells where the twig of a symbol is, or would be, and whether it is there.
func (n node) index(sym byte) (int, bool) {
	bit := uint64(1) << sym
	return bits.OnesCount64(n.word & (bit - 1)), n.word&bit != 0
}

func (n node) key() string {
	return unsafe.String((*byte)(n.ptr), n.offset())
}

func (n node) value() string {
	k := n.offset()
	return unsafe.String((*byte)(n.ptr), k+int(n.bitmap()))[k:]
}

func symbol[K ~string | ~[]byte](key K, i int) byte {
	if i < len(key) {
		return key[i]
	}
	return 0
}

// nearest gives a leaf that has the longest possible common prefix with key.
// The trie must not be empty.
func nearest[K ~string | ~[]byte](n node, key K) node {
	for n.isBranch() {
		i, ok := n.index(symbol(key, n.offset()))
		if !ok {
			i = 0
		}
		n = n.twig(i)
	}
	return n
}

func commonPrefix[A, B ~string | ~[]byte](a A, b B) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// Get gives the value of a key. The string shares the memory of the trie.
func (t Trie) Get(key []byte) (value string, ok bool) {
	if t.len == 0 {
		return "", false
	}
	if l := nearest(t.root, key); l.key() == string(key) {
		return l.value(), true
	}
	return "", false
}

// Entry is a key and its value. Both share the memory of the trie.
type Entry struct{ Key, Value string }

func (n node) entry() Entry { return Entry{n.key(), n.value()} }

// Path is what one descent towards a key finds: the keys that are a prefix of
// it, shortest first, and how much of it there is at all. A Path may be used
// again and again; it does not allocate.
type Path struct {
	match int
	n     int
	found [128]node
}

// Len gives the number of keys that are a prefix of, or equal to, the one
// looked for.
func (p *Path) Len() int { return p.n }

// At gives the i-th of them, shortest first.
func (p *Path) At(i int) Entry { return p.found[i].entry() }

// Match gives the length of the longest prefix that the key looked for shares
// with any key of the trie.
func (p *Path) Match() int { return p.match }

// Find descends to key and puts what it meets into p. At most the 128 shortest
// keys that are a prefix of key are kept. It does not allocate.
func (t Trie) Find(key []byte, p *Path) {
	p.match, p.n = 0, 0
	if t.len == 0 {
		return
	}
	n := t.root
	for n.isBranch() {
		off := n.offset()
		if n.word&1 != 0 && off < len(key) && p.n < len(p.found) {
			if first := n.twig(0); !first.isBranch() {
				p.found[p.n] = first
				p.n++
			}
		}
		i, ok := n.index(symbol(key, off))
		if !ok {
			i = 0
		}
		n = n.twig(i)
	}
	k := n.key()
	p.match = commonPrefix(k, key)
	for p.n > 0 && p.found[p.n-1].offset() > p.match {
		p.n--
	}
	if len(k) == p.match && p.n < len(p.found) && (p.n == 0 || p.found[p.n-1].offset() < len(k)) {
		p.found[p.n] = n
		p.n++
	}
}

// Below gives the entry with the greatest key that is less than key, or equal
// to it if orEqual is set.
func (t Trie) Below(key []byte, orEqual bool) (e Entry, ok bool) { return t.beside(key, orEqual, -1) }

// Above gives the entry with the smallest key that is greater than key, or
// equal to it if orEqual is set.
func (t Trie) Above(key []byte, orEqual bool) (e Entry, ok bool) { return t.beside(key, orEqual, 1) }

// beside finds the neighbor of key on the side of dir.
func (t Trie) beside(key []byte, orEqual bool, dir int) (Entry, bool) {
	if t.len == 0 {
		return Entry{}, false
	}
	l := nearest(t.root, key)
	m := commonPrefix(l.key(), key)
	exact := m == len(key) && l.offset() == m
	if exact && orEqual {
		return l.entry(), true
	}
	// Down the way that key shares with the leaf, noting the last place where
	// there is a twig on the wanted side of it.
	var side node
	hasSide := false
	n := t.root
	for n.isBranch() && (exact || n.offset() <= m) {
		i, there := n.index(symbol(key, n.offset()))
		on := i + dir
		if !there && dir > 0 {
			on = i // the one that would come after
		}
		if on >= 0 && on < len(n.twigs()) {
			side, hasSide = n.twig(on), true
		}
		if !there {
			return side.extreme(-dir, hasSide)
		}
		n = n.twig(i)
	}
	if !exact && (symbol(key, m) < symbol(l.key(), m)) == (dir > 0) {
		// All of n leaves key at m, on the wanted side.
		side, hasSide = n, true
	}
	return side.extreme(-dir, hasSide)
}

// extreme gives the first (dir < 0) or last entry at or below n.
func (n node) extreme(dir int, ok bool) (Entry, bool) {
	if !ok {
		return Entry{}, false
	}
	for n.isBranch() {
		if dir < 0 {
			n = n.twig(0)
		} else {
			n = n.twig(len(n.twigs()) - 1)
		}
	}
	return n.entry(), true
}

// First gives the entry with the smallest key.
func (t Trie) First() (Entry, bool) { return t.root.extreme(-1, t.len > 0) }

// Last gives the entry with the greatest key.
func (t Trie) Last() (Entry, bool) { return t.root.extreme(1, t.len > 0) }

// All goes through the entries in the order of their keys.
func (t Trie) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		if t.len > 0 {
			t.root.walk(yield)
		}
	}
}

// touch reads the first and the last octet of what n leads to, so that the
// processor has it when it is needed, and fetches several such at a time.
func (n node) touch() {
	_ = *(*byte)(n.ptr)
	if !n.isBranch() {
		_ = *(*byte)(unsafe.Add(n.ptr, max(0, n.offset()+int(n.bitmap())-1)))
	}
}

func (n node) walk(yield func(Entry) bool) bool {
	if !n.isBranch() {
		return yield(n.entry())
	}
	twigs := n.twigs()
	for _, c := range twigs {
		c.touch()
	}
	for _, c := range twigs {
		if c.isBranch() {
			for _, next := range c.twigs() {
				next.touch()
			}
		}
	}
	for _, c := range twigs {
		if c.isBranch() {
			if !c.walk(yield) {
				return false
			}
		} else if !yield(c.entry()) {
			return false
		}
	}
	return true
}

// Put gives a trie in which key has that value. It panics if key holds a byte
// that is no symbol or is too long: keys come from the program, never as they
// are from outside.
func (t Trie) Put(key []byte, value string) Trie {
	return t.put(key, value, false)
}

func (t Trie) put(key []byte, value string, inPlace bool) Trie {
	check(key, value)
	if t.len == 0 {
		return Trie{newLeaf(key, value), 1}
	}
	l := nearest(t.root, key)
	m := commonPrefix(l.key(), key)
	if m == len(key) && m == l.offset() {
		return Trie{t.root.replace(key, newLeaf(key, value), inPlace), t.len}
	}
	return Trie{t.root.insert(key, m, symbol(l.key(), m), newLeaf(key, value), inPlace), t.len + 1}
}

func check(key []byte, value string) {
	for _, c := range key {
		if c == 0 || c >= Symbols {
			panic("trie: byte of a key is no symbol")
		}
	}
	if len(key) > MaxKey || len(value) > bitmapMask {
		panic("trie: key or value too long")
	}
}

// replace puts leaf in the place of the leaf with the same key.
func (n node) replace(key []byte, leaf node, inPlace bool) node {
	if !n.isBranch() {
		return leaf
	}
	i, _ := n.index(symbol(key, n.offset()))
	return n.with(i, n.twig(i).replace(key, leaf, inPlace), inPlace)
}

// with gives n with another i-th twig.
func (n node) with(i int, c node, inPlace bool) node {
	if inPlace {
		n.twigs()[i] = c
		return n
	}
	twigs := make([]node, len(n.twigs()))
	copy(twigs, n.twigs())
	twigs[i] = c
	return newBranch(n.offset(), n.bitmap(), twigs)
}

// insert adds leaf, whose key leaves the present keys at m, where the nearest
// of them has the symbol other.
func (n node) insert(key []byte, m int, other byte, leaf node, inPlace bool) node {
	sym := symbol(key, m)
	switch {
	case n.isBranch() && n.offset() < m:
		i, _ := n.index(symbol(key, n.offset()))
		return n.with(i, n.twig(i).insert(key, m, other, leaf, inPlace), inPlace)
	case n.isBranch() && n.offset() == m:
		old := n.twigs()
		i, _ := n.index(sym)
		twigs := make([]node, len(old)+1)
		copy(twigs, old[:i])
		twigs[i] = leaf
		copy(twigs[i+1:], old[i:])
		return newBranch(m, n.bitmap()|1<<sym, twigs)
	default:
		twigs := []node{n, leaf}
		if sym < other {
			twigs[0], twigs[1] = leaf, n
		}
		return newBranch(m, 1<<sym|1<<other, twigs)
	}
}

// Delete gives a trie without key, and whether key was there.
func (t Trie) Delete(key []byte) (Trie, bool) {
	if _, ok := t.Get(key); !ok {
		return t, false
	}
	return Trie{t.root.remove(key), t.len - 1}, true
}

func (n node) remove(key []byte) node {
	if !n.isBranch() {
		return node{}
	}
	sym := symbol(key, n.offset())
	i, _ := n.index(sym)
	c := n.twig(i).remove(key)
	if c.ptr != nil {
		return n.with(i, c, false)
	}
	old := n.twigs()
	if len(old) == 2 {
		return old[1-i]
	}
	twigs := make([]node, len(old)-1)
	copy(twigs, old[:i])
	copy(twigs[i:], old[i+1:])
	return newBranch(n.offset(), n.bitmap()&^(1<<sym), twigs)
}

// Builder makes a trie from nothing, changing it in place: several times
// faster than a row of Puts. The zero value is ready; it is for one goroutine.
type Builder struct{ t Trie }

// Put sets the value of a key; see Trie.Put.
func (b *Builder) Put(key []byte, value string) { b.t = b.t.put(key, value, true) }

// Get gives the value that a key has so far.
func (b *Builder) Get(key []byte) (value string, ok bool) { return b.t.Get(key) }

// Trie gives what was built and leaves the builder empty.
func (b *Builder) Trie() Trie {
	t := b.t
	b.t = Trie{}
	return t
}
