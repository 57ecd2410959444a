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
	st := newStep(origin, c)
	large := c.Next != nil && st.collect(s.limits)
	octets := len(st.change) + st.octets
	for _, n := range st.notes {
		octets += len(n.value)
	}
	if large {
		return st.revision, s.rebuild(ctx, st)
	}
	j := &job{ctx: ctx, octets: octets, check: st.check, write: st.write}
	if c.Base != 0 && int64(octets) < s.limits.half {
		j.step = st
	}
	err := s.do(j)
	return st.revision, err
}

// commitStep is a Commit on its way.
type commitStep struct {
	journal.Commit
	delta         // no owners if there is a new generation
	octets int    // of the owners
	data   uint64 // the new generation, if there is one
	tally  tally  // of the new generation

	revision journal.Revision // what came of it
	replaced uint64           // the generation that is not used any more
}

// newStep makes a step without its owners.
func newStep(origin dnsname.Name, c journal.Commit) *commitStep {
	st := &commitStep{Commit: c}
	st.delta = delta{origin: origin, base: c.Base, from: c.Change.From, to: c.Change.To, keep: c.Keep}
	if c.Next != nil {
		st.serial = c.Next.Serial()
	}
	if st.drop, st.join = c.Kept(); st.join {
		st.change = journal.AppendChangeset(nil, &c.Change)
	}
	for name, value := range c.Notes {
		st.notes = append(st.notes, note{name, string(value), value == nil})
	}
	return st
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
	var h head
	if r := b.record(st.origin); r != nil {
		h = head{r.revision, r.serial}
	}
	return st.follows(h)
}

// follows tells whether the step can follow a version.
func (st *commitStep) follows(h head) error {
	if h.revision != st.Base {
		return journal.ErrConflict
	}
	return st.Check(st.origin, h.serial)
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
	if st.data != 0 {
		st.replaced = r.data
		r.data, r.owners = st.data, st.tally
	} else if r.data == 0 {
		b.summary.ids++
		r.data = b.summary.ids
		data, err := b.tx.Bucket(bucketData).CreateBucket(number(r.data))
		if err != nil {
			return err
		}
		data.FillPercent = fill
	}
	if err := b.follow(r, []*delta{&st.delta}); err != nil {
		return err
	}
	st.revision = r.revision
	return b.put(st.origin, r)
}

// follow writes steps of a zone that follow each other, and makes its record that
// of the last. What several write is written once.
func (b *batch) follow(r *record, steps []*delta) error {
	last := steps[len(steps)-1]
	r.revision += journal.Revision(len(steps))
	r.serial = last.serial
	if owners := lastOwners(steps); len(owners) > 0 {
		data := b.tx.Bucket(bucketData).Bucket(number(r.data))
		if data == nil {
			return bad("the owners of zone %q are not there", r.origin)
		}
		for _, o := range owners {
			if err := b.change(data, o.key, octetsOf(o.value), o.value == "", &r.owners); err != nil {
				return err
			}
		}
	}
	history := b.tx.Bucket(bucketHistory)
	l := line{record: r, stored: r.next}
	for _, d := range steps {
		if err := l.follow(d, func(at uint64) (int, error) { return r.remove(history, at) }); err != nil {
			return err
		}
	}
	for at := max(r.first, l.stored); at < r.next; at++ {
		d := l.tail[at-l.stored]
		if err := history.Put(place{zone: r.id, at: at, from: d.from, to: d.to}.key(), d.change); err != nil {
			return err
		}
	}
	notes := b.tx.Bucket(bucketNotes)
	for _, n := range lastNotes(steps) {
		if err := b.change(notes, append(number(r.id), n.name...), octetsOf(n.value), n.remove, &r.notes); err != nil {
			return err
		}
	}
	return nil
}

// lastOwners gives the owners that steps write, each as the last of them does, in
// the order of their keys if there is more than one step.
func lastOwners(steps []*delta) []owner {
	if len(steps) == 1 {
		return steps[0].owners
	}
	var all []owner
	for _, d := range steps {
		all = append(all, d.owners...)
	}
	slices.SortStableFunc(all, func(a, b owner) int { return bytes.Compare(a.key, b.key) })
	n := 0
	for i := range all {
		if i+1 == len(all) || !bytes.Equal(all[i].key, all[i+1].key) {
			all[n] = all[i]
			n++
		}
	}
	return all[:n]
}

// lastNotes gives the notes that steps write, each as the last of them does.
func lastNotes(steps []*delta) []note {
	if len(steps) == 1 {
		return steps[0].notes
	}
	var all []note
	at := make(map[string]int)
	for _, d := range steps {
		for _, n := range d.notes {
			if i, ok := at[n.name]; ok {
				all[i] = n
				continue
			}
			at[n.name] = len(all)
			all = append(all, n)
		}
	}
	return all
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

// line is the history of a zone with what steps make of it, which may not be in
// the file: the changesets from the place stored on are in tail.
type line struct {
	*record
	stored uint64
	tail   []*delta
}

// follow does what a step does with the history. remove is called for each
// changeset that goes from what is in the file, and gives its octets.
func (l *line) follow(d *delta, remove func(at uint64) (octets int, err error)) error {
	for d.drop && l.first < l.next {
		if err := l.shift(remove); err != nil {
			return err
		}
	}
	if d.join {
		l.tail = append(l.tail, d)
		l.next++
		l.octets += int64(len(d.change))
	}
	depth := uint64(max(0, d.keep.Depth))
	for l.first < l.next && (l.next-l.first > depth || l.octets > d.keep.Octets) {
		if err := l.shift(remove); err != nil {
			return err
		}
	}
	return nil
}

// shift takes the oldest changeset away.
func (l *line) shift(remove func(at uint64) (octets int, err error)) (err error) {
	var octets int
	if l.first >= l.stored {
		octets = len(l.tail[l.first-l.stored].change)
	} else if octets, err = remove(l.first); err != nil {
		return err
	}
	l.first++
	if l.octets -= int64(octets); l.octets < 0 || l.first == l.next {
		l.octets = 0 // one that was damaged may have had another length
	}
	return nil
}

// remove removes a changeset from the file, and gives its octets.
func (r *record) remove(history *bbolt.Bucket, at uint64) (octets int, err error) {
	k, v, err := r.stored(history.Cursor(), at)
	if err != nil {
		return 0, err
	}
	return len(v), history.Delete(slices.Clone(k))
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
			history := b.tx.Bucket(bucketHistory)
			for at := r.first; at < r.next; at++ {
				if _, err := r.remove(history, at); err != nil {
					return err
				}
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
