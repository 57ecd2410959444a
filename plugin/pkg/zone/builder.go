package zone

import (
	"fmt"
	"slices"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/trie"
)

// Builder makes the first Snapshot of a zone from its records, which may come
// in any order; it is fastest when those of one owner stand together. It is for
// one goroutine.
type Builder struct {
	// MaxRRset is how many records an RRset may have, the RRSIGs over each type
	// counted for themselves; 0: any number. It is to be set before the first Add.
	MaxRRset int

	origin    dnsname.Name
	names     trie.Builder
	hashes    trie.Builder
	wildcards int
	tally
	problems []Problem
	over     *LimitError // for an RRset of too many records

	// The owner that records are being added to, and its sets so far.
	owner   []byte
	key     []byte
	labels  int // of the owner below the origin
	pending []building
	packed  []byte
}

// LimitError says that an RRset has more records than Builder.MaxRRset.
type LimitError struct {
	Owner dnsname.Name
	Type  uint16 // RRSIG for the signatures over a type
	Max   int    // the limit
}

// Error gives the limit only, without the owner and the type.
func (e *LimitError) Error() string { return fmt.Sprintf("RRset of more than %d records", e.Max) }

// building is an RRset, or the RRSIGs over one, that grows.
type building struct {
	typ  uint16
	sigs bool
	ttl  uint32
	n    int
	data []byte              // as rrset.Packed
	seen map[string]struct{} // RDATA in canonical form, for sets of many records
}

// manyRecords is how many records of a set are compared one by one.
const manyRecords = 16

// maxProblems bounds the findings that a Builder keeps.
const maxProblems = 1000

// NewBuilder gives a builder of the zone with that apex.
func NewBuilder(origin dnsname.Name) *Builder {
	return &Builder{origin: origin}
}

// Add adds a record; one that is there already is passed over (RFC 2181 §5.2).
// The TTL of an RRset and the letter case of an owner are those of the first
// record. An error wraps ErrOutOfZone, ErrMetaType, ErrSOAPlace, ErrNSEC3,
// rrset.ErrMalformed or rrset.ErrTooLong: the record cannot be part of the zone.
// Or it is a *LimitError, maybe about the owner before; then nothing more can be
// added.
// RDATA is looked at as far as names stand in it; what else a type demands is
// the caller's to check. rdata may be changed afterwards.
func (b *Builder) Add(owner dnsname.Name, typ uint16, ttl uint32, rdata []byte) error {
	if string(owner) != string(b.owner) || b.owner == nil {
		b.flush()
		if b.over != nil {
			return b.over
		}
		if !owner.IsBelow(b.origin) {
			return ErrOutOfZone
		}
		b.owner = append(b.owner[:0], owner...)
		b.key, b.labels = dnsname.AppendKey(b.key[:0], owner, len(b.origin), nil)
	}
	if err := checkRecord(b.labels, typ, rdata); err != nil {
		return err
	}
	sigs := typ == rrset.TypeRRSIG
	if sigs {
		typ = rrset.Covered(rdata)
	}
	set := b.set(typ, sigs)
	if set.n == 0 {
		set.ttl = ttl
	} else if set.ttl != ttl && !sigs {
		b.problem(Problem{Rule: RuleTTL, Owner: owner, Type: typ, RDATA: string(rdata), Detail: fmt.Sprintf("%d, not %d as the record before", ttl, set.ttl)})
	}
	if set.has(rdata) {
		return nil
	}
	if b.MaxRRset > 0 && set.n >= b.MaxRRset {
		b.exceeds(owner, set.typ, sigs)
		return b.over
	}
	if len(set.data)+2+len(rdata) > 65535 {
		return rrset.ErrTooLong
	}
	set.data = append(set.data, byte(len(rdata)>>8), byte(len(rdata)))
	set.data = append(set.data, rdata...)
	set.n++
	return nil
}

// exceeds takes note of a set of too many records.
func (b *Builder) exceeds(owner dnsname.Name, typ uint16, sigs bool) {
	if sigs {
		typ = rrset.TypeRRSIG
	}
	b.over = &LimitError{Owner: owner, Type: typ, Max: b.MaxRRset}
}

// checkRecord tells whether a record whose owner has that many labels below the
// apex can be in a zone.
func checkRecord[T ~string | ~[]byte](labels int, typ uint16, rdata T) error {
	switch {
	case rrset.IsMeta(typ):
		return ErrMetaType
	case typ == rrset.TypeSOA && labels > 0:
		return ErrSOAPlace
	case denial(typ, rdata) && labels != 1:
		return ErrNSEC3
	}
	return rrset.Check(typ, rdata)
}

// denial tells whether a record belongs to the NSEC3 chain.
func denial[T ~string | ~[]byte](typ uint16, rdata T) bool {
	return typ == rrset.TypeNSEC3 || typ == rrset.TypeRRSIG && rrset.Covered(rdata) == rrset.TypeNSEC3
}

