package zone

import (
	"iter"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/trie"
)

// Walk goes through what All goes through, in the same order, until visit gives
// false; it tells whether it came to the end. It is for those who read whole zones
// often: nothing is allocated for a set, but the set and its Owner are valid
// only until visit returns. RDATA stays valid.
//
// shared is how many octets at its end, which are whole labels, Owner has for
// sure in common with the Owner before, in letter case too; for the first it is
// the length of the origin.
func (s *Snapshot) Walk(visit func(set *Set, shared int) bool) bool {
	return s.walkSOA(visit) && s.walk(s.names.All(), visit) && s.walk(s.hashes.All(), visit)
}

// WalkParts cuts Walk into parts that follow one another: n or more, unless the
// zone is too small. They may be gone through concurrently. Their sizes differ.
func (s *Snapshot) WalkParts(n int) []func(visit func(set *Set, shared int) bool) bool {
	var parts []func(func(*Set, int) bool) bool
	for _, t := range [...]trie.Trie{s.names, s.hashes} {
		for _, entries := range t.Parts(n) {
			first := len(parts) == 0
			parts = append(parts, func(visit func(*Set, int) bool) bool {
				return (!first || s.walkSOA(visit)) && s.walk(entries, visit)
			})
		}
	}
	return parts
}

// walkSOA visits what comes first.
func (s *Snapshot) walkSOA(visit func(set *Set, shared int) bool) bool {
	set := s.soa
	return visit(&set, len(s.origin))
}

// walk visits the sets of some owners, which are in the order of their keys.
func (s *Snapshot) walk(entries iter.Seq[trie.Entry], visit func(set *Set, shared int) bool) bool {
	var set Set
	o := owners{origin: s.origin}
	copy(o.room[len(o.room)-len(s.origin):], s.origin)
	for e := range entries {
		n := node{e.Key, e.Value}
		owner, shared := o.next(n)
		for off := n.entries(); off < len(n.val); {
			off = n.next(off, &set)
			if n.key == "" && set.Type == rrset.TypeSOA {
				continue
			}
			set.Owner = owner
			if !visit(&set, shared) {
				return false
			}
			shared = len(owner)
		}
	}
	return true
}

// owners makes the owners of nodes that come in the order of their keys. What
// an owner shares with the one before is not decoded again.
type owners struct {
	origin dnsname.Name
	key    string // of the owner before that was decoded from one
	labels int    // of it below the origin
	ends   [dnsname.MaxLabels]labelEnd
	room   [dnsname.MaxLen]byte // its name is at the end
	cased  [dnsname.MaxLen]byte // an owner with capital letters
}

// labelEnd says how long the key and the name are with a label and those after it.
type labelEnd struct{ key, name uint16 }

// endOfLabel is the last octet of the key of every label.
var endOfLabel = dnsname.AppendChild(nil, "")[0]

// simple gives the octets that are one symbol in a key, letters in lower case, and
// 0 for other symbols.
var simple = func() (t [256]byte) {
	for c := range t {
		if k := dnsname.AppendChild(nil, []byte{byte(c)}); len(k) == 2 {
			t[k[0]] = dnsname.Lower(byte(c))
		}
	}
	return t
}()

// next gives the owner of n, which is valid until the next call, and how many
// octets of its end were the end of the owner before.
func (o *owners) next(n node) (owner dnsname.Name, shared int) {
	if n.flags()&hasCase != 0 {
		o.key, o.labels = "", 0 // the next shares the origin with it, if not more
		return dnsname.Name(view(n.appendOwner(o.cased[:0], o.origin))), len(o.origin)
	}
	same := commonPrefix(o.key, n.key)
	for o.labels > 0 && int(o.ends[o.labels-1].key) > same {
		o.labels--
	}
	end := labelEnd{0, uint16(len(o.origin))}
	if o.labels > 0 {
		end = o.ends[o.labels-1]
	}
	shared = int(end.name)
	o.key = n.key
	if l := len(n.key) - int(end.key) - 1; l > 0 && l <= dnsname.MaxLabel && shared+1+l <= len(o.room) {
		// One label of simple symbols more, as most are.
		at := len(o.room) - shared - 1 - l
		label, symbols := o.room[at+1:at+1+l], n.key[end.key:]
		var c byte
		for i := range label {
			if c = simple[symbols[i]]; c == 0 {
				break
			}
			label[i] = c
		}
		if c != 0 {
			o.room[at] = byte(l)
			o.ends[o.labels] = labelEnd{uint16(len(n.key)), uint16(shared + 1 + l)}
			o.labels++
			return dnsname.Name(view(o.room[at:])), shared
		}
	}
	for int(end.key) < len(n.key) {
		end = o.prependLabel(end)
	}
	return dnsname.Name(view(o.room[len(o.room)-int(end.name):])), shared
}

// commonPrefix gives the number of octets at their start that two keys have in
// common.
func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// prependLabel puts the label that the key has after end before the name.
func (o *owners) prependLabel(end labelEnd) labelEnd {
	next := int(end.key)
	for o.key[next] != endOfLabel {
		next++
	}
	next++
	var buf [dnsname.MaxLen]byte
	label := dnsname.AppendFromKey(buf[:0], o.key[end.key:next], "")
	copy(o.room[len(o.room)-int(end.name)-len(label):], label)
	end = labelEnd{uint16(next), end.name + uint16(len(label))}
	o.ends[o.labels] = end
	o.labels++
	return end
}
