package zonedb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/feed"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/bolt"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

// nothing asserts that a registry holds nothing.
func nothing(t *testing.T, db *DB) {
	t.Helper()
	db.mu.Lock()
	defer db.mu.Unlock()
	if len(db.zones)+len(db.stores)+len(db.leases) > 0 || db.watch != nil {
		t.Errorf("left: %d zones, %d stores, %d leases, watch %v", len(db.zones), len(db.stores), len(db.leases), db.watch)
	}
}

// free asserts that a store is nobody's.
func free(t *testing.T, folder string) {
	t.Helper()
	s, err := bolt.Open(folder)
	if err != nil {
		t.Error(err)
		return
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

var otherOrigin = dnsname.MustParse("example.net.")

// second gives another zone of the same store.
func second(t *testing.T, spec Spec) Spec {
	t.Helper()
	spec.Origin = otherOrigin
	spec.Path += ".net"
	put(t, spec.Path, text(1), 50)
	return spec
}

func TestZonesAndLeasesShareAStore(t *testing.T) {
	a := stored(t)
	b := second(t, a)
	db := quiet()
	first := open(t, db, []Spec{a, b}, func(Report) {})
	next := openFor(t, db, "next", []Spec{b}, func(Report) {})
	z := next.Zones()[0]
	if z != first.Zones()[1] || z.store != first.Zones()[0].store {
		t.Error("two stores, or a zone opened twice")
	}
	first.Close()
	if _, err := z.Apply(t.Context(), "", add(1)); err == nil {
		t.Error("an address outside of the zone was taken")
	}
	if _, err := z.Apply(t.Context(), "", func(txn *Edit) error { return txn.SetSerial(9) }); err != nil {
		t.Error(err)
	}
	if _, err := bolt.Open(a.Store); !errors.Is(err, journal.ErrInUse) {
		t.Errorf("while it is open: %v", err)
	}
	next.Close()
	free(t, a.Store)
	nothing(t, db)
	if _, err := z.Apply(t.Context(), "", func(txn *Edit) error { return txn.SetSerial(10) }); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("a change of a zone that nobody holds: %v", err)
	}
	if serial(z) != 9 {
		t.Errorf("serial %d", serial(z))
	}
}

func TestOwners(t *testing.T) {
	spec := stored(t)
	strict := spec
	strict.Options.Strict = true
	db := quiet()
	lease := open(t, db, []Spec{spec}, func(Report) {})
	same := open(t, db, []Spec{spec}, func(Report) {})
	if _, err := db.Open("server", []Spec{second(t, spec), strict}, Hooks{}); err == nil {
		t.Error("two settings in one instance")
	}
	if _, err := db.Open("next", []Spec{strict, spec}, Hooks{}); err == nil {
		t.Error("two settings in one lease")
	}
	if n := len(db.Zones()); n != 1 {
		t.Errorf("%d zones", n)
	}
	other := openFor(t, db, "next", []Spec{strict}, func(Report) {})
	if !lease.Zones()[0].Spec().Options.Strict {
		t.Error("the newest settings are not in force")
	}
	for _, l := range []*Lease{same, other, lease} {
		l.Close()
	}
	nothing(t, db)
	free(t, spec.Store)
}

// TestFailedStart: a new instance takes over zones with other settings, and others,
// and then cannot start.
func TestFailedStart(t *testing.T) {
	spec := stored(t)
	db := quiet()
	var rs, failed reports
	lease := open(t, db, []Spec{spec}, rs.add)
	defer lease.Close()
	z := lease.Zones()[0]
	calm(t, db, z)
	if serial(z) != 1 {
		t.Fatalf("serial %d", serial(z))
	}
	changed := spec
	changed.Path += ".other"
	changed.Serial = zone.UnixTime
	changed.History.Depth = 99
	changed.Options = zonefile.Options{Strict: true}
	put(t, changed.Path, text(4)+"mx 300 MX 10 nowhere\n", 20)
	fresh := stored(t)
	events := feed.NewSubscription(10)
	next, err := db.Open("next", []Spec{changed, fresh, second(t, spec)}, Hooks{Loaded: failed.add, Events: events})
	if err != nil {
		t.Fatal(err)
	}
	if z.Spec() != changed || z.Err() == nil {
		t.Errorf("settings %+v, error %v", z.Spec(), z.Err())
	}
	next.Close()
	if z.Spec() != spec || z.Err() != nil || serial(z) != 1 || len(z.files()) != 1 || z.files()[0] != spec.Path {
		t.Errorf("settings %+v, error %v, serial %d, files %q", z.Spec(), z.Err(), serial(z), z.files())
	}
	if len(db.Zones()) != 1 || len(db.stores) != 1 || len(db.leases) != 1 || len(z.leases) != 1 {
		t.Errorf("%d zones, %d stores, %d leases, %d of the zone", len(db.Zones()), len(db.stores), len(db.leases), len(z.leases))
	}
	free(t, fresh.Store)
	for { // those of the zones that came and went
		if _, err := events.Next(t.Context()); err != nil {
			break
		}
	}

	// The file of the new instance was taken over, and is taken back.
	changed.Options.Strict = false
	if next, err = db.Open("next", []Spec{changed}, Hooks{}); err != nil {
		t.Fatal(err)
	}
	if serial(z) != 4 || z.Snapshot().Records() != 4 {
		t.Errorf("serial %d, %d records", serial(z), z.Snapshot().Records())
	}
	next.Close()
	if serial(z) != 5 || z.Snapshot().Records() != 3 || z.Err() != nil {
		t.Errorf("taken back: serial %d, %d records, error %v", serial(z), z.Snapshot().Records(), z.Err())
	}
	if r := rs.last(t); r.Snapshot.Serial() != 5 || r.Err != nil {
		t.Errorf("reported %+v", r)
	}
	put(t, spec.Path, text(9), 10)
	look(t, db, true)
	if serial(z) != 9 {
		t.Errorf("the file of before is not looked at: serial %d", serial(z))
	}
}

// TestOldLeaseTakesLater: the settings in force are those of the newest instance,
// not of the one that came to have the zone last.
func TestOldLeaseTakesLater(t *testing.T) {
	spec, dir := Spec{}, t.TempDir()
	db := quiet()
	folder, err := db.OpenFolder("old", folderSpec(dir, new(folderLog)), Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	put(t, filepath.Join(dir, "example.org.zone"), text(1), 50)
	spec.Origin, spec.Path = origin, filepath.Join(dir, "example.org.zone")
	spec.Serial = zone.UnixTime
	lease := openFor(t, db, "new", []Spec{spec}, func(Report) {})
	folder.look()
	z := lease.Zones()[0]
	if len(folder.Zones()) != 1 || folder.Zones()[0] != z || z.Spec() != spec {
		t.Errorf("%d zones, settings %+v", len(folder.Zones()), z.Spec())
	}
	lease.Close()
	if z.Spec().Serial != zone.Increment {
		t.Errorf("settings %+v", z.Spec())
	}
}

func TestStoresThatCannotBeOpened(t *testing.T) {
	good := stored(t)
	used, foreign, damaged, noFolder := second(t, good), second(t, good), second(t, good), second(t, good)
	dir := t.TempDir()
	for i, s := range []*Spec{&used, &foreign, &damaged, &noFolder} {
		s.Store = filepath.Join(dir, string(rune('a'+i)))
	}
	user, err := bolt.Open(used.Store)
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()
	if err := os.Mkdir(foreign.Store, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(foreign.Store, "zones.db"), "what is this?", 5)
	run(t, damaged, nil)
	flip(t, filepath.Join(damaged.Store, "zones.db"))
	put(t, noFolder.Store, "", 5)
	for name, tc := range map[string]struct {
		spec Spec
		want error
	}{
		"in use":  {used, journal.ErrInUse},
		"foreign": {foreign, journal.ErrForeign},
		"damaged": {damaged, journal.ErrCorrupt},
		"a file":  {noFolder, nil},
	} {
		db := quiet()
		_, err := db.Open("server", []Spec{good, tc.spec}, Hooks{})
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		nothing(t, db)
		free(t, good.Store)
		spec := folderSpec(dir, new(folderLog))
		spec.Zone.Store = tc.spec.Store
		if _, err := db.OpenFolder("server", spec, Hooks{}); err == nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: folder: %v", name, err)
		}
		nothing(t, db)
	}
}

// flip damages every page of a store but for the first two, which lead to them.
func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 3*os.Getpagesize() - 1; i < len(b); i += os.Getpagesize() / 64 {
		b[i] ^= 0xFF
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// held opens a zone whose next commit waits for the gate.
func held(t *testing.T, spec Spec) (db *DB, lease *Lease, reached, gate chan struct{}) {
	t.Helper()
	db = quiet()
	lease = open(t, db, []Spec{spec}, func(Report) {})
	reached, gate = make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := lease.Zones()[0].store
	s.Store = &obstacle{Store: s.Store, before: func(journal.Commit) error {
		once.Do(func() { close(reached); <-gate })
		return nil
	}}
	return db, lease, reached, gate
}

// TestCloseWaitsForACommit: what is being made durable is acknowledged, what waits
// behind it is not made.
func TestCloseWaitsForACommit(t *testing.T) {
	spec := stored(t)
	spec.Seed = true
	db, lease, reached, gate := held(t, spec)
	z := lease.Zones()[0]
	var wg sync.WaitGroup
	var errs [2]error
	wg.Go(func() { _, errs[0] = z.Apply(t.Context(), "", add(1)) })
	<-reached
	wg.Go(func() { _, errs[1] = z.Apply(t.Context(), "", add(2)) })
	eventually(t, "the queue", func() bool {
		z.queueMu.Lock()
		defer z.queueMu.Unlock()
		return len(z.queue) == 1
	})
	wg.Go(lease.Close)
	eventually(t, "the lease to go", func() bool { return len(db.Zones()) == 0 })
	// A new one of the same zone waits until the old one has let go of the store.
	wg.Go(func() {
		again := open(t, db, []Spec{spec}, func(Report) {})
		defer again.Close()
		if n := again.Zones()[0]; n == z || serial(n) != serial(z) || addresses(n.Snapshot()) != addresses(z.Snapshot()) {
			t.Errorf("serial %d after %d", serial(n), serial(z))
		}
	})
	close(gate)
	wg.Wait()
	if errs[0] != nil {
		t.Error(errs[0])
	}
	if errs[1] != nil && !errors.Is(errs[1], journal.ErrClosed) {
		t.Errorf("a change that waited: %v", errs[1])
	}
	nothing(t, db)
	free(t, spec.Store)
}

// TestCloseWhileAFileIsLoaded: a zone that is closed while its file is read is not
// changed any more, even if it is opened again meanwhile.
func TestCloseWhileAFileIsLoaded(t *testing.T) {
	spec := stored(t)
	db := quiet()
	lease := open(t, db, []Spec{spec, second(t, spec)}, func(Report) {})
	defer lease.Close()
	z := lease.Zones()[0]
	put(t, spec.Path, text(2), 20)
	for range cap(db.slots) {
		db.slots <- struct{}{}
	}
	looked := make(chan []error)
	go func() { looked <- db.lookAt([]*Zone{z}, false) }()
	eventually(t, "the load", func() bool {
		free := z.fileMu.TryLock()
		if free {
			z.fileMu.Unlock()
		}
		return !free
	})
	lease.giveBack([]*Zone{z}, false)
	put(t, spec.Path, text(3), 10)
	again := make(chan *Lease)
	go func() { again <- open(t, db, []Spec{spec}, func(Report) {}) }()
	eventually(t, "the zone to be there again", func() bool { return len(db.Zones()) == 2 })
	for range cap(db.slots) {
		<-db.slots
	}
	next := <-again
	defer next.Close()
	if err := firstOf(<-looked); err != nil {
		t.Error(err)
	}
	n := next.Zones()[0]
	if n == z || serial(z) != 1 || serial(n) != 3 {
		t.Errorf("serials %d and %d", serial(z), serial(n))
	}
	if state, err := n.store.Load(t.Context(), origin); err != nil || state.Snapshot.Serial() != 3 {
		t.Errorf("in the store: %v, %v", state.Snapshot, err)
	}
}

// TestEverythingAtOnce: instances come, go and fail while files change and changes
// are made. Nothing that was acknowledged is lost.
func TestEverythingAtOnce(t *testing.T) {
	spec := stored(t)
	spec.Seed = true
	source := second(t, spec)
	source.Seed = false
	dir := t.TempDir()
	db := New(soon)
	db.settle = soon
	folder := folderSpec(dir, new(folderLog))
	folder.Zone.Store = spec.Store
	instance := func(owner, variant int) []*Lease {
		specs := []Spec{spec, source}
		for i := range specs {
			specs[i].History.Depth += variant
		}
		f := folder
		f.Zone.History.Depth = variant
		lease := openFor(t, db, fmt.Sprint(owner), specs, func(Report) {})
		l, err := db.OpenFolder(fmt.Sprint(owner), f, Hooks{})
		if err != nil {
			t.Error(err)
			return []*Lease{lease}
		}
		return []*Lease{lease, l.Lease}
	}
	closeAll := func(leases []*Lease) {
		for _, l := range leases {
			l.Close()
		}
	}
	old := instance(0, 0)
	z, edited := old[0].Zones()[0], old[0].Zones()[1]

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var acknowledged zone.Serial
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			made, err := z.Apply(context.Background(), "", add(byte(i)))
			if i > 255 && err == nil { // all addresses are there
				made, err = z.Apply(context.Background(), "", func(txn *Edit) error {
					txn.RemoveSet(host, rrset.TypeA)
					return add(byte(i))(txn)
				})
			}
			if err != nil {
				t.Errorf("change %d: %v", i, err)
				return
			}
			if made.Changed {
				acknowledged = made.Serial
			}
		}
	})
	last := 1
	wg.Go(func() {
		tick := time.NewTicker(soon)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			last++
			put(t, source.Path, text(last), 100)
			path := filepath.Join(dir, fmt.Sprintf("%d.example.zone", last%7))
			if err := os.Remove(path); err != nil {
				put(t, path, text(last), 100)
			}
		}
	})
	for i := range 120 {
		next := instance(i+1, i%3)
		if i%4 == 3 {
			closeAll(next)
		} else {
			closeAll(old)
			old = next
		}
	}
	cancel()
	wg.Wait()
	eventually(t, "the last edit", func() bool { return serial(edited) == zone.Serial(last) })
	if z != old[0].Zones()[0] || serial(z) != acknowledged {
		t.Errorf("serial %d, acknowledged %d", serial(z), acknowledged)
	}
	closeAll(old)
	nothing(t, db)
	free(t, spec.Store)
	run(t, spec, func(_ *DB, z *Zone) {
		if serial(z) != acknowledged {
			t.Errorf("after a restart serial %d, acknowledged %d", serial(z), acknowledged)
		}
	})
}
