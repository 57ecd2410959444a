package zonedb

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/bolt"
	"github.com/trustdns/trustdns/plugin/pkg/journal/memory"
	"github.com/trustdns/trustdns/plugin/pkg/lease"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// interval is how often files are looked at, whatever the system tells of them.
// 10,000 zones cost some 50 ms of CPU time each time.
const interval = 5 * time.Second

// settleTime is how long a file must have been left alone to be taken for
// finished.
const settleTime = time.Second

// Process is the registry of this process.
var Process = New(interval)

// DB is a registry of live zones and their stores. Its methods may be called
// concurrently.
type DB struct {
	interval, settle time.Duration
	events           func() (*fsnotify.Watcher, error) // of the system
	slots            chan struct{}                     // one for each file that may be read at a time
	began            time.Time
	clock            func() time.Time // of the system
	drift            time.Duration    // of the clock against the steady one, when it was looked at last; for the watch

	doorMu sync.Mutex // held while leases take and give back zones and stores

	mu     sync.Mutex
	zones  map[id]*Zone
	named  map[dnsname.Name]int // how many zones have an origin
	stores map[string]*store    // by folder
	leases map[*Lease]struct{}
	opened uint64 // the mark of the newest lease
	watch  *watch // nil while there are no leases
}

// store is an open store.
type store struct {
	journal.Store
	folder string // "": in memory, of one zone
	users  int    // zones, and leases of folders; guarded by DB.mu
}

// New gives an empty registry that looks at the files at that interval. It has a
// goroutine as long as there are leases.
func New(interval time.Duration) *DB {
	return &DB{
		interval: interval, settle: settleTime, events: fsnotify.NewWatcher,
		slots: make(chan struct{}, runtime.GOMAXPROCS(0)), began: time.Now(), clock: time.Now,
		zones: make(map[id]*Zone), named: make(map[dnsname.Name]int), stores: make(map[string]*store), leases: make(map[*Lease]struct{}),
	}
}

// now gives the time by a clock that is right when the registry is made and goes
// on steadily, whatever is done to the one of the system.
func (db *DB) now() time.Time { return db.began.Add(time.Since(db.began)) }

// leap is by how much a clock that somebody has set is wrong at least.
const leap = time.Minute

// heedClock looks at the clock of the system, and has zones look again when they are
// to be signed next if it was set: timers go by the steady clock.
func (db *DB) heedClock() {
	drift := db.clock().Round(0).Sub(db.now().Round(0))
	if (drift - db.drift).Abs() < leap {
		return
	}
	db.drift = drift
	for _, z := range db.Zones() {
		if z.Signer() == nil {
			continue
		}
		z.writer <- struct{}{}
		z.armed = 0
		z.arm()
		<-z.writer
	}
}

// Lease keeps zones live.
type Lease struct {
	db     *DB
	mark   uint64 // later leases have higher ones
	owner  any
	hooks  Hooks
	folder *Folder // that the zones come from, or nil
	zones  []*Zone // each once; guarded by db.mu
	store  *store  // of the folder, in use with or without zones; guarded by db.mu
}

