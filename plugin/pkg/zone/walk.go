package zone

import (
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/trie"
)

// Walk goes through what All goes through, in the same order, until visit gives
// false; it tells whether it came to the end. It is for those who read whole zones
// often: nothing is allocated for a set, but the set and its Owner are valid
// only until visit returns. RDATA stays valid.
func (s *Snapshot) Walk(visit func(set *Set) bool) bool {
	set := s.soa
	if !visit(&set) {
		return false
	}
	var o owners
	for _, t := range [...]trie.Trie{s.names, s.hashes} {
		for e := range t.All() {
			n := node{e.Key, e.Value}
			owner := o.of(n, s.origin)
			for off := n.entries(); off < len(n.val); {
				off = n.next(off, &set)
				if n.key == "" && set.Type == rrset.TypeSOA {
					continue
				}
				set.Owner = owner
				if !visit(&set) {
					return false
				}
			}
		}
	}
	return true
}

// owners makes the owners of nodes that come in the order of their keys. What
// an owner shares with the one before is not decoded again.
type owners struct {
	key  string // of the owner before that was decoded from one
	name []byte
	room [2][dnsname.MaxLen]byte // for that name, and in turn the next
	used int
}

// endOfLabel is the last octet of the key of every label.
var endOfLabel = dnsname.AppendChild(nil, "")[0]

// of gives the owner of n. It is valid until the next call.
func (o *owners) of(n node, origin dnsname.Name) dnsname.Name {
	o.used ^= 1
	dst := o.room[o.used][:0]
	if n.flags()&hasCase != 0 {
		o.key, o.name = "", nil
		return dnsname.Name(view(n.appendOwner(dst, origin)))
	}
	same, end := 0, min(len(o.key), len(n.key))
	for i := 0; i < end && o.key[i] == n.key[i]; i++ {
		if n.key[i] == endOfLabel {
			same = i + 1
		}
	}
	shared := origin
	if same > 0 {
		at := 0
		for i := same; i < len(o.key); i++ {
			if o.key[i] == endOfLabel {
				at += 1 + int(o.name[at])
			}
		}
		shared = dnsname.Name(view(o.name[at:]))
	}
	o.key, o.name = n.key, dnsname.AppendFromKey(dst, n.key[same:], shared)
	return dnsname.Name(view(o.name))
}
