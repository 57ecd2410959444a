package bolt

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"unsafe"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

const (
	// fill is how full pages become in a new generation, whose keys come in order.
	fill = 0.9
	// perOwner is what an owner takes in a page besides its key and value, in octets.
	perOwner = elementSize
)

// owner is one to write; an empty value removes it.
type owner struct {
	key   []byte
	value string
}

// octetsOf gives the octets of a string, which bbolt reads and never changes.
func octetsOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// errNothing is what a check gives that finds nothing to do.
var errNothing = errors.New("nothing to do")

// Commit is journal.Store's.
func (s *Store) Commit(ctx context.Context, origin dnsname.Name, c journal.Commit) (journal.Revision, error) {
	if err := s.open(ctx); err != nil {
		return 0, err
	}
	st := &commitStep{Commit: c, origin: origin}
	if _, join := c.Kept(); join {
		st.change = journal.AppendChangeset(nil, &c.Change)
	}
	large := false
	if c.Next != nil {
		large = st.collect(s.limits)
	}
	octets := len(st.change) + st.octets
	for _, v := range c.Notes {
		octets += len(v)
	}
	if large {
		return st.revision, s.rebuild(ctx, st)
	}
	err := s.do(&job{ctx: ctx, octets: octets, check: st.check, write: func(b *batch) error { return st.write(b) }})
	return st.revision, err
}

// commitStep is a Commit on its way.
type commitStep struct {
	journal.Commit
	origin dnsname.Name
	change []byte  // the changeset as stored, if it joins the history
	owners []owner // that change; not for a new generation
	octets int     // of the owners
	data   uint64  // the new generation, if there is one
	tally  tally   // of the new generation

	revision journal.Revision // what came of it
	replaced uint64           // the generation that is not used any more
}

// collect finds out which owners a step writes, and tells whether they are too
// many for one transaction. Then it leaves them.
func (st *commitStep) collect(l limits) (large bool) {
	owners := st.Next.Packed()
	if st.Base != 0 {
		if len(st.Change.Removed)+len(st.Change.Added) == 0 {
			return false
		}
		owners = st.Next.PackedOwners(&st.Change)
	}
	var keys []byte
	for k, v := range owners {
		if len(st.owners) == l.owners || st.octets > l.octets {
			st.owners = nil
			return true
		}
		if cap(keys)-len(keys) < len(k) {
			keys = make([]byte, 0, 4096)
		}
		keys = append(keys, k...)
		st.owners = append(st.owners, owner{keys[len(keys)-len(k) : len(keys) : len(keys)], v})
		st.octets += len(k) + len(v) + perOwner
	}
	return false
}

// check tells whether the step can follow what is there.
func (st *commitStep) check(b *batch) error {
	r := b.record(st.origin)
	var serial zone.Serial
	if r == nil && st.Base != 0 || r != nil && r.revision != st.Base {
		return journal.ErrConflict
	}
	if r != nil {
		serial = r.serial
	}
	return st.Check(st.origin, serial)
}

// write writes all of the step but a new generation, which is there already.
func (st *commitStep) write(b *batch) error {
	r := b.record(st.origin)
	if r == nil {
		b.summary.ids++
		r = &record{id: b.summary.ids, revision: b.summary.floor, origin: st.Next.Origin()}
	} else {
		r = new(*r)
	}
	r.revision++
	r.serial = st.Next.Serial()
	if st.data != 0 {
		st.replaced = r.data
		r.data, r.owners = st.data, st.tally
	} else if err := st.writeOwners(b, r); err != nil {
		return err
	}
	if err := st.writeHistory(b, r); err != nil {
		return err
	}
	if err := st.writeNotes(b, r); err != nil {
		return err
	}
	st.revision = r.revision
	return b.put(st.origin, r)
}

func (st *commitStep) writeOwners(b *batch, r *record) error {
	var data *bbolt.Bucket
	if r.data == 0 {
		b.summary.ids++
		r.data = b.summary.ids
		var err error
		if data, err = b.tx.Bucket(bucketData).CreateBucket(number(r.data)); err != nil {
			return err
		}
		data.FillPercent = fill
	} else if len(st.owners) > 0 {
		if data = b.tx.Bucket(bucketData).Bucket(number(r.data)); data == nil {
			return bad("the owners of zone %q are not there", st.origin)
		}
	}
	for _, o := range st.owners {
		if err := b.change(data, o.key, octetsOf(o.value), o.value == "", &r.owners); err != nil {
			return err
		}
	}
	return nil
}

// change puts a pair into a bucket, or removes it, and keeps up the tally.
func (b *batch) change(in *bbolt.Bucket, key, value []byte, remove bool, t *tally) error {
	if old := in.Get(key); old != nil {
		t.remove(b.hash(key, old))
	}
	if remove {
		return in.Delete(key)
	}
	t.add(b.hash(key, value))
	return in.Put(key, value)
}

func (st *commitStep) writeHistory(b *batch, r *record) error {
	history := b.tx.Bucket(bucketHistory)
	drop, join := st.Kept()
	if drop {
		if err := r.trim(history, func() bool { return true }); err != nil {
			return err
		}
	}
	if join {
		p := place{zone: r.id, at: r.next, from: st.Change.From, to: st.Change.To}
		if err := history.Put(p.key(), st.change); err != nil {
			return err
		}
		r.next++
		r.octets += int64(len(st.change))
	}
	depth := uint64(max(0, st.Keep.Depth))
	return r.trim(history, func() bool { return r.next-r.first > depth || r.octets > st.Keep.Octets })
}

