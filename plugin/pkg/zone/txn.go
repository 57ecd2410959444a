package zone

import (
	"encoding/binary"
	"iter"
	"slices"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/trie"
)

// Txn makes the next version of a zone. It sees its own changes; nobody else
// does before Commit, and the Snapshot it began from stays as it is. A Txn is
// for one goroutine; dropping it undoes it.
type Txn struct {
	contents
	base    *Snapshot
	touched []string // keys of the owners changed, perhaps back; some more than once
}

// Begin starts a transaction on this version of the zone.
func (s *Snapshot) Begin() *Txn {
	return &Txn{contents: s.contents, base: s}
}

// Savepoint is a state of a Txn to come back to.
type Savepoint struct {
	contents
	touched int
}

// Savepoint marks the present state. It costs nothing.
func (t *Txn) Savepoint() Savepoint { return Savepoint{t.contents, len(t.touched)} }

// Rollback undoes what was done since p was taken from this Txn.
func (t *Txn) Rollback(p Savepoint) {
	t.contents = p.contents
	t.touched = append(t.touched, t.touched[p.touched:]...) // that is a change, too
}

// Touched goes through the owners that were changed since p, perhaps back, in
// lower case. One may come more than once.
func (t *Txn) Touched(p Savepoint) iter.Seq[dnsname.Name] {
	return func(yield func(dnsname.Name) bool) {
		for _, k := range t.touched[p.touched:] {
			if !yield(dnsname.FromKey(k, t.base.origin).Fold()) {
				return
			}
		}
	}
}

// ChangedSince tells whether the records differ from those at p.
func (t *Txn) ChangedSince(p Savepoint) bool { return t.differs(&p.contents, t.touched[p.touched:]) }

// Origin gives the name of the zone.
func (t *Txn) Origin() dnsname.Name { return t.base.origin }

// sets gives the RRsets of an owner in a slice of the caller's.
func (c *contents) sets(key []byte) []Set {
	var sets []Set
	for _, m := range [...]trie.Trie{c.names, c.hashes} {
		if v, ok := m.Get(key); ok {
			for s := range (node{string(key), v}).sets() {
				at, _ := place(sets, s.Type)
				sets = slices.Insert(sets, at, s)
			}
		}
	}
	return sets
}

// key gives the key of an owner; ok is false if it is not in the zone.
func (t *Txn) key(owner dnsname.Name) (key []byte, labels int, ok bool) {
	if !owner.IsBelow(t.base.origin) {
		return nil, 0, false
	}
	key, labels = dnsname.AppendKey(nil, owner, len(t.base.origin), nil)
	return key, labels, true
}

// Get gives an RRset and the RRSIGs over it; ok is false if there is no such
// RRset. For the type RRSIG ask with the type that is covered.
func (t *Txn) Get(owner dnsname.Name, typ uint16) (set Set, ok bool) {
	return t.View().Get(owner, typ)
}

// Sets goes through the RRsets of an owner in the order of their types. A set
// whose RRset is empty has RRSIGs that cover nothing.
func (t *Txn) Sets(owner dnsname.Name) iter.Seq[Set] {
	key, _, ok := t.key(owner)
	if !ok {
		return func(func(Set) bool) {}
	}
	sets := t.sets(key)
	for i := range sets {
		sets[i].Owner = owner
	}
	return slices.Values(sets)
}

// Add adds a record and gives the TTL to its whole RRset (RFC 2136 §3.4.2.2
// with RFC 2181 §5.2). changed is false if all was so before. An error wraps
// ErrOutOfZone, ErrMetaType, ErrSOAPlace, ErrNSEC3, rrset.ErrMalformed (see
// Builder.Add) or rrset.ErrTooLong, and nothing was done. The rules of single RRs
// (SOA, CNAME) are the caller's.
func (t *Txn) Add(owner dnsname.Name, typ uint16, ttl uint32, rdata string) (changed bool, err error) {
	key, labels, ok := t.key(owner)
	if !ok {
		return false, ErrOutOfZone
	}
	if err := checkRecord(labels, typ, rdata); err != nil {
		return false, err
	}
	return t.edit(owner, key, typ, rdata, func(r rrset.RRset) (rrset.RRset, error) {
		r.Type = typ
		next, _, err := r.With(rdata)
		return next.WithTTL(ttl), err
	})
}

