package bolt

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// bad gives an error about what a zone has in the file.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", journal.ErrCorrupt, fmt.Sprintf(format, args...))
}

// view is a zone as of its last step. If that is ahead of the file, the record is
// what it will be there, and file what it is.
type view struct {
	line
	file  record
	steps []*delta // that are ahead
}

// newView lays the steps that may be ahead over what a transaction reads.
func newView(tx *bbolt.Tx, r record, ahead []*delta) (*view, error) {
	v := &view{line: line{record: &r, stored: r.next}, file: r}
	if len(ahead) == 0 {
		return v, nil
	}
	said, err := parseSummary(tx.Bucket(bucketStore).Get(keySummary))
	if err != nil {
		return nil, bad("%v", err)
	}
	for len(ahead) > 0 && ahead[0].seq <= said.seq {
		ahead = ahead[1:]
	}
	if len(ahead) > 0 && ahead[0].base != r.revision {
		return nil, bad("its log goes on from revision %d, and the file has %d", ahead[0].base, r.revision)
	}
	v.steps = ahead
	c := tx.Bucket(bucketHistory).Cursor()
	for _, d := range ahead {
		r.revision++
		r.serial = d.serial
		if err := v.follow(d, func(at uint64) (int, error) {
			_, value, err := v.file.stored(c, at)
			return len(value), err
		}); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// stored gives a changeset that is in the file.
func (r *record) stored(c *bbolt.Cursor, at uint64) (key, value []byte, err error) {
	k, v := c.Seek(place{zone: r.id, at: at}.key())
	if p, ok := parsePlace(k); !ok || p.zone != r.id || p.at != at {
		return nil, nil, bad("changeset %d of the history of zone %q is not there", at, r.origin)
	}
	return k, v, nil
}

// eachPlace looks that all changesets that the file should have are there.
func (r *record) eachPlace(tx *bbolt.Tx) error {
	c := tx.Bucket(bucketHistory).Cursor()
	k, _ := c.Seek(place{zone: r.id, at: r.first}.key())
	for at := r.first; at < r.next; at++ {
		if p, ok := parsePlace(k); !ok || p.zone != r.id || p.at != at {
			return bad("changeset %d of its history is not there", at)
		}
		k, _ = c.Next()
	}
	return nil
}

// eachOwner goes through the owners of a zone that are in the file until f gives
// false, and then compares them with what the record says.
func (r *record) eachOwner(ctx context.Context, tx *bbolt.Tx, f func(key, value []byte) bool) error {
	b := tx.Bucket(bucketData).Bucket(number(r.data))
	if b == nil {
		return bad("its owners are not there")
	}
	var found tally
	var h uint64
	var buf []byte
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if found.count%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		h, buf = hashPair(buf, k, v)
		found.add(h)
		if !f(k, v) {
			return nil
		}
	}
	if found != r.owners {
		return bad("it has %d owners, and should have %d, or they are not the same", found.count, r.owners.count)
	}
	return nil
}

// owners goes through the owners of a zone until f gives false.
func (v *view) owners(ctx context.Context, tx *bbolt.Tx, f func(key, value []byte) bool) error {
	if len(v.steps) == 0 {
		return v.file.eachOwner(ctx, tx, f)
	}
	over := slices.Clone(lastOwners(v.steps))
	slices.SortFunc(over, func(a, b owner) int { return bytes.Compare(a.key, b.key) })
	// before gives those that come before a key, and the one that has it.
	before := func(key []byte, last bool) (same, more bool) {
		for len(over) > 0 && !same && (last || bytes.Compare(over[0].key, key) <= 0) {
			o := over[0]
			over = over[1:]
			same = !last && bytes.Equal(o.key, key)
			if o.value != "" && !f(o.key, octetsOf(o.value)) {
				return same, false
			}
		}
		return same, true
	}
	more := true
	err := v.file.eachOwner(ctx, tx, func(key, value []byte) bool {
		var same bool
		if same, more = before(key, false); more && !same {
			more = f(key, value)
		}
		return more
	})
	if err == nil && more {
		before(nil, true)
	}
	return err
}

// restore makes the version that is there.
func (v *view) restore(ctx context.Context, tx *bbolt.Tx) (*zone.Snapshot, error) {
	var failed error
	s, err := zone.Restore(v.origin, func(yield func([]byte, []byte) bool) {
		failed = v.owners(ctx, tx, yield)
	})
	switch {
	case failed != nil:
		return nil, failed
	case err != nil:
		return nil, bad("%v", err)
	case s.Serial() != v.serial:
		return nil, bad("its serial is %d, and should be %d", s.Serial(), v.serial)
	}
	return s, nil
}

// eachNote goes through the notes of a zone that are in the file.
func (r *record) eachNote(tx *bbolt.Tx, f func(name string, value []byte)) error {
	var found tally
	var h uint64
	var buf []byte
	prefix := number(r.id)
	c := tx.Bucket(bucketNotes).Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		h, buf = hashPair(buf, k, v)
		found.add(h)
		f(string(k[len(prefix):]), v)
	}
	if found != r.notes {
		return bad("it has %d notes, and should have %d, or they are not the same", found.count, r.notes.count)
	}
	return nil
}

