package zone

import (
	"iter"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// Holding is what a version of a zone has for a name: what who makes proofs and
// signatures for an answer has to know. It is valid as long as the version.
type Holding struct {
	Exists   bool // the name does, with records or without, or a wildcard stands for it
	Wildcard bool // a wildcard stands for the name, which does not exist itself
	Cut      bool // the name is a zone cut
	Hidden   bool // the name is below a zone cut or a DNAME; nothing else is known of it

	node node
}

// Holding looks up what there is for name, which must be at or below the origin. It
// uses buffers of a, and leaves the answer in it as it is.
func (s *Snapshot) Holding(name dnsname.Name, a *Answer) Holding {
	f := s.find(name, rrset.TypeDS, a)
	if f.above.val != "" {
		return Holding{Hidden: true}
	}
	wildcard := f.wildcard != ""
	return Holding{Exists: f.exists, Wildcard: wildcard, Cut: !wildcard && f.node.cut(), node: node{val: f.node.val}}
}

// Sets goes through the RRsets of the name, or of the wildcard that stands for it, that
// the zone has authority for, in the order of their types: of a zone cut DS alone. The
// owners are left out, and NSEC.
func (h Holding) Sets() iter.Seq[Set] {
	return func(yield func(Set) bool) {
		if h.node.val == "" {
			return
		}
		for set := range h.node.sets() {
			if set.IsEmpty() || set.Type == rrset.TypeNSEC || h.Cut && set.Type != rrset.TypeDS {
				continue
			}
			if !yield(set) {
				return
			}
		}
	}
}

// AppendTypes appends the types that an NSEC record of the name says it has, but for
// RRSIG and NSEC, to dst: those of Sets, and NS at a zone cut (RFC 4035 §2.3).
func (h Holding) AppendTypes(dst []uint16) []uint16 {
	if h.Cut {
		dst = append(dst, rrset.TypeNS)
	}
	for set := range h.Sets() {
		dst = append(dst, set.Type)
	}
	return dst
}
