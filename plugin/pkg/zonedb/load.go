package zonedb

import (
	"errors"
	"io/fs"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

// largeZone is the number of records from which on the garbage of a load is
// given back to the system at once.
const largeZone = 100_000

// release gives the garbage of a load back to the system. After the load of
// 0.9 million records it takes 76 MB of memory down to 64.
func release() { debug.FreeOSMemory() }

// look brings the zone up to date with its store, the first time, and with its
// file if that is not what was read last. It tells whether a large one was
// loaded. A patient look leaves files that were changed just now to the next one,
// so that what is being written is not read halfway. The error is that of the
// store, which cannot be worked with.
func (z *Zone) look(patient bool) (large bool, err error) {
	z.fileMu.Lock()
	defer z.fileMu.Unlock()
	defer func() { z.unsettled.Store(z.waiting != nil) }()
	spec := z.Spec()
	if !z.opened {
		if large, err = z.openStored(spec); err != nil {
			return false, err
		}
	}
	if spec.Seed && z.current.Load() != nil {
		z.paths.Store(nil)
		return large, nil
	}
	now := again(z.loaded)
	if len(z.loaded) > 0 && !z.retry && z.loaded[0].Path == spec.Path && z.options == spec.Options {
		if unchanged(z.loaded, now) {
			z.waiting = nil
			return large, nil
		}
		if patient && !settled(now) && !alike(z.waiting, now) {
			z.waiting = now
			return large, nil
		}
	}
	z.waiting = nil
	return z.load(spec) || large, nil
}

// openStored takes over what the store has of the zone; z.fileMu is held.
func (z *Zone) openStored(spec Spec) (large bool, err error) {
	start := time.Now()
	z.writer <- struct{}{}
	err = z.restore()
	noted := z.noted
	if err == nil {
		z.feed.Publish(z.current.Load(), nil)
	}
	<-z.writer
	if err != nil && !errors.Is(err, journal.ErrNotExist) {
		return false, err
	}
	z.opened = true
	s := z.current.Load()
	if s == nil {
		return false, nil
	}
	z.loaded, z.options = noted.Files, spec.Options
	paths := make([]string, len(noted.Files))
	for i, f := range noted.Files {
		paths[i] = f.Path
	}
	z.paths.Store(&paths)
	r := Report{Spec: spec, Snapshot: s, File: zone.Serial(noted.Serial), Stored: true, Duration: time.Since(start)}
	r.Ignored = spec.Seed && !unchanged(noted.Files, again(noted.Files))
	z.db.loaded(z, r)
	return s.Records() >= largeZone, nil
}

// load reads the file; z.fileMu is held.
func (z *Zone) load(spec Spec) (large bool) {
	start := time.Now()
	before := take(spec.Path, start)
	known := again(z.loaded)
	z.db.slots <- struct{}{}
	res, err := zonefile.Load(spec.Path, spec.Origin, spec.Options)
	<-z.db.slots
	if len(res.Files) == 0 {
		res.Files = []string{spec.Path}
	}
	z.paths.Store(&res.Files)
	z.options = spec.Options
	z.loaded = takeAll(res.Files, start)
	for i := range z.loaded { // what was looked at before it was read is surer
		for _, s := range append(known, before) {
			if s.Path == z.loaded[i].Path {
				z.loaded[i] = s
			}
		}
	}
	r := Report{Spec: spec, Previous: z.current.Load(), Warnings: res.Warnings, Err: err}
	if err == nil {
		r.File = res.Snapshot.Serial()
		r.Lowered, r.Err = z.put(res.Snapshot, spec, z.loaded)
	}
	r.Snapshot, r.Duration = z.current.Load(), time.Since(start)
	if errors.Is(r.Err, journal.ErrClosed) {
		return false // nobody holds the zone any more
	}
	if r.Err != nil {
		_, system := errors.AsType[syscall.Errno](r.Err) // permission, disk, too many open files
		z.retry = err == nil || system && !errors.Is(err, fs.ErrNotExist)
		z.failure.Store(&r.Err)
		if text := r.Err.Error(); text != z.reported {
			z.reported = text
			z.db.loaded(z, r)
		}
		return false
	}
	mended := z.failure.Swap(nil) != nil
	z.retry, z.reported = false, ""
	if r.Snapshot != r.Previous || mended || r.Lowered {
		z.db.loaded(z, r)
	}
	return r.Snapshot.Records() >= largeZone
}

// put makes what was read from files the next version. It does nothing if there
// is nothing else in it than in the present one, or nothing but a serial that is
// not later; lowered tells that it was this for the first time.
func (z *Zone) put(read *zone.Snapshot, spec Spec, files []stamp) (lowered bool, err error) {
	z.writer <- struct{}{}
	defer func() { <-z.writer }()
	n := note{Serial: uint32(read.Serial()), Files: files}
	for range maxConflicts {
		before := z.noted
		c, err := follow(z.current.Load(), read, spec.Serial)
		if err != nil {
			return false, err
		}
		c.Change.Who, c.Change.When = "file "+spec.Path, time.Now()
		c.Notes = journal.Notes{noteName: n.bytes()}
		same := c.Next == z.current.Load()
		if same && before.Serial == n.Serial && slices.Equal(before.Files, n.Files) {
			return false, nil
		}
		err = z.step(c)
		if errors.Is(err, journal.ErrConflict) {
			if err := z.restore(); err != nil && !errors.Is(err, journal.ErrNotExist) {
				return false, err
			}
			continue
		}
		if err != nil {
			return false, err
		}
		z.noted = n
		crashPoint("acknowledged")
		if same {
			return n.Serial != uint32(c.Next.Serial()) && n.Serial != before.Serial, nil
		}
		change := &c.Change
		if !change.To.After(change.From) {
			change = nil
		}
		z.feed.Publish(c.Next, change)
		crashPoint("announced")
		return false, nil
	}
	return false, journal.ErrConflict
}

// follow gives the commit that puts what was read in the place of a version, nil
// if there is none. Its Next is that version itself if it is to stay.
func follow(present, read *zone.Snapshot, policy zone.SerialPolicy) (journal.Commit, error) {
	if present == nil {
		return journal.Commit{Next: read}, nil
	}
	next := read
	// A signature over the SOA record would not hold with another serial.
	if !read.Serial().After(present.Serial()) && read.SOA().Sigs.IsEmpty() {
		txn := read.Begin()
		if err := txn.SetSerial(policy.Next(present.Serial(), time.Now())); err != nil {
			return journal.Commit{}, err
		}
		var err error
		if next, _, err = txn.Commit(); err != nil {
			return journal.Commit{}, err
		}
	}
	change := zone.Difference(present, next)
	if change.IsEmpty() || next != read && onlySerial(&change) {
		return journal.Commit{Next: present}, nil
	}
	return journal.Commit{Next: next, Change: change}, nil
}

// onlySerial tells whether a change is that of a serial.
func onlySerial(c *zone.Changeset) bool {
	if len(c.Removed) != 1 || len(c.Added) != 1 {
		return false
	}
	a, b := c.Removed[0], c.Added[0]
	if a.Type != rrset.TypeSOA || b.Type != rrset.TypeSOA || a.TTL != b.TTL || !a.Sigs.IsEmpty() || !b.Sigs.IsEmpty() {
		return false
	}
	x, y := a.First(), b.First()
	return len(x) == len(y) && x[:len(x)-20] == y[:len(y)-20] && x[len(x)-16:] == y[len(y)-16:]
}