// Open makes the zones of the specs live, loads those that are not or whose files
// have changed, several at a time, and returns when that is done. What happens to
// a zone is told to the hooks of the newest lease of it, and the newest spec is in
// force. The owner is a comparable value that stands for an instance of the
// server; within one owner the specs of a zone must be the same. The error is
// that of a spec or of a store, and then nothing was opened; a file that cannot be
// read is told to the hooks.
func (db *DB) Open(owner any, specs []Spec, hooks Hooks) (*Lease, error) {
	l := db.newLease(owner, hooks, nil)
	zones, err := l.take(specs, "")
	if err == nil {
		err = firstOf(db.lookAt(zones, false))
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	db.kick()
	return l, nil
}

func (db *DB) newLease(owner any, hooks Hooks, f *Folder) *Lease {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.opened++
	l := &Lease{db: db, mark: db.opened, owner: owner, hooks: hooks, folder: f}
	db.leases[l] = struct{}{}
	if db.watch == nil {
		db.watch = newWatch(db)
	}
	return l
}

// kick makes the watch see that there are other files.
func (db *DB) kick() {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.watch != nil {
		db.watch.kick()
	}
}

// Zones gives the zones of the lease: those of Open in the order of the specs.
func (l *Lease) Zones() []*Zone {
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	return slices.Clone(l.zones)
}

// take enters zones in the registry and gives them, in the order of the specs. Of a
// zone that the lease has already, the spec is replaced. A store is opened even if
// there are no specs.
func (l *Lease) take(specs []Spec, folder string) ([]*Zone, error) {
	db := l.db
	db.doorMu.Lock()
	defer db.doorMu.Unlock()
	stores, err := db.openStores(specs, folder)
	if err != nil {
		return nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := l.check(specs); err != nil {
		closeUnused(stores)
		return nil, err
	}
	for folder, s := range stores {
		db.stores[folder] = s
	}
	if s := stores[folder]; s != nil && l.store == nil {
		s.users++
		l.store = s
	}
	zones := make([]*Zone, len(specs))
	for i, spec := range specs {
		z := db.zones[spec.id()]
		if z == nil {
			z = &Zone{db: db, writer: make(chan struct{}, 1), store: stores[spec.Store], expiry: new(lease.Table)}
			if spec.Store == "" {
				z.store = &store{Store: memory.New()}
			}
			z.store.users++
			db.zones[spec.id()] = z
			db.named[spec.Origin]++
		}
		l.hold(z, spec)
		zones[i] = z
	}
	return zones, nil
}

// openStores opens those stores that are not open and gives all; db.doorMu is
// held.
func (db *DB) openStores(specs []Spec, folder string) (map[string]*store, error) {
	stores := make(map[string]*store)
	open := func(folder string) error {
		if folder == "" || stores[folder] != nil {
			return nil
		}
		db.mu.Lock()
		s := db.stores[folder]
		db.mu.Unlock()
		if s == nil {
			b, err := bolt.Open(folder)
			if err != nil {
				return err
			}
			s = &store{Store: b, folder: folder}
		}
		stores[folder] = s
		return nil
	}
	err := open(folder)
	for i := 0; err == nil && i < len(specs); i++ {
		err = open(specs[i].Store)
	}
	if err != nil {
		db.mu.Lock()
		defer db.mu.Unlock()
		closeUnused(stores)
		return nil, err
	}
	return stores, nil
}

// closeUnused closes stores that were opened in vain; DB.mu is held. They were
// only read.
func closeUnused(stores map[string]*store) {
	for _, s := range stores {
		if s.users == 0 {
			_ = s.Close()
		}
	}
}

// check tells whether the lease can have those zones; db.mu is held.
func (l *Lease) check(specs []Spec) error {
	if _, ok := l.db.leases[l]; !ok {
		return journal.ErrClosed
	}
	here := make(map[id]bool, len(specs))
	for i := range specs {
		spec := &specs[i]
		if here[spec.id()] {
			return fmt.Errorf("zone %s is there twice", spec.Origin)
		}
		here[spec.id()] = true
		if err := l.fits(spec); err != nil {
			return err
		}
	}
	return nil
}

// fits tells whether other leases of the owner agree with the lease on a zone;
// db.mu is held.
func (l *Lease) fits(spec *Spec) error {
	if z := l.db.zones[spec.id()]; z != nil {
		for _, other := range z.leases {
			if other.lease != l && other.lease.owner == l.owner && other.spec != *spec {
				return fmt.Errorf("zone %s is there twice, with different settings", spec.Origin)
			}
		}
	}
	return nil
}

// hold makes the lease one of a zone; db.mu is held. The leases of a zone are in
// the order in which they were opened, whenever they came to have it.
func (l *Lease) hold(z *Zone, spec Spec) {
	at := slices.IndexFunc(z.leases, func(le leased) bool { return le.lease.mark >= l.mark })
	switch {
	case at < 0:
		z.leases = append(z.leases, leased{l, spec})
	case z.leases[at].lease == l:
		z.leases[at].spec = spec
		z.obey()
		return
	default:
		z.leases = slices.Insert(z.leases, at, leased{l, spec})
	}
	l.zones = append(l.zones, z)
	if l.hooks.Events != nil {
		z.feed.Subscribe(l.hooks.Events, z)
	}
	z.obey()
}

// obey makes the newest spec be in force; db.mu is held. It tells whether that
// is another than before.
func (z *Zone) obey() (changed bool) {
	newest := z.leases[len(z.leases)-1].spec
	changed = z.spec.Load() == nil || *z.spec.Load() != newest
	z.spec.Store(&newest)
	return changed
}

// Close lets go of the zones; those that nobody else holds are no longer watched
// and not in the registry, and a store without zones is closed. What Snapshot
// gives stays. A zone whose settings were those of the lease is brought up to date
// with those of the lease before it. Further calls do nothing.
func (l *Lease) Close() {
	db := l.db
	db.mu.Lock()
	delete(db.leases, l)
	var w *watch
	if len(db.leases) == 0 {
		w, db.watch = db.watch, nil
	}
	db.mu.Unlock()
	if w != nil {
		w.close()
	}
	if l.folder != nil {
		l.folder.end()
	}
	l.giveBack(nil, true)
	if l.hooks.Events != nil {
		l.hooks.Events.Close()
	}
}

// giveBack gives zones back, or all that the lease has.
func (l *Lease) giveBack(zones []*Zone, all bool) {
	if changed := l.letGo(zones, all); len(changed) > 0 {
		_ = l.db.lookAt(changed, false) // their stores are open
		l.db.kick()
	}
}

// letGo is giveBack; it gives the zones whose spec is another now.
func (l *Lease) letGo(zones []*Zone, all bool) (changed []*Zone) {
	db := l.db
	db.doorMu.Lock()
	defer db.doorMu.Unlock()
	var dead []*Zone
	var unused []*store
	db.mu.Lock()
	drop := func(s *store) {
		if s.users--; s.users == 0 {
			delete(db.stores, s.folder)
			unused = append(unused, s)
		}
	}
	if all {
		zones, l.zones = l.zones, nil
		if l.store != nil {
			drop(l.store)
			l.store = nil
		}
	} else {
		leave := make(map[*Zone]bool, len(zones))
		for _, z := range zones {
			leave[z] = true
		}
		l.zones = slices.DeleteFunc(l.zones, func(z *Zone) bool { return leave[z] })
	}
	for _, z := range zones {
		at := slices.IndexFunc(z.leases, func(le leased) bool { return le.lease == l })
		if at < 0 {
			continue
		}
		spec := z.leases[at].spec
		z.leases = slices.Delete(z.leases, at, at+1)
		if l.hooks.Events != nil {
			z.feed.Unsubscribe(l.hooks.Events, z)
		}
		if len(z.leases) > 0 {
			if z.obey() {
				changed = append(changed, z)
			}
			continue
		}
		delete(db.zones, spec.id())
		if db.named[spec.Origin]--; db.named[spec.Origin] == 0 {
			delete(db.named, spec.Origin)
		}
		dead = append(dead, z)
		drop(z.store)
	}
	db.mu.Unlock()
	for _, z := range dead {
		z.close()
	}
	for _, s := range unused {
		_ = s.Close() // all that was acknowledged is on the disk
	}
	return changed
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

// seen gives a version of another zone with the origin of z that is served unsigned, as
// that of the instance before, which kept it somewhere else; or nil.
func (db *DB) seen(z *Zone) *zone.Snapshot {
	db.mu.Lock()
	defer db.mu.Unlock()
	origin := z.Spec().Origin
	if db.named[origin] < 2 {
		return nil
	}
	for id, other := range db.zones {
		if s := other.Snapshot(); id.origin == origin && other != z && s != nil && other.Signer() == nil {
			return s
		}
	}
	return nil
}

// hooks gives those of the newest lease of a zone.
func (db *DB) hooks(z *Zone) Hooks {
	db.mu.Lock()
	defer db.mu.Unlock()
	if n := len(z.leases); n > 0 {
		return z.leases[n-1].lease.hooks
	}
	return Hooks{}
}

func (db *DB) loaded(z *Zone, r Report) {
	if f := db.hooks(z).Loaded; f != nil {
		f(r)
	}
}

func (db *DB) committed(z *Zone, took time.Duration, err error) {
	if f := db.hooks(z).Committed; f != nil {
		f(took, err)
	}
}

func (db *DB) signed(r SignReport) {
	if f := db.hooks(r.Zone).Signed; f != nil {
		f(r)
	}
}

// firstOf gives the first error, if there is one.
func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// maxLooks is how many zones are looked at at a time. It is more than are read at
// a time, so that their commits can be one.
const maxLooks = 64

// lookAt brings zones up to date with their files. It gives the errors of stores,
// in the order of the zones, nil where there is none. That a zone was closed
// meanwhile is none.
func (db *DB) lookAt(zones []*Zone, patient bool) []error {
	var wg sync.WaitGroup
	next := make(chan int)
	workers := min(maxLooks, len(zones))
	large, errs := make([]bool, workers), make([]error, len(zones))
	for w := range workers {
		wg.Go(func() {
			for i := range next {
				l, err := zones[i].look(patient)
				large[w] = large[w] || l
				if err != nil && !errors.Is(err, journal.ErrClosed) {
					errs[i] = fmt.Errorf("zone %s: %w", zones[i].Spec().Origin, err)
				}
			}
		})
	}
	for i := range zones {
		next <- i
	}
	close(next)
	wg.Wait()
	if slices.Contains(large, true) {
		release()
	}
	return errs
}
