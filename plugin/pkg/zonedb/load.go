package zonedb

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime/debug"
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
// so that what is being written is not read halfway. Each look does so with a file
// that is gone while a version of it is in service: it may come again, or take its
// zone with it if it was in a folder, which is found out in half the time. The error is that of the
// store, which cannot be worked with.
func (z *Zone) look(patient bool) (large bool, err error) {
	z.fileMu.Lock()
	defer z.fileMu.Unlock()
	defer func() { z.unsettled.Store(!z.waiting.none()) }()
	spec := z.Spec()
	if !z.opened {
		if large, err = z.openStored(spec); err != nil {
			return false, err
		}
	}
	if err := z.heed(&spec); err != nil {
		return large, err
	}
	if spec.Seed && z.current.Load() != nil {
		z.paths.Store(nil)
		z.failure.Store(nil)
		z.waiting, z.retry, z.reported = settling{}, false, ""
		return large, nil
	}
	now := again(z.loaded)
	if len(z.loaded) > 0 && z.loaded[0].Path == spec.Path && z.manner == spec.manner() {
		if !z.retry && unchanged(z.loaded, now) {
			z.waiting = settling{}
			return large, nil
		}
		long := z.db.settle
		gone := now[0].Missing && z.current.Load() != nil
		if gone {
			long *= 2
		}
		if (patient || gone) && !z.waiting.over(now, long) {
			return large, nil
		}
	}
	z.waiting = settling{}
	there := len(now) > 0 && now[0].Path == spec.Path && !now[0].Missing
	return z.load(spec, there) || large, nil
}

// openStored takes over what the store has of the zone; z.fileMu is held.
func (z *Zone) openStored(spec Spec) (large bool, err error) {
	start := time.Now()
	z.writer <- struct{}{}
	err = z.restore()
	s, noted := z.current.Load(), z.noted
	<-z.writer
	if err != nil && !errors.Is(err, journal.ErrNotExist) {
		return false, err
	}
	z.opened = true
	if s == nil {
		return false, nil
	}
	z.loaded, z.manner = noted.Files, noted.Manner
	paths := make([]string, len(noted.Files))
	for i, f := range noted.Files {
		paths[i] = f.Path
	}
	z.paths.Store(&paths)
	r := Report{Spec: spec, Snapshot: s, File: zone.Serial(noted.Serial), Stored: true, Duration: time.Since(start)}
	if now := again(noted.Files); spec.Seed && len(now) > 0 && !now[0].Missing {
		r.Ignored = !alike(noted.Files, now)
	}
	z.db.loaded(z, r)
	return s.Records() >= largeZone, nil
}

// load reads the file, which was there just now, or maybe not; z.fileMu is held.
func (z *Zone) load(spec Spec, there bool) (large bool) {
	start := time.Now()
	before := take(spec.Path, start)
	known := again(z.loaded)
	z.db.slots <- struct{}{}
	valid := start // signatures must be then
	if spec.Signing != nil {
		valid = time.Time{} // those of the file are not served
	}
	res, err := zonefile.Load(spec.Path, spec.Origin, spec.Options, valid)
	<-z.db.slots
	if now := take(spec.Path, start); now.Missing && there && z.current.Load() != nil {
		z.waiting.over([]stamp{now}, z.db.settle) // it went while it was to be read
		return false
	}
	if len(res.Files) == 0 {
		res.Files = []string{spec.Path}
	}
	z.paths.Store(&res.Files)
	z.manner = spec.manner()
	z.loaded = takeAll(res.Files, start)
	for i := range z.loaded { // what was looked at before it was read is surer
		for _, s := range append(known, before) {
			if s.Path == z.loaded[i].Path {
				z.loaded[i] = s
			}
		}
	}
	present := z.current.Load()
	r := Report{Spec: spec, Previous: present, Snapshot: present, Warnings: res.Warnings, Err: err}
	if err == nil {
		r.File = res.Snapshot.Serial()
		r.Err = z.put(res.Snapshot, &r)
	}
	r.Duration = time.Since(start)
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

// put makes what was read from the files the next version, and completes the
// report of it. It does nothing if there is nothing else in it than in the present
// version, or nothing but a serial that is not later. z.fileMu is held.
func (z *Zone) put(read *zone.Snapshot, r *Report) error {
	z.writer <- struct{}{}
	defer func() { <-z.writer }()
	if z.closed {
		return journal.ErrClosed
	}
	n := note{Serial: uint32(read.Serial()), Files: z.loaded, Manner: z.manner}
	for range maxConflicts {
		present, before := z.current.Load(), z.noted
		r.Previous, r.Snapshot = present, present
		prepared, err := z.prepare(present, nil)
		if err != nil {
			return z.unsignable(err)
		}
		var c journal.Commit
		signatures := 0
		if z.signer != nil {
			if c, signatures, err = z.followSigned(present, read, r.Spec.Serial); err != nil {
				err = z.unsignable(err)
			}
		} else {
			c, err = follow(present, read, r.Spec.Serial)
		}
		if err != nil {
			return err
		}
		c.Change.Who, c.Change.When = "file "+r.Spec.Path, time.Now()
		c.Notes = journal.Notes{noteName: n.bytes()}
		leases := z.expiry.Begin()
		leases.KeepNone() // the file has none
		maps.Copy(c.Notes, leases.Notes())
		same := c.Next == present
		if !same {
			maps.Copy(c.Notes, prepared.Notes)
		}
		if same && before.equal(&n) {
			return nil
		}
		err = z.step(c)
		if errors.Is(err, journal.ErrConflict) {
			if err := z.restore(); err != nil && !errors.Is(err, journal.ErrNotExist) {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		z.noted = n
		leases.Commit()
		if !same {
			z.signed(&c, &prepared, signatures)
		}
		z.arm()
		crashPoint("acknowledged")
		if same {
			r.Lowered = n.Serial != uint32(present.Serial()) && n.Serial != before.Serial
			return nil
		}
		r.Snapshot = c.Next
		change := &c.Change
		if !change.To.After(change.From) {
			change = nil
		}
		z.feed.Publish(c.Next, change)
		crashPoint("announced")
		return nil
	}
	return fmt.Errorf("%w, %d times", journal.ErrConflict, maxConflicts)
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
