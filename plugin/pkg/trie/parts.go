package trie

import "iter"

// Parts cuts All into parts that follow one another: n or more, up to 47 times as
// many, or fewer if there are not that many branches. They may be gone through
// concurrently. Their sizes differ, as those of the branches do.
func (t Trie) Parts(n int) []iter.Seq[Entry] {
	if t.len == 0 {
		return nil
	}
	nodes, next := []node{t.root}, []node(nil)
	for grew := true; grew && len(nodes) < n; nodes, next = next, nodes[:0] {
		grew = false
		for _, c := range nodes {
			if !c.isBranch() {
				next = append(next, c)
				continue
			}
			next = append(next, c.twigs()...)
			grew = true
		}
	}
	parts := make([]iter.Seq[Entry], len(nodes))
	for i, c := range nodes {
		parts[i] = func(yield func(Entry) bool) { c.walk(yield) }
	}
	return parts
}