// Replace puts an RRset in the place of the one with its type; an empty one does
// what RemoveSet does. RRSIGs over it stay. RRSIGs replace those over the type
// that they cover. Errors are those of Add, or ErrCovers.
func (t *Txn) Replace(owner dnsname.Name, set rrset.RRset) (changed bool, err error) {
	key, labels, ok := t.key(owner)
	if !ok {
		return false, ErrOutOfZone
	}
	if set.IsEmpty() {
		return t.RemoveSet(owner, set.Type), nil
	}
	for r := range set.All() {
		if err := checkRecord(labels, set.Type, r); err != nil {
			return false, err
		}
		if set.Type == rrset.TypeRRSIG && rrset.Covered(r) != rrset.Covered(set.First()) {
			return false, ErrCovers
		}
	}
	return t.edit(owner, key, set.Type, set.First(), func(rrset.RRset) (rrset.RRset, error) { return set, nil })
}

// Remove removes a record, and tells whether it was there.
func (t *Txn) Remove(owner dnsname.Name, typ uint16, rdata string) bool {
	key, _, ok := t.key(owner)
	if !ok {
		return false
	}
	changed, err := t.edit(owner, key, typ, rdata, func(r rrset.RRset) (rrset.RRset, error) {
		next, _ := r.Without(rdata)
		return next, nil
	})
	return changed && err == nil
}

// edit changes the RRset of a type, or the RRSIGs over the type that rdata
// covers.
func (t *Txn) edit(owner dnsname.Name, key []byte, typ uint16, rdata string, change func(rrset.RRset) (rrset.RRset, error)) (bool, error) {
	sets := t.sets(key)
	of := typ
	if typ == rrset.TypeRRSIG {
		of = rrset.Covered(rdata)
	}
	at, ok := place(sets, of)
	if !ok {
		sets = slices.Insert(sets, at, Set{RRset: rrset.RRset{Type: of}})
	}
	r := &sets[at].RRset
	if typ == rrset.TypeRRSIG {
		r = &sets[at].Sigs
	}
	next, err := change(*r)
	if err != nil || next.Equal(*r) || next.IsEmpty() && r.IsEmpty() {
		return false, err
	}
	*r = next
	r.Type = typ
	t.store(owner, key, sets)
	return true, nil
}

// RemoveSet removes the RRset of a type and leaves the RRSIGs over it; of the
// type RRSIG it removes all RRSIGs of the owner. It tells whether there was one.
func (t *Txn) RemoveSet(owner dnsname.Name, typ uint16) bool {
	key, _, ok := t.key(owner)
	if !ok {
		return false
	}
	sets := t.sets(key)
	changed := false
	for i := range sets {
		switch {
		case typ == rrset.TypeRRSIG && !sets[i].Sigs.IsEmpty():
			sets[i].Sigs, changed = rrset.RRset{}, true
		case sets[i].Type == typ && !sets[i].IsEmpty():
			sets[i].RRset, changed = rrset.RRset{Type: typ}, true
		}
	}
	if changed {
		t.store(owner, key, sets)
	}
	return changed
}

// RemoveName removes all records of an owner, and tells whether there were any.
func (t *Txn) RemoveName(owner dnsname.Name) bool {
	key, _, ok := t.key(owner)
	if !ok || len(t.sets(key)) == 0 {
		return false
	}
	t.store(owner, key, nil)
	return true
}

