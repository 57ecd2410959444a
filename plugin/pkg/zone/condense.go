package zone

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// Errors of Condense.
var (
	ErrGap           = errors.New("changesets do not lead from one version to the other")
	ErrContradiction = errors.New("changesets contradict each other")
	ErrLimit         = errors.New("more changes than wanted")
)

// Condense merges changesets that follow one another, oldest first, into the net
// difference between the versions from and to, as Difference gives it (RFC 1995
// §5). A record that goes and comes back is not in it, one whose TTL changes goes
// and comes. Who and When are left empty. Sets share the memory of the
// changesets.
//
// It ends with ErrLimit when the difference so far has more than limit records,
// with RRSIGs and SOA counted, after any of the changesets. Other errors are those
// of changes, ErrGap if one does not begin where the one before ended or the last
// does not lead to to, and ErrContradiction.
func Condense(from, to Serial, changes iter.Seq2[Changeset, error], limit int) (Changeset, error) {
	var (
		first Changeset
		steps int
		merge merger
		at    = from
	)
	for c, err := range changes {
		switch {
		case err != nil:
			return Changeset{}, err
		case c.From != at:
			return Changeset{}, fmt.Errorf("%w: %d to %d after %d", ErrGap, c.From, c.To, at)
		}
		at = c.To
		if steps++; steps == 1 {
			if first = c; recordsIn(c.Removed)+recordsIn(c.Added) > limit {
				return Changeset{}, fmt.Errorf("%w: %d to %d", ErrLimit, c.From, c.To)
			}
			continue
		}
		if steps == 2 {
			merge.owners = make(map[string]*mergedOwner)
			if err := merge.add(&first); err != nil {
				return Changeset{}, err
			}
		}
		if err := merge.add(&c); err != nil {
			return Changeset{}, err
		}
		if merge.records > limit {
			return Changeset{}, fmt.Errorf("%w: %d to %d", ErrLimit, from, c.To)
		}
	}
	if at != to {
		return Changeset{}, fmt.Errorf("%w: they end at %d, not %d", ErrGap, at, to)
	}
	if steps == 1 {
		return Changeset{From: from, To: to, Removed: first.Removed, Added: first.Added}, nil
	}
	return merge.changeset(from, to), nil
}

func recordsIn(sets []Set) (n int) {
	for i := range sets {
		n += sets[i].Len() + sets[i].Sigs.Len()
	}
	return n
}

// A merger holds the net difference of the changesets so far.
type merger struct {
	owners  map[string]*mergedOwner // by their keys
	records int
}

// mergedOwner is what changed at an owner. In the letter case of the first
// changeset it goes, in that of the last it comes.
type mergedOwner struct {
	first, last dnsname.Name
	sets        []mergedSet
}

// mergedSet is what changed in an RRset, or in the RRSIGs over one.
type mergedSet struct {
	typ            uint16
	sigs           bool
	removed, added pile
}

// A pile is records of one RRset in one version, so they have one TTL.
type pile struct {
	ttl   uint32
	rdata []string
	index map[string]int // places in rdata, if there are many
}

// manyRDATA is where a pile gets an index.
const manyRDATA = 16

func (p *pile) find(rdata string) int {
	if p.index != nil {
		if i, ok := p.index[rdata]; ok {
			return i
		}
		return -1
	}
	return slices.Index(p.rdata, rdata)
}

func (p *pile) put(ttl uint32, rdata string) error {
	if len(p.rdata) > 0 && (p.ttl != ttl || p.find(rdata) >= 0) {
		return ErrContradiction
	}
	p.ttl = ttl
	p.rdata = append(p.rdata, rdata)
	switch {
	case p.index != nil:
		p.index[rdata] = len(p.rdata) - 1
	case len(p.rdata) == manyRDATA:
		p.index = make(map[string]int)
		for i, r := range p.rdata {
			p.index[r] = i
		}
	}
	return nil
}

