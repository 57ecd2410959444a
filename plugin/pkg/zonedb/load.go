package zonedb

import (
	"errors"
	"io/fs"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

// largeZone is the number of records from which on the garbage of a load is
// given back to the system at once.
const largeZone = 100_000

// update loads the zone if its files are not what is in service, and tells
// whether it was a large one. A patient update leaves files that were changed
// just now to the next one, so that what is being written is not read halfway.
func (db *DB) update(z *Zone, patient bool) (large bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	now := again(z.loaded)
	if z.loaded != nil && !z.retry {
		if unchanged(z.loaded, now) {
			z.waiting = nil
			return false
		}
		if patient && !settled(now) && !unchanged(z.waiting, now) {
			z.waiting = now
			return false
		}
	}
	z.waiting = nil
	db.slots <- struct{}{}
	defer func() { <-db.slots }()
	return db.load(z)
}

// load reads the zone; z.mu is held.
func (db *DB) load(z *Zone) (large bool) {
	start := time.Now()
	before := take(z.spec.Path, start)
	known := again(z.loaded)
	res, err := zonefile.Load(z.spec.Path, z.spec.Origin, z.spec.Options)
	if len(res.Files) == 0 {
		res.Files = []string{z.spec.Path}
	}
	z.loaded = takeAll(res.Files, start)
	for i := range z.loaded { // what was looked at before it was read is surer
		for _, s := range append(known, before) {
			if s.path == z.loaded[i].path {
				z.loaded[i] = s
			}
		}
	}
	previous := z.current.Load()
	r := Report{Spec: z.spec, Snapshot: previous, Previous: previous, Warnings: res.Warnings, Err: err, Duration: time.Since(start)}
	if err != nil {
		var system syscall.Errno // permission, disk, too many open files
		z.retry = errors.As(err, &system) && !errors.Is(err, fs.ErrNotExist)
		z.failure.Store(&err)
		if previous == nil {
			z.current.Store(db.lastGood(z.spec))
			r.Snapshot = z.current.Load()
		}
		if text := err.Error(); text != z.reported {
			z.reported = text
			z.report(r)
		}
		return false
	}
	z.retry, z.reported = false, ""
	z.failure.Store(nil)
	z.current.Store(res.Snapshot)
	r.Snapshot = res.Snapshot
	z.report(r)
	return res.Snapshot.Records() >= largeZone
}

// release gives the garbage of a load back to the system. After the load of
// 0.9 million records it takes 76 MB of memory down to 64.
func release() { debug.FreeOSMemory() }