// trim removes the oldest changesets as long as there are any and more is true.
func (r *record) trim(history *bbolt.Bucket, more func() bool) error {
	for r.first < r.next && more() {
		k, v := history.Cursor().Seek(place{zone: r.id, at: r.first}.key())
		if p, ok := parsePlace(k); !ok || p.zone != r.id || p.at != r.first {
			return bad("changeset %d of the history of zone %q is not there", r.first, r.origin)
		}
		r.octets -= int64(len(v))
		r.first++
		if err := history.Delete(slices.Clone(k)); err != nil {
			return err
		}
	}
	return nil
}

func (st *commitStep) writeNotes(b *batch, r *record) error {
	notes := b.tx.Bucket(bucketNotes)
	for name, value := range st.Notes {
		if err := b.change(notes, append(number(r.id), name...), value, value == nil, &r.notes); err != nil {
			return err
		}
	}
	return nil
}

// rebuild makes a step that is written as a new generation. Until its last
// transaction nothing of it counts, and others write between.
func (s *Store) rebuild(ctx context.Context, st *commitStep) error {
	err := s.generation(ctx, st)
	s.mu.Lock()
	delete(s.building, st.data)
	s.mu.Unlock()
	return err
}

func (s *Store) generation(ctx context.Context, st *commitStep) error {
	var part []owner
	flush := func() error {
		octets := 0
		for _, o := range part {
			octets += len(o.key) + len(o.value) + perOwner
		}
		return s.do(&job{
			ctx: ctx, octets: octets,
			check: st.check,
			write: func(b *batch) error {
				data := b.tx.Bucket(bucketData).Bucket(number(st.data))
				if data == nil {
					return bad("a generation that is being written is not there")
				}
				data.FillPercent = fill
				for _, o := range part {
					if err := data.Put(o.key, octetsOf(o.value)); err != nil {
						return err
					}
				}
				return nil
			},
		})
	}
	err := s.do(&job{ctx: ctx, check: st.check, write: func(b *batch) error {
		if err := b.sweep(); err != nil {
			return err
		}
		b.summary.ids++
		st.data = b.summary.ids
		if _, err := b.tx.Bucket(bucketData).CreateBucket(number(st.data)); err != nil {
			return err
		}
		s.mu.Lock()
		s.building[st.data] = true
		s.mu.Unlock()
		return b.tx.Bucket(bucketLoose).Put(number(st.data), []byte(st.origin))
	}})
	if err != nil {
		return err
	}
	var buf []byte
	octets := 0
	for k, v := range st.Next.Packed() {
		var h uint64
		h, buf = hashPair(buf, k, v)
		st.tally.add(h)
		part = append(part, owner{bytes.Clone(k), v})
		if octets += len(k) + len(v) + perOwner; octets >= s.limits.part {
			if err := flush(); err != nil {
				return err
			}
			part, octets = part[:0], 0
		}
	}
	if err := flush(); err != nil {
		return err
	}
	return s.do(&job{ctx: ctx, octets: len(st.change), check: st.check, write: func(b *batch) error {
		loose := b.tx.Bucket(bucketLoose)
		if err := st.write(b); err != nil {
			return err
		}
		if err := loose.Delete(number(st.data)); err != nil || st.replaced == 0 {
			return err
		}
		return loose.Put(number(st.replaced), []byte(st.origin))
	}})
}

// Delete is journal.Store's.
func (s *Store) Delete(ctx context.Context, origin dnsname.Name) error {
	err := s.do(&job{
		ctx: ctx,
		check: func(b *batch) error {
			if b.record(origin) == nil {
				return errNothing
			}
			return nil
		},
		write: func(b *batch) error {
			r := new(*b.record(origin))
			b.summary.floor = max(b.summary.floor, r.revision)
			if err := r.trim(b.tx.Bucket(bucketHistory), func() bool { return true }); err != nil {
				return err
			}
			if err := removePrefix(b.tx.Bucket(bucketNotes), number(r.id)); err != nil {
				return err
			}
			if r.owners.count > uint64(s.limits.owners) {
				if err := b.tx.Bucket(bucketLoose).Put(number(r.data), []byte(origin)); err != nil {
					return err
				}
			} else if err := b.tx.Bucket(bucketData).DeleteBucket(number(r.data)); err != nil {
				return err
			}
			return b.put(origin, nil)
		},
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}

func removePrefix(b *bbolt.Bucket, prefix []byte) error {
	for {
		k, _ := b.Cursor().Seek(prefix)
		if !bytes.HasPrefix(k, prefix) {
			return nil
		}
		if err := b.Delete(bytes.Clone(k)); err != nil {
			return err
		}
	}
}

// sweep frees the generations that no zone uses and nobody is writing: those that
// were replaced, or never finished. This is done when a new one is begun, which
// then takes their pages. Until then they stay: a list of all their pages would
// have to be written with each commit.
func (b *batch) sweep() error {
	used := make(map[string]bool)
	b.s.mu.Lock()
	for id := range b.s.building {
		used[string(number(id))] = true
	}
	b.s.mu.Unlock()
	var gone [][]byte
	loose := b.tx.Bucket(bucketLoose)
	c := loose.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if !used[string(k)] {
			gone = append(gone, bytes.Clone(k))
		}
	}
	// Nothing says that what is in the bucket is right, but zones say what they use.
	for origin := range b.s.zones {
		if r := b.record(origin); r != nil {
			used[string(number(r.data))] = true
		}
	}
	for origin := range b.zones {
		if r := b.record(origin); r != nil {
			used[string(number(r.data))] = true
		}
	}
	for _, k := range gone {
		if !used[string(k)] {
			if err := b.tx.Bucket(bucketData).DeleteBucket(k); err != nil && !errors.Is(err, bolterrors.ErrBucketNotFound) {
				return err
			}
		}
		if err := loose.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
