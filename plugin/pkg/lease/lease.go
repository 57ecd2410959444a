// Package lease holds until when records of a zone may stay (RFC 9664). A Table
// is of one zone; it knows the records that have a lease, and no others. What it
// holds is written as notes, one for each owner, beside the zone in its store, so
// that a commit costs what it changes.
//
// Times are seconds since 1970. A lease ends at its time, and not before.
package lease

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// Lease is that of one record.
type Lease struct {
	Type  uint16
	RDATA string // in canonical form (RFC 4034 §6.2)
	Until int64
}

// Table is the leases of a zone. Its zero value has none and is ready for use. It
// is for one goroutine at a time.
type Table struct {
	owners map[dnsname.Name][]Lease // by owner in lower case; the slices are never changed
	count  int
	ends   ends
}

// Len gives the number of leases.
func (t *Table) Len() int { return t.count }

// Next gives the time at which the next lease ends; ok is false if there is none.
func (t *Table) Next() (until int64, ok bool) {
	t.settle()
	if len(t.ends) == 0 {
		return 0, false
	}
	return t.ends[0].until, true
}

// Due gives up to limit owners, in lower case, of leases that have ended by now.
func (t *Table) Due(now int64, limit int) []dnsname.Name {
	var due []dnsname.Name
	for len(due) < limit {
		t.settle()
		if len(t.ends) == 0 || t.ends[0].until > now {
			break
		}
		due = append(due, heap.Pop(&t.ends).(end).owner)
	}
	for _, owner := range due { // until a transaction ends them
		heap.Push(&t.ends, end{t.first(owner), owner})
	}
	return due
}

// settle takes ends off the heap that are no longer those of their owners.
func (t *Table) settle() {
	for len(t.ends) > 0 && t.first(t.ends[0].owner) != t.ends[0].until {
		heap.Pop(&t.ends)
	}
}

// first gives the time of an owner's lease that ends first; -1 if it has none.
func (t *Table) first(owner dnsname.Name) int64 {
	leases := t.owners[owner]
	if len(leases) == 0 {
		return -1
	}
	return slices.MinFunc(leases, func(a, b Lease) int { return cmp.Compare(a.Until, b.Until) }).Until
}

// put gives an owner other leases.
func (t *Table) put(owner dnsname.Name, leases []Lease) {
	t.count += len(leases) - len(t.owners[owner])
	if len(leases) == 0 {
		delete(t.owners, owner)
		return
	}
	if t.owners == nil {
		t.owners = make(map[dnsname.Name][]Lease)
	}
	t.owners[owner] = leases
	heap.Push(&t.ends, end{t.first(owner), owner})
	if len(t.ends) > 2*len(t.owners)+64 { // most are of leases that were renewed
		t.ends = t.ends[:0]
		for owner := range t.owners {
			t.ends = append(t.ends, end{t.first(owner), owner})
		}
		heap.Init(&t.ends)
	}
}

// end is when the first lease of an owner ended when it was entered.
type end struct {
	until int64
	owner dnsname.Name
}

// ends is a heap, the earliest first.
type ends []end

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].until < e[j].until }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(end)) }
func (e *ends) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = end{}
	*e = (*e)[:last]
	return x
}

// Txn changes a table. The table shows nothing of it before Commit; dropping the
// Txn undoes it.
type Txn struct {
	table  *Table
	owners map[dnsname.Name][]Lease // those that differ
	undo   []change
}

// change is what an owner had in a Txn before.
type change struct {
	owner dnsname.Name
	had   []Lease
	in    bool // the Txn had the owner
}

// Begin starts a transaction. There may be one at a time.
func (t *Table) Begin() *Txn { return &Txn{table: t} }

// IsEmpty tells whether there are no leases, nor have been since Begin.
func (x *Txn) IsEmpty() bool { return x.table.count == 0 && len(x.owners) == 0 }

// Of gives the leases of an owner, given in lower case. They must not be changed.
func (x *Txn) Of(owner dnsname.Name) []Lease {
	if leases, ok := x.owners[owner]; ok {
		return leases
	}
	return x.table.owners[owner]
}

func (x *Txn) put(owner dnsname.Name, leases []Lease) {
	had, in := x.owners[owner]
	x.undo = append(x.undo, change{owner, had, in})
	if x.owners == nil {
		x.owners = make(map[dnsname.Name][]Lease)
	}
	x.owners[owner] = leases
}

// Set gives a record a lease in place of the one it has.
func (x *Txn) Set(owner dnsname.Name, typ uint16, rdata string, until int64) {
	owner = owner.Fold()
	l := Lease{typ, canonical(typ, rdata), until}
	old := x.Of(owner)
	at := find(old, typ, l.RDATA)
	if at >= 0 && old[at].Until == until {
		return
	}
	leases := slices.Clone(old)
	if at < 0 {
		leases = append(leases, l)
	} else {
		leases[at] = l
	}
	x.put(owner, leases)
}

