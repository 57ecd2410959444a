package zone

import (
	"iter"
	"slices"
	"strings"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/trie"
)

// View is a state of a zone to read: a Snapshot, or a Txn as it was when the View
// was taken. It is what a signer needs: who hides whom, and who comes next in
// canonical order. A View never changes; its methods may be called concurrently,
// and with names in any letter case that are at or below the origin.
type View struct {
	contents
	origin dnsname.Name
}

// View gives this version to read.
func (s *Snapshot) View() View { return View{s.contents, s.origin} }

// View gives the present state to read. It costs nothing.
func (t *Txn) View() View { return View{t.contents, t.base.origin} }

// At gives the state at p, which is of this Txn, to read.
func (t *Txn) At(p Savepoint) View { return View{p.contents, t.base.origin} }

// Origin gives the apex of the zone.
func (v View) Origin() dnsname.Name { return v.origin }

// key appends the key of name to dst.
func (v View) key(dst []byte, name dnsname.Name) []byte {
	dst, _ = dnsname.AppendKey(dst, name, len(v.origin), nil)
	return dst
}

// Get is Txn.Get.
func (v View) Get(owner dnsname.Name, typ uint16) (set Set, ok bool) {
	if !owner.IsBelow(v.origin) {
		return Set{}, false
	}
	var buf [dnsname.MaxKey]byte
	m := v.names
	if typ == rrset.TypeNSEC3 {
		m = v.hashes
	}
	n, ok := m.Get(v.key(buf[:0], owner))
	if !ok {
		return Set{}, false
	}
	if set, ok = (node{val: n}).set(typ); !ok {
		return Set{}, false
	}
	set.Owner = owner
	return set, true
}

// Sets gives the RRsets of an owner, NSEC3 among them, in the order of their types
// and in a slice of the caller's. A set whose RRset is empty has RRSIGs that cover
// nothing.
func (v View) Sets(owner dnsname.Name) []Set {
	var buf [dnsname.MaxKey]byte
	sets := v.sets(v.key(buf[:0], owner))
	for i := range sets {
		sets[i].Owner = owner
	}
	return sets
}

// Owners goes through the owners in canonical order, in lower case. Those that have
// nothing but NSEC3 are no names of the zone.
func (v View) Owners() iter.Seq[dnsname.Name] { return v.fold(v.names.All()) }

func (v View) fold(entries iter.Seq[trie.Entry]) iter.Seq[dnsname.Name] {
	return func(yield func(dnsname.Name) bool) {
		for e := range entries {
			if !yield(v.name(e)) {
				return
			}
		}
	}
}

// name gives the owner of an entry in lower case.
func (v View) name(e trie.Entry) dnsname.Name { return dnsname.FromKey(e.Key, v.origin).Fold() }

// Below goes through the owners below name, hidden ones as well, in canonical order
// and lower case.
func (v View) Below(name dnsname.Name) iter.Seq[dnsname.Name] {
	return v.fold(func(yield func(trie.Entry) bool) {
		var buf [dnsname.MaxKey]byte
		key := string(v.key(buf[:0], name))
		for e, ok := v.names.Above([]byte(key), false); ok && strings.HasPrefix(e.Key, key); e, ok = v.names.Above([]byte(e.Key), false) {
			if !yield(e) {
				return
			}
		}
	})
}

// HasBelow tells whether there is an owner below name. If so, and name has no
// records, it is an empty non-terminal (RFC 4592 §2.2.2).
func (v View) HasBelow(name dnsname.Name) bool {
	for range v.Below(name) {
		return true
	}
	return false
}

// Hides tells whether name is a zone cut or has a DNAME: what is below it is not
// authoritative data (RFC 4035 §2.2, RFC 6672 §2.4).
func (v View) Hides(name dnsname.Name) bool {
	var buf [dnsname.MaxKey]byte
	key := v.key(buf[:0], name)
	val, _ := v.names.Get(key)
	return node{string(key), val}.hides()
}

func (n node) hides() bool { return n.cut() || n.flags()&hasDNAME != 0 }

// IsCut tells whether name is a zone cut: it has NS records and is not the apex.
func (v View) IsCut(name dnsname.Name) bool {
	var buf [dnsname.MaxKey]byte
	key := v.key(buf[:0], name)
	val, _ := v.names.Get(key)
	return node{string(key), val}.cut()
}

// Hidden tells whether name is below a name that hides it.
func (v View) Hidden(name dnsname.Name) bool {
	var buf [dnsname.MaxKey]byte
	_, hidden := v.hider(v.key(buf[:0], name))
	return hidden
}

