package zonedb

import (
	"runtime"
	"sync"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// interval is how often files are looked at. 10,000 zones cost some 50 ms of CPU
// time each time.
const interval = 5 * time.Second

// Process is the registry of this process.
var Process = New(interval)

// DB is a registry of live zones. Its methods may be called concurrently.
type DB struct {
	interval time.Duration
	slots    chan struct{} // one for each load that may run at a time

	mu    sync.Mutex
	zones map[Spec]*Zone
	stop  chan struct{} // ends the watch; nil while there is none
	ended chan struct{} // closed when it has ended
}

// New gives an empty registry that looks at the files at that interval. It has a
// goroutine as long as there are zones in it.
func New(interval time.Duration) *DB {
	return &DB{interval: interval, slots: make(chan struct{}, runtime.GOMAXPROCS(0)), zones: make(map[Spec]*Zone)}
}

// Lease keeps zones live. One that is no longer reachable counts as closed: that
// is how the lease of an instance of the server ends whose start failed, which
// nobody tells of it.
type Lease struct {
	*hold
	cleanup runtime.Cleanup
}

type hold struct {
	db    *DB
	zones []*Zone
	once  sync.Once
}

// Zones gives the zones in the order of the specs. They do not keep the Lease
// reachable.
func (l *Lease) Zones() []*Zone { return l.zones }

// Close lets go of the zones; those that nobody else holds are no longer watched
// and not in the registry. What Snapshot gives stays. Further calls do nothing.
func (l *Lease) Close() {
	l.cleanup.Stop()
	if ended := l.release(); ended != nil {
		<-ended
	}
}

// Open makes the zones of the specs live, loads those that are not or whose
// files have changed, several at a time, and returns when that is done. Each
// load is told to the function report of the call that made the zone live,
// maybe while another is; it must not call methods of the DB or the Lease.
func (db *DB) Open(specs []Spec, report func(Report)) *Lease {
	h := &hold{db: db, zones: make([]*Zone, len(specs))}
	db.mu.Lock()
	for i, spec := range specs {
		z := db.zones[spec]
		if z == nil {
			z = &Zone{spec: spec, report: report}
			db.zones[spec] = z
		}
		z.refs++
		h.zones[i] = z
	}
	if db.stop == nil && len(db.zones) > 0 {
		db.stop, db.ended = make(chan struct{}), make(chan struct{})
		go db.watch(db.stop, db.ended)
	}
	db.mu.Unlock()

	db.updateAll(h.zones, false)
	l := &Lease{hold: h}
	l.cleanup = runtime.AddCleanup(l, func(h *hold) { h.release() }, h)
	return l
}

// release takes the references back. If the registry is empty then, it gives
// what is closed when the watch has ended.
func (h *hold) release() (ended chan struct{}) {
	h.once.Do(func() {
		db := h.db
		db.mu.Lock()
		defer db.mu.Unlock()
		for _, z := range h.zones {
			if z.refs--; z.refs == 0 {
				delete(db.zones, z.spec)
			}
		}
		if len(db.zones) == 0 && db.stop != nil {
			close(db.stop)
			ended = db.ended
			db.stop, db.ended = nil, nil
		}
	})
	return ended
}

// Zones gives the live zones, in no order.
func (db *DB) Zones() []*Zone {
	db.mu.Lock()
	defer db.mu.Unlock()
	zones := make([]*Zone, 0, len(db.zones))
	for _, z := range db.zones {
		zones = append(zones, z)
	}
	return zones
}

// lastGood gives what is in service from the same file under other options, or
// nil: what a change of options must not take away.
func (db *DB) lastGood(spec Spec) *zone.Snapshot {
	for _, z := range db.Zones() {
		if z.spec.Origin == spec.Origin && z.spec.Path == spec.Path {
			if s := z.Snapshot(); s != nil {
				return s
			}
		}
	}
	return nil
}

// watch looks at the files of all zones until stop is closed.
func (db *DB) watch(stop <-chan struct{}, ended chan<- struct{}) {
	defer close(ended)
	tick := time.NewTicker(db.interval)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			db.updateAll(db.Zones(), true)
		}
	}
}

// updateAll looks at the files of the zones and loads what has changed.
func (db *DB) updateAll(zones []*Zone, settled bool) {
	var wg sync.WaitGroup
	next := make(chan *Zone)
	large := make([]bool, min(cap(db.slots), len(zones)))
	for i := range large {
		wg.Go(func() {
			for z := range next {
				if db.update(z, settled) {
					large[i] = true
				}
			}
		})
	}
	for _, z := range zones {
		next <- z
	}
	close(next)
	wg.Wait()
	for _, l := range large {
		if l {
			release()
			return
		}
	}
}