// Clear takes the lease of a record away, and tells whether it had one.
func (x *Txn) Clear(owner dnsname.Name, typ uint16, rdata string) bool {
	owner = owner.Fold()
	leases := x.Of(owner)
	if len(leases) == 0 {
		return false
	}
	at := find(leases, typ, canonical(typ, rdata))
	if at < 0 {
		return false
	}
	x.put(owner, slices.Concat(leases[:at], leases[at+1:]))
	return true
}

// Keep ends the leases of an owner that are not to be kept.
func (x *Txn) Keep(owner dnsname.Name, keep func(Lease) bool) {
	owner = owner.Fold()
	leases := x.Of(owner)
	var kept []Lease
	for _, l := range leases {
		if keep(l) {
			kept = append(kept, l)
		}
	}
	if len(kept) < len(leases) {
		x.put(owner, kept)
	}
}

// KeepNone ends all leases.
func (x *Txn) KeepNone() {
	for _, owners := range []map[dnsname.Name][]Lease{x.table.owners, x.owners} {
		for _, owner := range slices.Collect(maps.Keys(owners)) {
			x.put(owner, nil)
		}
	}
}

// Savepoint is a state of a Txn to come back to.
type Savepoint int

// Savepoint marks the present state.
func (x *Txn) Savepoint() Savepoint { return Savepoint(len(x.undo)) }

// Rollback undoes what was done since p was taken from this Txn.
func (x *Txn) Rollback(p Savepoint) {
	for i := len(x.undo) - 1; i >= int(p); i-- {
		if u := x.undo[i]; u.in {
			x.owners[u.owner] = u.had
		} else {
			delete(x.owners, u.owner)
		}
	}
	x.undo = x.undo[:p]
}

// Notes gives the notes that Commit makes differ, by name; nil for one that goes.
// It is nil if there are none.
func (x *Txn) Notes() map[string][]byte {
	var notes map[string][]byte
	for owner, leases := range x.owners {
		if slices.Equal(leases, x.table.owners[owner]) {
			continue
		}
		if notes == nil {
			notes = make(map[string][]byte)
		}
		notes[prefix+string(owner)] = appendNote(nil, leases)
	}
	return notes
}

// Commit puts the changes into the table. The Txn must not be used afterwards.
func (x *Txn) Commit() {
	for owner, leases := range x.owners {
		x.table.put(owner, leases)
	}
}

func canonical(typ uint16, rdata string) string {
	return string(rrset.AppendCanonical(nil, typ, rdata))
}

func find(leases []Lease, typ uint16, canonical string) int {
	return slices.IndexFunc(leases, func(l Lease) bool { return l.Type == typ && l.RDATA == canonical })
}

// prefix begins the names of notes; the owner in wire form follows.
const prefix = "lease/"

// noteForm is the first octet of a note. Leases follow, each as
//
//	type (2) | until (8) | length of the RDATA (2) | RDATA
const noteForm = 1

func appendNote(dst []byte, leases []Lease) []byte {
	if len(leases) == 0 {
		return nil
	}
	dst = append(dst, noteForm)
	for _, l := range leases {
		dst = binary.BigEndian.AppendUint16(dst, l.Type)
		dst = binary.BigEndian.AppendUint64(dst, uint64(l.Until))
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(l.RDATA)))
		dst = append(dst, l.RDATA...)
	}
	return dst
}

// ErrNote is what Parse gives for notes that it cannot read.
var ErrNote = errors.New("note of a lease is malformed")

// Parse gives the table that notes are of; those with other names are left alone.
// An error wraps ErrNote and names the owner.
func Parse(notes map[string][]byte) (*Table, error) {
	t := new(Table)
	for name, note := range notes {
		wire, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		owner := dnsname.Name(wire)
		if dnsname.Len(wire) != len(wire) || wire == "" || owner.HasUpper() {
			return nil, fmt.Errorf("%w: %q is no name", ErrNote, wire)
		}
		leases, ok := parseNote(note)
		if !ok {
			return nil, fmt.Errorf("%w: that of %s", ErrNote, owner)
		}
		t.put(owner, leases)
	}
	return t, nil
}

func parseNote(b []byte) (leases []Lease, ok bool) {
	const fixed = 12
	if len(b) == 0 || b[0] != noteForm {
		return nil, false
	}
	for b = b[1:]; len(b) > 0; {
		if len(b) < fixed {
			return nil, false
		}
		l := Lease{Type: binary.BigEndian.Uint16(b), Until: int64(binary.BigEndian.Uint64(b[2:]))}
		n := int(binary.BigEndian.Uint16(b[10:]))
		if len(b) < fixed+n || l.Until < 0 {
			return nil, false
		}
		l.RDATA = string(b[fixed : fixed+n])
		leases = append(leases, l)
		b = b[fixed+n:]
	}
	return leases, len(leases) > 0
}