// hider gives the topmost name that hides the name of key.
func (v View) hider(key []byte) (trie.Entry, bool) {
	var path trie.Path
	v.names.Find(key, &path)
	for i := range path.Len() {
		if e := path.At(i); len(e.Key) < len(key) && (node{e.Key, e.Value}).hides() {
			return e, true
		}
	}
	return trie.Entry{}, false
}

// Next gives the owner that comes after name in canonical order, in lower case,
// passing over those that are hidden; ok is false after the last. name itself must
// not be hidden; it need not be an owner.
func (v View) Next(name dnsname.Name) (next dnsname.Name, ok bool) {
	var buf [dnsname.MaxKey]byte
	key := v.key(buf[:0], name)
	val, _ := v.names.Get(key)
	past := false
	if (node{string(key), val}).hides() {
		if len(key) == 0 {
			return "", false
		}
		key[len(key)-1]++ // the end of a label: now before what comes after all below name
		past = true
	}
	e, ok := v.names.Above(key, past)
	if !ok {
		return "", false
	}
	return v.name(e), true
}

// Prev gives the last owner before name in canonical order that is not hidden, in
// lower case; ok is false for the apex.
func (v View) Prev(name dnsname.Name) (prev dnsname.Name, ok bool) {
	var buf [dnsname.MaxKey]byte
	e, ok := v.names.Below(v.key(buf[:0], name), false)
	if !ok {
		return "", false
	}
	if h, hidden := v.hider([]byte(e.Key)); hidden {
		e = h
	}
	return v.name(e), true
}

// NSEC3s goes through the NSEC3 RRsets in the order of the hashes. One that is empty
// has RRSIGs that cover nothing.
func (v View) NSEC3s() iter.Seq[Set] {
	return func(yield func(Set) bool) {
		for e := range v.hashes.All() {
			if set, _ := v.nsec3(e); !yield(set) {
				return
			}
		}
	}
}

// nsec3 gives the NSEC3 RRset of an entry of hashes; ok is false if it is empty.
func (v View) nsec3(e trie.Entry) (set Set, ok bool) {
	set, ok = node{val: e.Value}.set(rrset.TypeNSEC3)
	set.Owner, set.Type = v.name(e), rrset.TypeNSEC3
	return set, ok
}

// NSEC3After gives the NSEC3 RRset whose owner is the next after a hashed owner, or
// the first, as the chain is a ring (RFC 5155 §7.1); ok is false if there is none.
func (v View) NSEC3After(hashed dnsname.Name) (set Set, ok bool) {
	var buf [dnsname.MaxKey]byte
	key := v.key(buf[:0], hashed)
	for range 2 { // from there, and from the start
		for e, there := v.hashes.Above(key, false); there; e, there = v.hashes.Above([]byte(e.Key), false) {
			if set, ok = v.nsec3(e); ok {
				return set, true
			}
		}
		key = nil // the apex has no hashed owner
	}
	return Set{}, false
}

// NSEC3Before gives the NSEC3 RRset whose owner is the last before a hashed owner,
// or the very last; ok is false if there is none.
func (v View) NSEC3Before(hashed dnsname.Name) (set Set, ok bool) {
	var buf [dnsname.MaxKey]byte
	e, there := v.hashes.Below(v.key(buf[:0], hashed), false)
	for range 2 {
		for ; there; e, there = v.hashes.Below([]byte(e.Key), false) {
			if set, ok = v.nsec3(e); ok {
				return set, true
			}
		}
		e, there = v.hashes.Last()
	}
	return Set{}, false
}

// ReplaceName puts RRsets with their RRSIGs in the place of all that an owner has,
// and tells whether that made a difference in what is stored. Sets of one type must
// not come twice; their Owner is not looked at, and the slice is the caller's. Errors
// are those of Replace.
func (t *Txn) ReplaceName(owner dnsname.Name, sets []Set) (changed bool, err error) {
	key, labels, ok := t.key(owner)
	if !ok {
		return false, ErrOutOfZone
	}
	for _, s := range sets {
		for r := range s.All() {
			if err := checkRecord(labels, s.Type, r); err != nil {
				return false, err
			}
		}
		for r := range s.Sigs.All() {
			if err := checkRecord(labels, rrset.TypeRRSIG, r); err != nil {
				return false, err
			}
			if rrset.Covered(r) != s.Type {
				return false, ErrCovers
			}
		}
	}
	sets = slices.SortedFunc(slices.Values(sets), func(a, b Set) int { return int(a.Type) - int(b.Type) })
	before := t.contents
	t.store(owner, key, sets)
	if before.same(&t.contents, key) {
		t.contents = before
		t.touched = t.touched[:len(t.touched)-1]
		return false, nil
	}
	return true, nil
}
