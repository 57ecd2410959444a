package zonedb

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/bolt"
	"github.com/trustdns/trustdns/plugin/pkg/journal/memory"
)

// interval is how often files are looked at, whatever the system tells of them.
// 10,000 zones cost some 50 ms of CPU time each time.
const interval = 5 * time.Second

// Process is the registry of this process.
var Process = New(interval)

// DB is a registry of live zones and their stores. Its methods may be called
// concurrently.
type DB struct {
	interval time.Duration
	slots    chan struct{} // one for each file that may be read at a time

	doorMu sync.Mutex // held while leases take and give back zones and stores

	mu     sync.Mutex
	zones  map[id]*Zone
	stores map[string]*store // by folder
	leases map[*Lease]struct{}
	opened Mark   // the newest lease
	watch  *watch // nil while there are no leases
}

// store is an open store.
type store struct {
	journal.Store
	folder string // "": in memory, of one zone
	zones  int    // that use it; guarded by DB.mu
}

// New gives an empty registry that looks at the files at that interval. It has a
// goroutine as long as there are leases.
func New(interval time.Duration) *DB {
	return &DB{
		interval: interval, slots: make(chan struct{}, runtime.GOMAXPROCS(0)),
		zones: make(map[id]*Zone), stores: make(map[string]*store), leases: make(map[*Lease]struct{}),
	}
}

// Lease keeps zones live.
type Lease struct {
	db     *DB
	mark   Mark
	owner  any
	hooks  Hooks
	zones  []*Zone // guarded by db.mu
	folder *Folder // that the zones come from, or nil
}