// store puts the sets of an owner into the index, where they belong. The letter
// case of an owner is that of its first record.
func (t *Txn) store(owner dnsname.Name, key []byte, sets []Set) {
	t.touched = append(t.touched, string(key))
	sets = slices.DeleteFunc(sets, func(s Set) bool { return s.IsEmpty() && s.Sigs.IsEmpty() })
	var denials []Set
	if i, ok := place(sets, rrset.TypeNSEC3); ok {
		denials = slices.Clone(sets[i : i+1])
		sets = slices.Delete(sets, i, i+1)
	}
	before := t.names.Len()
	t.names = t.put(t.names, owner, key, sets)
	if dnsname.KeyHasWildcard(string(key)) {
		t.wildcards += t.names.Len() - before
	}
	t.hashes = t.put(t.hashes, owner, key, denials)
}

func (t *Txn) put(m trie.Trie, owner dnsname.Name, key []byte, sets []Set) trie.Trie {
	if v, ok := m.Get(key); ok {
		old := node{string(key), v}
		for s := range old.sets() {
			t.count(s, -1)
		}
		if len(sets) == 0 {
			m, _ = m.Delete(key)
			return m
		}
		owner = old.owner(t.base.origin)
	}
	if len(sets) == 0 {
		return m
	}
	for _, s := range sets {
		t.count(s, 1)
	}
	relative := string(owner[:len(owner)-len(t.base.origin)])
	return m.Put(key, string(appendNode(nil, relative, sets)))
}

// Records gives the number of resource records as they are now.
func (t *Txn) Records() int { return t.records }

// Proofs gives how many of them are RRSIG, NSEC or NSEC3.
func (t *Txn) Proofs() int { return t.proofs }

// Changed tells whether the records differ from those of the version that the
// transaction began from.
func (t *Txn) Changed() bool { return t.differs(&t.base.contents, t.touched) }

// differs tells whether the owners with these keys have other records than in c.
func (t *Txn) differs(c *contents, keys []string) bool {
	for _, k := range keys {
		key := []byte(k)
		if c.same(&t.contents, key) {
			continue
		}
		before, now := c.sets(key), t.sets(key)
		if len(subtract("", before, now)) > 0 || len(subtract("", now, before)) > 0 {
			return true
		}
	}
	return false
}

// same tells whether an owner is stored in the same way in two contents; then it
// has the same records.
func (c *contents) same(o *contents, key []byte) bool {
	n, in := c.names.Get(key)
	on, oin := o.names.Get(key)
	h, hin := c.hashes.Get(key)
	oh, ohin := o.hashes.Get(key)
	return in == oin && n == on && hin == ohin && h == oh
}

// Serial gives the serial of the SOA record as it is now; ok is false if there
// is not exactly one.
func (t *Txn) Serial() (s Serial, ok bool) {
	set, _ := t.Get(t.base.origin, rrset.TypeSOA)
	if set.Len() != 1 {
		return 0, false
	}
	rdata := set.First()
	return Serial(binary.BigEndian.Uint32([]byte(rdata[len(rdata)-20:]))), true
}

// SetSerial gives the SOA record another serial. The error is ErrNoSOA or
// ErrManySOA if there is not exactly one.
func (t *Txn) SetSerial(s Serial) error {
	set, _ := t.Get(t.base.origin, rrset.TypeSOA)
	switch {
	case set.IsEmpty():
		return ErrNoSOA
	case set.Len() > 1:
		return ErrManySOA
	}
	rdata := []byte(set.First())
	binary.BigEndian.PutUint32(rdata[len(rdata)-20:], uint32(s))
	next, _, err := rrset.RRset{Type: rrset.TypeSOA}.With(string(rdata))
	if err != nil {
		return err
	}
	_, err = t.Replace(t.base.origin, next.WithTTL(set.TTL))
	return err
}

// Commit gives the version that the transaction made and its net difference to
// the one it began from. The serial is that of the SOA record as it is now. An
// error wraps ErrNoSOA, ErrManySOA or ErrIterations: what was made is no zone. The Txn must not be used afterwards.
func (t *Txn) Commit() (*Snapshot, Changeset, error) {
	next, err := newSnapshot(t.base.origin, t.contents)
	if err != nil {
		return nil, Changeset{}, err
	}
	slices.Sort(t.touched)
	return next, difference(t.base, next, slices.Compact(t.touched)), nil
}