// set gives the set that is growing for a type.
func (b *Builder) set(typ uint16, sigs bool) *building {
	for i := range b.pending {
		if p := &b.pending[i]; p.typ == typ && p.sigs == sigs {
			return p
		}
	}
	if len(b.pending) < cap(b.pending) { // use the buffers of an owner before
		b.pending = b.pending[:len(b.pending)+1]
	} else {
		b.pending = append(b.pending, building{})
	}
	p := &b.pending[len(b.pending)-1]
	*p = building{typ: typ, sigs: sigs, data: p.data[:0]}
	return p
}

// has tells whether the set holds that RDATA, in canonical form, and takes note
// of it where sets are large.
func (p *building) has(rdata []byte) bool {
	if p.n == 0 {
		return false
	}
	typ := p.typ
	if p.sigs {
		typ = rrset.TypeRRSIG
	}
	set := rrset.FromPacked(typ, 0, uint16(p.n), view(p.data))
	if p.n < manyRecords {
		return set.Contains(view(rdata))
	}
	if p.seen == nil {
		p.seen = make(map[string]struct{})
		for r := range set.All() {
			p.seen[string(rrset.AppendCanonical(nil, typ, r))] = struct{}{}
		}
	}
	c := string(rrset.AppendCanonical(nil, typ, view(rdata)))
	_, ok := p.seen[c]
	p.seen[c] = struct{}{}
	return ok
}

// flush puts the pending sets into the index.
func (b *Builder) flush() {
	if len(b.pending) == 0 {
		return
	}
	sets := make([]Set, 0, 8)
	for i := range b.pending {
		p := &b.pending[i]
		if p.n == 0 {
			continue // its only record was too long
		}
		r := rrset.FromPacked(p.typ, p.ttl, uint16(p.n), string(p.data))
		if at, ok := place(sets, p.typ); !ok {
			sets = slices.Insert(sets, at, Set{RRset: rrset.RRset{Type: p.typ}})
		}
		at, _ := place(sets, p.typ)
		if p.sigs {
			r.Type = rrset.TypeRRSIG
			sets[at].Sigs = r
		} else {
			sets[at].RRset = r
		}
	}
	b.pending = b.pending[:0]
	if i, ok := place(sets, rrset.TypeNSEC3); ok {
		b.put(&b.hashes, sets[i:i+1:i+1])
		sets = slices.Delete(sets, i, i+1)
	}
	if len(sets) > 0 {
		b.put(&b.names, sets)
	}
}

// put merges sets into the node of the current owner.
func (b *Builder) put(t *trie.Builder, sets []Set) {
	owner := dnsname.Name(b.owner)
	if v, ok := t.Get(b.key); ok {
		old := node{string(b.key), v}
		owner = old.owner(b.origin)
		for s := range old.sets() {
			b.count(s, -1)
			sets = b.merge(sets, s)
		}
	} else if t == &b.names && dnsname.KeyHasWildcard(string(b.key)) {
		b.wildcards++
	}
	for _, s := range sets {
		b.count(s, 1)
	}
	b.packed = appendNode(b.packed[:0], string(owner[:len(owner)-len(b.origin)]), sets)
	t.Put(b.key, string(b.packed))
}

// merge puts the records of an earlier set of the owner in front of the later.
func (b *Builder) merge(sets []Set, old Set) []Set {
	at, ok := place(sets, old.Type)
	if !ok {
		return slices.Insert(sets, at, old)
	}
	s := &sets[at]
	join := func(a, z rrset.RRset) rrset.RRset {
		if a.IsEmpty() {
			return z
		}
		for r := range z.All() {
			next, _, err := a.With(r)
			if err != nil {
				b.problem(Problem{Rule: RuleTooLong, Owner: dnsname.Name(b.owner), Type: old.Type, RDATA: r})
				break
			}
			if z.TTL != a.TTL && a.Type != rrset.TypeRRSIG {
				b.problem(Problem{Rule: RuleTTL, Owner: dnsname.Name(b.owner), Type: old.Type, RDATA: r, Detail: fmt.Sprintf("%d, not %d as the record before", z.TTL, a.TTL)})
			}
			a = next
		}
		return a
	}
	s.RRset, s.Sigs = join(old.RRset, s.RRset), join(old.Sigs, s.Sigs)
	if b.MaxRRset > 0 && max(s.Len(), s.Sigs.Len()) > b.MaxRRset {
		b.exceeds(dnsname.Name(b.owner), s.Type, s.Len() <= b.MaxRRset)
	}
	return sets
}

func (b *Builder) problem(p Problem) {
	if len(b.problems) < maxProblems {
		b.problems = append(b.problems, p)
	}
}

// Snapshot gives the zone of all records added, and what its checks found:
// things worth a warning in a zone that is served all the same, at most 1000. An
// error wraps ErrNoSOA, ErrManySOA or ErrIterations, or is a *LimitError. The
// builder is empty afterwards.
func (b *Builder) Snapshot() (*Snapshot, []Problem, error) {
	b.flush()
	s, err := newSnapshot(b.origin, contents{b.names.Trie(), b.hashes.Trie(), b.wildcards, b.tally})
	problems := b.problems
	if b.over != nil {
		err = b.over
	}
	*b = Builder{MaxRRset: b.MaxRRset, origin: b.origin}
	if err != nil {
		return nil, problems, err
	}
	return s, s.check(problems), nil
}