// Open makes the zones of the specs live, loads those that are not or whose files
// have changed, several at a time, and returns when that is done. What happens to
// a zone is told to the hooks of the newest lease of it, and the newest spec is in
// force. The owner is a comparable value that stands for an instance of the
// server; within one owner the specs of a zone must be the same. The error is that of a spec or of a store, and then nothing was opened; a file
// that cannot be read is told to the hooks.
func (db *DB) Open(owner any, specs []Spec, hooks Hooks) (*Lease, error) {
	l := db.newLease(owner, hooks)
	if _, err := l.add(specs); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (db *DB) newLease(owner any, hooks Hooks) *Lease {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.opened++
	l := &Lease{db: db, mark: db.opened, owner: owner, hooks: hooks}
	db.leases[l] = struct{}{}
	if db.watch == nil {
		db.watch = newWatch(db)
	}
	return l
}

// Mark stands for a time in the life of a registry.
type Mark uint64

// Mark gives the present time.
func (db *DB) Mark() Mark {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.opened
}

// CloseSince closes the leases that were opened since then: those of an instance
// of the server whose start failed, which nobody tells of it.
func (db *DB) CloseSince(m Mark) {
	db.mu.Lock()
	var dead []*Lease
	for l := range db.leases {
		if l.mark > m {
			dead = append(dead, l)
		}
	}
	db.mu.Unlock()
	for _, l := range dead {
		l.Close()
	}
}

// Zones gives the zones in the order of the specs.
func (l *Lease) Zones() []*Zone {
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	return slices.Clone(l.zones)
}

// add makes further zones live and gives them.
func (l *Lease) add(specs []Spec) ([]*Zone, error) {
	zones, err := l.take(specs)
	if err != nil {
		return nil, err
	}
	if err := l.db.lookAt(zones, false); err != nil {
		return nil, err
	}
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	if l.db.watch != nil {
		l.db.watch.kick()
	}
	return zones, nil
}

// take enters the zones in the registry.
func (l *Lease) take(specs []Spec) ([]*Zone, error) {
	db := l.db
	db.doorMu.Lock()
	defer db.doorMu.Unlock()
	opened := make(map[string]*store)
	for _, spec := range specs {
		if spec.Store == "" || opened[spec.Store] != nil {
			continue
		}
		db.mu.Lock()
		s := db.stores[spec.Store]
		db.mu.Unlock()
		if s == nil {
			b, err := bolt.Open(spec.Store)
			if err != nil {
				closeUnused(opened)
				return nil, err
			}
			s = &store{Store: b, folder: spec.Store}
		}
		opened[spec.Store] = s
	}

	db.mu.Lock()
	defer db.mu.Unlock()
	if _, ok := db.leases[l]; !ok {
		closeUnused(opened)
		return nil, journal.ErrClosed
	}
	for _, spec := range specs {
		if z := db.zones[spec.id()]; z != nil {
			for _, other := range z.leases {
				if other.lease.owner == l.owner && other.spec != spec {
					closeUnused(opened)
					return nil, fmt.Errorf("zone %s is there twice, with different settings", spec.Origin)
				}
			}
		}
	}
	zones := make([]*Zone, len(specs))
	for i, spec := range specs {
		z := db.zones[spec.id()]
		if z == nil {
			z = &Zone{db: db, writer: make(chan struct{}, 1), store: opened[spec.Store]}
			if spec.Store == "" {
				z.store = &store{Store: memory.New()}
			}
			z.store.zones++
			db.zones[spec.id()] = z
		}
		z.leases = append(z.leases, leased{l, spec})
		if l.hooks.Events != nil {
			z.feed.Subscribe(l.hooks.Events, z)
		}
		z.spec.Store(&spec)
		zones[i] = z
	}
	for folder, s := range opened {
		db.stores[folder] = s
	}
	l.zones = append(l.zones, zones...)
	return zones, nil
}

// closeUnused closes stores that were opened in vain. They were only read.
func closeUnused(stores map[string]*store) {
	for _, s := range stores {
		if s.zones == 0 {
			_ = s.Close()
		}
	}
}

// Close lets go of the zones; those that nobody else holds are no longer watched
// and not in the registry, and a store without zones is closed. What Snapshot
// gives stays. Further calls do nothing.
func (l *Lease) Close() {
	db := l.db
	db.mu.Lock()
	delete(db.leases, l)
	var w *watch
	if len(db.leases) == 0 {
		w, db.watch = db.watch, nil
	}
	zones := slices.Clone(l.zones)
	db.mu.Unlock()
	if w != nil {
		w.close()
	}
	l.remove(zones)
	if l.hooks.Events != nil {
		l.hooks.Events.Close()
	}
}

// remove gives zones back.
func (l *Lease) remove(zones []*Zone) {
	db := l.db
	db.doorMu.Lock()
	defer db.doorMu.Unlock()
	var unused []*store
	db.mu.Lock()
	for _, z := range zones {
		at := slices.IndexFunc(z.leases, func(le leased) bool { return le.lease == l })
		i := slices.Index(l.zones, z)
		if at < 0 || i < 0 {
			continue
		}
		spec := z.leases[at].spec
		z.leases = slices.Delete(z.leases, at, at+1)
		if l.hooks.Events != nil {
			z.feed.Unsubscribe(l.hooks.Events, z)
		}
		l.zones = slices.Delete(l.zones, i, i+1)
		if n := len(z.leases); n > 0 {
			newest := z.leases[n-1].spec
			z.spec.Store(&newest)
			continue
		}
		delete(db.zones, spec.id())
		if z.store.zones--; z.store.zones == 0 {
			delete(db.stores, z.store.folder)
			unused = append(unused, z.store)
		}
	}
	db.mu.Unlock()
	for _, s := range unused {
		_ = s.Close() // all that was acknowledged is on the disk
	}
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

// maxLooks is how many zones are looked at at a time. It is more than are read at
// a time, so that their commits can be one.
const maxLooks = 64

// lookAt brings zones up to date with their files. It gives an error of a store,
// if there is one; those of zones that are closed meanwhile are none.
func (db *DB) lookAt(zones []*Zone, patient bool) error {
	var wg sync.WaitGroup
	next := make(chan *Zone)
	workers := min(maxLooks, len(zones))
	large, errs := make([]bool, workers), make([]error, workers)
	for i := range workers {
		wg.Go(func() {
			for z := range next {
				l, err := z.look(patient)
				large[i] = large[i] || l
				if err != nil && errs[i] == nil {
					errs[i] = fmt.Errorf("zone %s: %w", z.Spec().Origin, err)
				}
			}
		})
	}
	for _, z := range zones {
		next <- z
	}
	close(next)
	wg.Wait()
	if slices.Contains(large, true) {
		release()
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
