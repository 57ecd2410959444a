package trie

import "unsafe"

// Sorted makes a trie of keys that come in order, in constant time a key: no
// descent is needed, and a branch is written once, when its last twig is known.
// The zero value is ready; it is for one goroutine.
type Sorted struct {
	spine []growing // the branches above the last key, from the root
	last  node      // the leaf of the last key
	len   int
	free  [][]node // room for twigs
}

// growing is a branch whose last twig is not known yet: the last key is in it.
type growing struct {
	offset int
	bitmap uint64
	twigs  []node
}

// Put adds a key and copies both; ok is false, and nothing was done, if the key
// is not greater than the one before. It panics where Trie.Put does.
func (s *Sorted) Put(key, value []byte) (ok bool) {
	val := unsafe.String(unsafe.SliceData(value), len(value))
	check(key, val)
	if s.len > 0 {
		last := s.last.key()
		m := commonPrefix(last, key)
		if m == len(key) || m < len(last) && key[m] < last[m] {
			return false
		}
		n := s.fold(m)
		if i := len(s.spine) - 1; i >= 0 && s.spine[i].offset == m {
			s.spine[i].add(symbol(last, m), n)
		} else {
			g := growing{offset: m}
			if f := len(s.free) - 1; f >= 0 {
				g.twigs, s.free = s.free[f][:0], s.free[:f]
			}
			g.add(symbol(last, m), n)
			s.spine = append(s.spine, g)
		}
	}
	s.last = newLeaf(key, val)
	s.len++
	return true
}

func (g *growing) add(sym byte, n node) {
	g.bitmap |= 1 << sym
	g.twigs = append(g.twigs, n)
}

// fold finishes the branches that test more than m symbols and gives the
// topmost, or the last leaf if there are none.
func (s *Sorted) fold(m int) node {
	n := s.last
	last := n.key()
	for i := len(s.spine) - 1; i >= 0 && s.spine[i].offset > m; i-- {
		g := &s.spine[i]
		g.add(symbol(last, g.offset), n)
		twigs := make([]node, len(g.twigs))
		copy(twigs, g.twigs)
		n = newBranch(g.offset, g.bitmap, twigs)
		clear(g.twigs)
		s.free = append(s.free, g.twigs)
		s.spine = s.spine[:i]
	}
	return n
}

// Trie gives what was made and leaves s empty.
func (s *Sorted) Trie() Trie {
	var t Trie
	if s.len > 0 {
		t = Trie{s.fold(-1), s.len}
	}
	*s = Sorted{}
	return t
}