// readNotes gives the notes of a zone.
func (v *view) readNotes(tx *bbolt.Tx) (journal.Notes, error) {
	notes := make(journal.Notes)
	err := v.file.eachNote(tx, func(name string, value []byte) { notes[name] = bytes.Clone(value) })
	for _, d := range v.steps {
		for _, n := range d.notes {
			if n.remove {
				delete(notes, n.name)
			} else {
				notes[n.name] = []byte(n.value)
			}
		}
	}
	return notes, err
}

// verify looks at all that a zone has.
func (r *record) verify(tx *bbolt.Tx) error {
	if err := r.eachOwner(context.Background(), tx, func([]byte, []byte) bool { return true }); err != nil {
		return err
	}
	if err := r.eachNote(tx, func(string, []byte) {}); err != nil {
		return err
	}
	v := &view{line: line{record: r, stored: r.next}, file: *r}
	for at := r.first; at < r.next; {
		list, err := v.changes(tx, at, r.next)
		if err != nil {
			return err
		}
		at += uint64(len(list))
	}
	return nil
}

// find gives the places of the changesets that lead from one serial to another:
// those before the end.
func (v *view) find(tx *bbolt.Tx, from, to zone.Serial) (at, end uint64, err error) {
	if from == to {
		return 0, 0, nil
	}
	c := tx.Bucket(bucketHistory).Cursor()
	k, _ := c.Seek(number(v.id + 1)) // behind the last
	if k == nil {
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	leads := v.serial
	for i := v.next; i > v.first; i-- {
		var p place
		if i > v.stored {
			d := v.tail[i-1-v.stored]
			p = place{zone: v.id, at: i - 1, from: d.from, to: d.to}
		} else {
			p, _ = parsePlace(k) // of no zone if it is none
			k, _ = c.Prev()
		}
		if p.zone != v.id || p.at != i-1 || p.to != leads {
			return 0, 0, bad("changeset %d of its history is not there, or another", i-1)
		}
		leads = p.from
		if end == 0 && p.to == to {
			end = i
		}
		if end != 0 && p.from == from {
			return i - 1, end, nil
		}
	}
	if v.first < v.next { // nothing says yet that the first begins where its key says
		if _, err := v.changes(tx, v.first, v.first+1); err != nil {
			return 0, 0, err
		}
	}
	return 0, 0, journal.ErrTrimmed
}

// changes reads changesets from one place to before another, as many as are read
// at a time, and one at least.
func (v *view) changes(tx *bbolt.Tx, at, end uint64) (list []zone.Changeset, err error) {
	c := tx.Bucket(bucketHistory).Cursor()
	octets := 0
	for at < end {
		var p place
		var value []byte
		if at >= v.stored {
			d := v.tail[at-v.stored]
			p, value = place{zone: v.id, at: at, from: d.from, to: d.to}, d.change
		} else {
			var k []byte
			if octets == 0 {
				k, value, err = v.file.stored(c, at)
			} else {
				k, value = c.Next()
			}
			p, _ = parsePlace(k)
		}
		if err != nil {
			return nil, err
		}
		if octets > 0 && octets+len(value) > batchOctets {
			break
		}
		if p.zone != v.id || p.at != at {
			return nil, bad("changeset %d of its history is not there", at)
		}
		change, err := journal.ParseChangeset(value)
		if err != nil {
			return nil, fmt.Errorf("%d of its history: %w", at, err)
		}
		if change.From != p.from || change.To != p.to {
			return nil, bad("changeset %d of its history is another", at)
		}
		list = append(list, change)
		octets += len(value)
		at++
	}
	return list, nil
}
