package zonedb

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/feed"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

// obstacle is a store whose commits can be held up and made to fail.
type obstacle struct {
	journal.Store
	mu      sync.Mutex
	before  func(journal.Commit) error // is asked before each commit
	commits []journal.Commit
}

func (o *obstacle) Commit(ctx context.Context, origin dnsname.Name, c journal.Commit) (journal.Revision, error) {
	o.mu.Lock()
	before := o.before
	o.mu.Unlock()
	if before != nil {
		if err := before(c); err != nil {
			return 0, err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.commits = append(o.commits, c)
	return o.Store.Commit(ctx, origin, c)
}

// live opens a zone with serial 1 whose store is an obstacle.
func live(t *testing.T, spec Spec) (*Zone, *obstacle) {
	t.Helper()
	spec.Origin = origin
	if spec.Path == "" {
		spec.Path = filepath.Join(t.TempDir(), "zone")
	}
	put(t, spec.Path, text(1), 5)
	db := quiet()
	lease := open(t, db, []Spec{spec}, func(Report) {})
	t.Cleanup(lease.Close)
	z := lease.Zones()[0]
	o := &obstacle{Store: z.store.Store}
	z.store.Store = o
	return z, o
}

var host = dnsname.MustParse("host.example.org.")

// add gives an edit that adds an address.
func add(n byte) func(*Edit) error {
	return func(txn *Edit) error {
		_, err := txn.Add(host, rrset.TypeA, 300, string([]byte{192, 0, 2, n}))
		return err
	}
}

func addresses(s *zone.Snapshot) int {
	set, _ := s.Begin().Get(host, rrset.TypeA)
	return set.Len()
}

func TestApply(t *testing.T) {
	z, o := live(t, Spec{History: journal.History{Depth: 10, Octets: 1 << 20}})
	events := feed.NewSubscription(10)
	z.feed.Subscribe(events, "tag")
	before := z.Snapshot()
	made, err := z.Apply(t.Context(), "key.", add(1))
	if err != nil {
		t.Fatal(err)
	}
	change := made.Change
	if !made.Changed || made.Serial != 2 || made.Batch != 1 {
		t.Errorf("result %+v", made)
	}
	if change.From != 1 || change.To != 2 || change.Who != "key." || time.Since(change.When) > time.Minute || len(change.Added) != 2 {
		t.Errorf("change %+v", change)
	}
	if serial(z) != 2 || addresses(z.Snapshot()) != 1 || addresses(before) != 0 {
		t.Errorf("serial %d, %d addresses, before %d", serial(z), addresses(z.Snapshot()), addresses(before))
	}
	e, err := events.Next(t.Context())
	if err != nil || e.Tag != "tag" || e.Snapshot != z.Snapshot() || len(e.Changes) != 1 || e.Changes[0].To != 2 {
		t.Errorf("event %+v, %v", e, err)
	}
	for c, err := range z.Changes(t.Context(), 1, 2) {
		if err != nil || c.Who != "key." || c.To != 2 {
			t.Errorf("history: %+v, %v", c, err)
		}
	}
	if made, err := z.Apply(t.Context(), "key.", add(1)); err != nil || !made.Change.IsEmpty() || made.Changed || made.Serial != 2 || serial(z) != 2 || len(o.commits) != 1 {
		t.Errorf("an edit that changes nothing: %+v, %v, serial %d, %d commits", made, err, serial(z), len(o.commits))
	}
	if _, err := z.Apply(t.Context(), "key.", func(txn *Edit) error { return txn.SetSerial(10) }); err != nil || serial(z) != 10 {
		t.Errorf("serial %d, %v", serial(z), err)
	}
	if _, err := z.Apply(t.Context(), "key.", func(txn *Edit) error { return txn.SetSerial(9) }); err != nil || serial(z) != 11 {
		t.Errorf("a serial that is not later: %d, %v", serial(z), err)
	}
}

// TestApplyJoinsWhoWaits: while one commit is being written, all who come make
// the next, and each gets its own result.
func TestApplyJoinsWhoWaits(t *testing.T) {
	z, o := live(t, Spec{Options: zonefile.Options{MaxRecords: 13}})
	reached, gate := make(chan struct{}), make(chan struct{})
	var first sync.Once
	o.before = func(journal.Commit) error {
		first.Do(func() { close(reached); <-gate })
		return nil
	}
	refused := errors.New("refused")
	var wg sync.WaitGroup
	errs, made := make([]error, 16), make([]Result, 16)
	apply := func(i int, edit func(*Edit) error) {
		wg.Go(func() { made[i], errs[i] = z.Apply(t.Context(), fmt.Sprint("key", i%2), edit) })
	}
	apply(0, add(100))
	<-reached
	for i := 1; i < len(errs); i++ {
		edit := add(byte(i))
		switch i {
		case 3:
			edit = func(txn *Edit) error {
				txn.RemoveSet(host, rrset.TypeA)
				return refused
			}
		case 4:
			edit = func(txn *Edit) error {
				txn.RemoveSet(origin, rrset.TypeSOA)
				return nil
			}
		}
		apply(i, edit)
	}
	eventually(t, "the queue", func() bool {
		z.queueMu.Lock()
		defer z.queueMu.Unlock()
		return len(z.queue) == len(errs)-1
	})
	if addresses(z.Snapshot()) != 0 {
		t.Error("visible before it is durable")
	}
	close(gate)
	wg.Wait()
	// 3 records at first, 13 allowed: 10 addresses fit, one of them in the first commit.
	var full int
	for i, err := range errs {
		switch {
		case i == 3 && !errors.Is(err, refused), i == 4 && !errors.Is(err, zone.ErrNoSOA):
			t.Errorf("edit %d: %v", i, err)
		case i == 3 || i == 4:
		case errors.Is(err, ErrRecords):
			full++
		case err != nil:
			t.Errorf("edit %d: %v", i, err)
		}
	}
	if full != 4 || addresses(z.Snapshot()) != 10 {
		t.Errorf("%d found the zone full, %d addresses", full, addresses(z.Snapshot()))
	}
	batches, serials := 0, make(map[zone.Serial]bool)
	for _, r := range made {
		batches += r.Batch
		if r.Changed {
			serials[r.Serial] = true
		}
	}
	if batches != len(errs) || len(serials) != 10 || serial(z) != 11 { // one for each message: RFC 2136 §3.6
		t.Errorf("%d edits in batches, %d serials, the last %d", batches, len(serials), serial(z))
	}
	if last := o.commits[len(o.commits)-1]; len(o.commits) != 2 || last.Change.Who != "key0 key1" && last.Change.Who != "key1 key0" {
		t.Errorf("%d commits, the last by %q", len(o.commits), last.Change.Who)
	}
}

func TestApplyWithoutRoomOnTheDisk(t *testing.T) {
	z, o := live(t, Spec{})
	before := z.Snapshot()
	o.before = func(journal.Commit) error { return syscall.ENOSPC }
	if _, err := z.Apply(t.Context(), "", add(1)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if z.Snapshot() != before {
		t.Error("visible without being durable")
	}
	o.before = nil
	if _, err := z.Apply(t.Context(), "", add(1)); err != nil || serial(z) != 2 {
		t.Errorf("afterwards: %v, serial %d", err, serial(z))
	}
}

// TestApplyConflict: another writer got there first; the edit is made again on
// its version.
func TestApplyConflict(t *testing.T) {
	z, o := live(t, Spec{})
	other := func() {
		state, err := o.Load(t.Context(), origin)
		if err != nil {
			t.Fatal(err)
		}
		txn := state.Snapshot.Begin()
		if err := errors.Join(add(50)(&Edit{Txn: txn}), txn.SetSerial(state.Snapshot.Serial().Next())); err != nil {
			t.Fatal(err)
		}
		next, change, err := txn.Commit()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Store.Commit(t.Context(), origin, journal.Commit{Base: state.Revision, Next: next, Change: change}); err != nil {
			t.Fatal(err)
		}
	}
	var once sync.Once
	o.before = func(journal.Commit) error { once.Do(other); return nil }
	if _, err := z.Apply(t.Context(), "", add(1)); err != nil {
		t.Fatal(err)
	}
	if serial(z) != 3 || addresses(z.Snapshot()) != 2 {
		t.Errorf("serial %d, %d addresses", serial(z), addresses(z.Snapshot()))
	}
	o.before = func(journal.Commit) error { return journal.ErrConflict }
	if _, err := z.Apply(t.Context(), "", add(2)); !errors.Is(err, journal.ErrConflict) {
		t.Errorf("conflicts without end: %v", err)
	}
}

func TestApplyBounds(t *testing.T) {
	z, o := live(t, Spec{})
	reached, gate := make(chan struct{}), make(chan struct{})
	var first sync.Once
	o.before = func(journal.Commit) error {
		first.Do(func() { close(reached); <-gate })
		return nil
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := z.Apply(t.Context(), "", add(1)); err != nil {
			t.Error(err)
		}
	})
	<-reached
	ctx, cancel := context.WithCancel(t.Context())
	for range maxQueue {
		wg.Go(func() {
			if _, err := z.Apply(ctx, "", add(2)); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	eventually(t, "a full queue", func() bool {
		z.queueMu.Lock()
		defer z.queueMu.Unlock()
		return len(z.queue) == maxQueue
	})
	if _, err := z.Apply(ctx, "", add(3)); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	cancel()
	eventually(t, "all to give up", func() bool {
		z.queueMu.Lock()
		defer z.queueMu.Unlock()
		return len(z.queue) == 0
	})
	close(gate)
	wg.Wait()
	if _, err := z.Apply(t.Context(), "", add(4)); err != nil {
		t.Error(err)
	}
	if n := addresses(z.Snapshot()); n != 2 {
		t.Errorf("%d addresses: those who gave up were heard", n)
	}
}

func TestApplyToAZoneThatIsNotLoaded(t *testing.T) {
	db := quiet()
	lease := open(t, db, []Spec{{Origin: origin, Path: filepath.Join(t.TempDir(), "zone")}}, func(Report) {})
	defer lease.Close()
	if _, err := lease.Zones()[0].Apply(t.Context(), "", add(1)); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("got %v", err)
	}
}

// TestReadersDoNotWait reads while a commit is held up.
func TestReadersDoNotWait(t *testing.T) {
	z, o := live(t, Spec{})
	reached, gate := make(chan struct{}), make(chan struct{})
	o.before = func(journal.Commit) error { close(reached); <-gate; return nil }
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := z.Apply(t.Context(), "", add(1)); err != nil {
			t.Error(err)
		}
	})
	<-reached
	if serial(z) != 1 {
		t.Error("visible before it is durable")
	}
	for _, err := range z.Changes(t.Context(), 1, 1) {
		t.Error(err)
	}
	close(gate)
	wg.Wait()
}

// TestApplyPanics: an edit that panics harms nobody who comes later.
func TestApplyPanics(t *testing.T) {
	z, _ := live(t, Spec{})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		_, err := z.Apply(t.Context(), "", func(*Edit) error { panic("edit") })
		t.Errorf("Apply gave %v", err)
	}()
	if made, err := z.Apply(t.Context(), "", add(1)); err != nil || !made.Changed {
		t.Errorf("%+v, %v", made, err)
	}
}