// take removes a record, and tells whether it was there.
func (p *pile) take(ttl uint32, rdata string) bool {
	if len(p.rdata) == 0 || p.ttl != ttl {
		return false
	}
	i := p.find(rdata)
	if i < 0 {
		return false
	}
	last := len(p.rdata) - 1
	if p.index != nil {
		p.index[p.rdata[last]] = i
		delete(p.index, rdata)
	}
	p.rdata[i] = p.rdata[last]
	p.rdata = p.rdata[:last]
	return true
}

func (p *pile) rrset(typ uint16) rrset.RRset {
	size := 0
	for _, r := range p.rdata {
		size += 2 + len(r)
	}
	packed := make([]byte, 0, size)
	for _, r := range p.rdata {
		packed = append(append(packed, byte(len(r)>>8), byte(len(r))), r...)
	}
	return rrset.FromPacked(typ, p.ttl, uint16(len(p.rdata)), view(packed))
}

// add merges one more changeset.
func (m *merger) add(c *Changeset) error {
	for i := range c.Removed {
		if err := m.move(&c.Removed[i], false); err != nil {
			return err
		}
	}
	for i := range c.Added {
		if err := m.move(&c.Added[i], true); err != nil {
			return err
		}
	}
	return nil
}

// move takes note that the records of a set come, or go.
func (m *merger) move(s *Set, come bool) error {
	var buf [dnsname.MaxKey]byte
	key, _ := dnsname.AppendKey(buf[:0], s.Owner, len(dnsname.Root), nil)
	o := m.owners[string(key)]
	if o == nil {
		o = &mergedOwner{first: s.Owner}
		m.owners[string(key)] = o
	}
	o.last = s.Owner
	for i, r := range [...]rrset.RRset{s.RRset, s.Sigs} {
		if r.IsEmpty() {
			continue
		}
		set := o.set(s.Type, i == 1)
		back, forth := &set.added, &set.removed
		if come {
			back, forth = forth, back
		}
		for rdata := range r.All() {
			if back.take(r.TTL, rdata) {
				m.records--
				continue
			}
			if err := forth.put(r.TTL, rdata); err != nil {
				return fmt.Errorf("%w: at %s, type %d", err, s.Owner, s.Type)
			}
			m.records++
		}
	}
	return nil
}

// set gives the set of a type, or of the RRSIGs over it, in its place.
func (o *mergedOwner) set(typ uint16, sigs bool) *mergedSet {
	at, ok := slices.BinarySearchFunc(o.sets, typ, func(s mergedSet, typ uint16) int {
		switch d := int(s.typ) - int(typ); {
		case d != 0 || s.sigs == sigs:
			return d
		case sigs:
			return -1
		default:
			return 1
		}
	})
	if !ok {
		o.sets = slices.Insert(o.sets, at, mergedSet{typ: typ, sigs: sigs})
	}
	return &o.sets[at]
}

// changeset gives what was merged.
func (m *merger) changeset(from, to Serial) Changeset {
	c := Changeset{From: from, To: to}
	keys := make([]string, 0, len(m.owners))
	for key := range m.owners {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		o := m.owners[key]
		for i := range o.sets {
			s := &o.sets[i]
			c.Removed = s.appendTo(c.Removed, o.first, &s.removed)
			c.Added = s.appendTo(c.Added, o.last, &s.added)
		}
	}
	soaFirst(c.Removed)
	soaFirst(c.Added)
	return c
}

// appendTo appends the records of a pile of s to sets.
func (s *mergedSet) appendTo(sets []Set, owner dnsname.Name, p *pile) []Set {
	if len(p.rdata) == 0 {
		return sets
	}
	if !s.sigs {
		return append(sets, Set{Owner: owner, RRset: p.rrset(s.typ)})
	}
	last := len(sets) - 1
	if last < 0 || sets[last].Owner != owner || sets[last].Type != s.typ {
		sets = append(sets, Set{Owner: owner, RRset: rrset.RRset{Type: s.typ}})
		last++
	}
	sets[last].Sigs = p.rrset(rrset.TypeRRSIG)
	return sets
}
