package bolt

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// bad gives an error about what a zone has in the file.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", journal.ErrCorrupt, fmt.Sprintf(format, args...))
}

// eachOwner goes through the owners of a zone until f gives false, and then
// compares them with what the record says.
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

// restore makes the version that is in the file.
func (r *record) restore(ctx context.Context, tx *bbolt.Tx) (*zone.Snapshot, error) {
	var failed error
	s, err := zone.Restore(r.origin, func(yield func([]byte, []byte) bool) {
		failed = r.eachOwner(ctx, tx, yield)
	})
	switch {
	case failed != nil:
		return nil, failed
	case err != nil:
		return nil, bad("%v", err)
	case s.Serial() != r.serial:
		return nil, bad("its serial is %d, and should be %d", s.Serial(), r.serial)
	}
	return s, nil
}

// eachNote goes through the notes of a zone.
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

// verify looks at all that a zone has.
func (r *record) verify(tx *bbolt.Tx) error {
	if err := r.eachOwner(context.Background(), tx, func([]byte, []byte) bool { return true }); err != nil {
		return err
	}
	if err := r.eachNote(tx, func(string, []byte) {}); err != nil {
		return err
	}
	for at := r.first; at < r.next; {
		list, err := r.changes(tx, at, r.next)
		if err != nil {
			return err
		}
		at += uint64(len(list))
	}
	return nil
}

// find gives the places of the changesets that lead from one serial to another:
// those before the end.
func (r *record) find(tx *bbolt.Tx, from, to zone.Serial) (at, end uint64, err error) {
	if from == to {
		return 0, 0, nil
	}
	c := tx.Bucket(bucketHistory).Cursor()
	k, _ := c.Seek(number(r.id + 1)) // behind the last
	if k == nil {
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	leads := r.serial
	for i := r.next; i > r.first; i-- {
		p, ok := parsePlace(k)
		if !ok || p.zone != r.id || p.at != i-1 || p.to != leads {
			return 0, 0, bad("changeset %d of its history is not there, or another", i-1)
		}
		leads = p.from
		if end == 0 && p.to == to {
			end = i
		}
		if end != 0 && p.from == from {
			return i - 1, end, nil
		}
		k, _ = c.Prev()
	}
	if r.first < r.next { // nothing says yet that the first begins where its key says
		if _, err := r.changes(tx, r.first, r.first+1); err != nil {
			return 0, 0, err
		}
	}
	return 0, 0, journal.ErrTrimmed
}

// changes reads changesets from one place to before another, as many as are read
// at a time, and one at least.
func (r *record) changes(tx *bbolt.Tx, at, end uint64) (list []zone.Changeset, err error) {
	c := tx.Bucket(bucketHistory).Cursor()
	octets := 0
	for k, v := c.Seek(place{zone: r.id, at: at}.key()); at < end && (octets == 0 || octets+len(v) <= batchOctets); k, v = c.Next() {
		p, ok := parsePlace(k)
		if !ok || p.zone != r.id || p.at != at {
			return nil, bad("changeset %d of its history is not there", at)
		}
		change, err := journal.ParseChangeset(v)
		if err != nil {
			return nil, fmt.Errorf("%d of its history: %w", at, err)
		}
		if change.From != p.from || change.To != p.to {
			return nil, bad("changeset %d of its history is another", at)
		}
		list = append(list, change)
		octets += len(v)
		at++
	}
	return list, nil
}
