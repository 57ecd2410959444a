package zone

import (
	"slices"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// Changeset is the net difference between two versions of a zone: removing
// Removed from the one and adding Added gives the other. Each set holds just the
// records, and RRSIGs, that go or come; a record whose TTL changes goes and comes.
// In both lists the SOA record is first if it differs, the rest is in canonical
// order of the owners: the order of IXFR (RFC 1995 §4). The letter case of owners
// and the order of the records in a set make no difference.
type Changeset struct {
	From, To       Serial
	Removed, Added []Set
	// Who made the change, and When: whoever commits it sets them. Nothing here
	// looks at them.
	Who  string
	When time.Time
}

// IsEmpty tells whether the two versions hold the same records.
func (c *Changeset) IsEmpty() bool { return len(c.Removed) == 0 && len(c.Added) == 0 }

// Difference compares two versions of a zone in full. Both must have the same
// origin.
func Difference(from, to *Snapshot) Changeset {
	keys := make(map[string]struct{})
	for s, other := range map[*Snapshot]*Snapshot{from: to, to: from} {
		for e := range s.names.All() {
			if v, ok := other.names.Get([]byte(e.Key)); !ok || v != e.Value {
				keys[e.Key] = struct{}{}
			}
		}
		for e := range s.hashes.All() {
			if v, ok := other.hashes.Get([]byte(e.Key)); !ok || v != e.Value {
				keys[e.Key] = struct{}{}
			}
		}
	}
	sorted := make([]string, 0, len(keys))
	for k := range keys {
		sorted = append(sorted, k)
	}
	slices.Sort(sorted)
	return difference(from, to, sorted)
}

// difference compares the owners with the given keys, which are sorted: the
// apex, whose key is empty, is the first.
func difference(from, to *Snapshot, keys []string) Changeset {
	c := Changeset{From: from.serial, To: to.serial}
	for _, k := range keys {
		owner := to.ownerOf(k)
		if owner == "" {
			owner = from.ownerOf(k)
		}
		before, after := from.sets([]byte(k)), to.sets([]byte(k))
		c.Removed = append(c.Removed, subtract(owner, before, after)...)
		c.Added = append(c.Added, subtract(owner, after, before)...)
	}
	soaFirst(c.Removed)
	soaFirst(c.Added)
	return c
}

// soaFirst puts the SOA record in front.
func soaFirst(sets []Set) {
	i := slices.IndexFunc(sets, func(s Set) bool { return s.Type == rrset.TypeSOA })
	if i > 0 {
		soa := sets[i]
		copy(sets[1:], sets[:i])
		sets[0] = soa
	}
}

// ownerOf gives the owner of a key in its letter case, or "".
func (s *Snapshot) ownerOf(key string) dnsname.Name {
	for _, t := range []interface {
		Get([]byte) (string, bool)
	}{s.names, s.hashes} {
		if v, ok := t.Get([]byte(key)); ok {
			return node{key, v}.owner(s.origin)
		}
	}
	return ""
}

// subtract gives what the sets of an owner hold and others do not.
func subtract(owner dnsname.Name, sets, others []Set) []Set {
	var left []Set
	for _, s := range sets {
		var o Set
		if i, ok := place(others, s.Type); ok {
			o = others[i]
		}
		d := Set{Owner: owner, RRset: without(s.RRset, o.RRset), Sigs: without(s.Sigs, o.Sigs)}
		if !d.IsEmpty() || !d.Sigs.IsEmpty() {
			d.Type = s.Type
			left = append(left, d)
		}
	}
	return left
}

// without gives the records of a that are not in b with the same TTL.
func without(a, b rrset.RRset) rrset.RRset {
	if b.IsEmpty() || a.TTL != b.TTL {
		return a
	}
	have := make(map[string]struct{}, b.Len())
	for r := range b.All() {
		have[r] = struct{}{}
	}
	var packed []byte
	n := 0
	for r := range a.All() {
		if _, ok := have[r]; !ok {
			packed = append(append(packed, byte(len(r)>>8), byte(len(r))), r...)
			n++
		}
	}
	return rrset.FromPacked(a.Type, a.TTL, uint16(n), string(packed))
}
