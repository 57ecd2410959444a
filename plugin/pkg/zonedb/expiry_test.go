package zonedb

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/feed"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/memory"
	"github.com/trustdns/trustdns/plugin/pkg/lease"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// The numbers L9 to L18 are those of the cases of leases.

func addressOf(n byte) string { return string([]byte{192, 0, 2, n}) }

// addFor gives an edit that adds an address for that many seconds.
func addFor(n byte, seconds uint32) func(*Edit) error { return addAt(host, n, seconds) }

func addAt(owner dnsname.Name, n byte, seconds uint32) func(*Edit) error {
	return func(e *Edit) error {
		if _, err := e.Add(owner, rrset.TypeA, 300, addressOf(n)); err != nil {
			return err
		}
		if !e.Lease(owner, rrset.TypeA, addressOf(n), seconds) {
			return errors.New("no lease")
		}
		return nil
	}
}

// addToStay gives an edit that adds an address for good.
func addToStay(n byte) func(*Edit) error {
	return func(e *Edit) error {
		_, err := e.Add(host, rrset.TypeA, 300, addressOf(n))
		e.Stay(host, rrset.TypeA, addressOf(n))
		return err
	}
}

func apply(t *testing.T, z *Zone, edit func(*Edit) error) Result {
	t.Helper()
	made, err := z.Apply(t.Context(), "key.", edit)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// in lets virtual time pass until then, and what is due happen.
func in(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// noted gives the leases as they are in the store.
func noted(t *testing.T, s journal.Store) *lease.Table {
	t.Helper()
	state, err := s.Load(t.Context(), origin)
	if err != nil {
		t.Fatal(err)
	}
	table, err := lease.Parse(state.Notes)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// events gives what the zone has published so far, from a subscription made before.
func events(t *testing.T, s *feed.Subscription) (list []feed.Event) {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		e, err := s.Next(ctx)
		cancel()
		if err != nil {
			return list
		}
		list = append(list, e)
	}
}

func subscribed(z *Zone) *feed.Subscription {
	s := feed.NewSubscription(100)
	z.feed.Subscribe(s, z)
	return s
}

// made gives the commits so far, and count how many they are.
func (o *obstacle) made() []journal.Commit {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.commits)
}

func (o *obstacle) count() int { return len(o.made()) }

// disk is a store that outlives the registries that use it, in which commits can
// be made to fail.
type disk struct{ obstacle }

func newDisk() *disk { return &disk{obstacle{Store: memory.New()}} }

func (*disk) Close() error { return nil }

// start opens the zone of the disk in a registry of its own, as a process does
// that starts. Whatever is published goes to the subscription.
func (d *disk) start(t *testing.T) (*Lease, *Zone, *feed.Subscription) {
	t.Helper()
	folder := t.TempDir()
	spec := Spec{Origin: origin, Store: folder, Path: filepath.Join(folder, "zone"), Seed: true, History: journal.History{Depth: 100, Octets: 1 << 20}}
	put(t, spec.Path, text(1), 5)
	db := quiet()
	db.stores[folder] = &store{Store: d, folder: folder}
	s := feed.NewSubscription(100)
	l, err := db.Open("server", []Spec{spec}, Hooks{Events: s})
	if err != nil {
		t.Fatal(err)
	}
	return l, l.Zones()[0], s
}

// L11: a record is there until the last moment of its lease, which ends at the
// first whole second after it.
func TestLeaseEndsOnTime(t *testing.T) {
	for _, after := range []time.Duration{0, 1, 300 * time.Millisecond, time.Second - 1} {
		synctest.Test(t, func(t *testing.T) {
			z, o := live(t, Spec{Seed: true})
			time.Sleep(after)
			end := time.Now().Add(time.Second - 1).Truncate(time.Second).Add(10 * time.Second)
			apply(t, z, addFor(1, 10))
			in(9 * time.Second)
			if addresses(z.Snapshot()) != 1 {
				t.Errorf("%v: gone a second before the end", after)
			}
			in(time.Until(end) - 1)
			if now, ended := z.Leased(); addresses(z.Snapshot()) != 1 || serial(z) != 2 || now != 1 || ended != 0 {
				t.Errorf("%v: gone before the end", after)
			}
			in(1)
			if now, ended := z.Leased(); addresses(z.Snapshot()) != 0 || serial(z) != 3 || now != 0 || ended != 1 {
				t.Errorf("%v: at the end %d addresses, serial %d, %d leases, %d ended", after, addresses(z.Snapshot()), serial(z), now, ended)
			}
			if last := o.made()[o.count()-1]; last.Change.Who != "lease" || noted(t, o).Len() != 0 {
				t.Errorf("%v: by %q, %d leases in the store", after, last.Change.Who, noted(t, o).Len())
			}
		})
	}
}

// L9: who comes again in time makes the lease longer: the serial stays and nobody
// hears of it, but the store does.
func TestLeaseRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z, o := live(t, Spec{Seed: true, History: journal.History{Depth: 10, Octets: 1 << 20}})
		apply(t, z, addFor(1, 10))
		heard, before, commits := subscribed(z), z.Snapshot(), o.count()
		in(8 * time.Second)
		made := apply(t, z, addFor(1, 10))
		if made.Changed || !made.Change.IsEmpty() || made.Serial != 2 || z.Snapshot().Serial() != before.Serial() {
			t.Errorf("result %+v, serial %d", made, serial(z))
		}
		if list := events(t, heard); len(list) > 0 {
			t.Errorf("published: %+v", list)
		}
		if until, _ := noted(t, o).Next(); o.count() != commits+1 || until != time.Now().Unix()+10 {
			t.Errorf("%d commits, noted until %d, now it is %d", o.count()-commits, until, time.Now().Unix())
		}
		if h := history(t, z, 2, 2); len(h) != 0 {
			t.Errorf("in the history: %+v", h)
		}
		in(9 * time.Second)
		if addresses(z.Snapshot()) != 1 {
			t.Error("ended as if nobody had come")
		}
		in(2 * time.Second)
		if addresses(z.Snapshot()) != 0 || serial(z) != 3 {
			t.Errorf("not ended: serial %d", serial(z))
		}
	})
}

// L10: who comes too late registers anew.
func TestLeaseComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z, _ := live(t, Spec{Seed: true})
		apply(t, z, addFor(1, 10))
		in(11 * time.Second)
		made := apply(t, z, addFor(1, 10))
		if !made.Changed || made.Serial != 4 || addresses(z.Snapshot()) != 1 {
			t.Errorf("result %+v, %d addresses", made, addresses(z.Snapshot()))
		}
		in(11 * time.Second)
		if addresses(z.Snapshot()) != 0 {
			t.Error("not ended the second time")
		}
	})
}

// L12: what ends in the same second is one change.
func TestLeasesThatEndTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z, o := live(t, Spec{Seed: true})
		time.Sleep(time.Millisecond) // so that all begin within one second
		for i := range byte(3) {
			apply(t, z, addAt(dnsname.MustParse(fmt.Sprintf("h%d.example.org.", i)), i, 10))
			time.Sleep(100 * time.Millisecond)
		}
		heard, commits, before := subscribed(z), o.count(), serial(z)
		in(12 * time.Second)
		list := events(t, heard)
		if len(list) != 1 || len(list[0].Changes) != 1 || len(list[0].Changes[0].Removed) != 4 {
			t.Errorf("published: %+v", list)
		}
		if o.count() != commits+1 || serial(z) != before.Next() {
			t.Errorf("%d commits, serial %d after %d", o.count()-commits, serial(z), before)
		}
	})
}

// L14: a record that is deleted, in whatever way, takes its lease with it.
func TestLeaseOfADeletedRecord(t *testing.T) {
	for name, remove := range map[string]func(*Edit) error{
		"record": func(e *Edit) error { e.Remove(host, rrset.TypeA, addressOf(1)); return nil },
		"set":    func(e *Edit) error { e.RemoveSet(host, rrset.TypeA); return nil },
		"name":   func(e *Edit) error { e.RemoveName(host); return nil },
		"replaced": func(e *Edit) error {
			set, err := rrset.New(rrset.TypeA, 300, addressOf(9))
			if err == nil {
				_, err = e.Replace(host, set)
			}
			return err
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			z, o := live(t, Spec{Seed: true})
			apply(t, z, addFor(1, 10))
			apply(t, z, remove)
			if now, _ := z.Leased(); now != 0 || noted(t, o).Len() != 0 || z.timer != nil {
				t.Errorf("%s: %d leases, %d in the store, timer %v", name, now, noted(t, o).Len(), z.timer)
			}
			apply(t, z, add(1)) // by somebody who knows nothing of leases
			commits := o.count()
			in(time.Minute)
			if _, ended := z.Leased(); ended != 0 || o.count() != commits || addresses(z.Snapshot()) == 0 {
				t.Errorf("%s: %d ended, %d more commits", name, ended, o.count()-commits)
			}
		})
	}
}

// L15: a restart neither ends a lease nor makes it longer.
func TestLeaseOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		l, z, _ := d.start(t)
		apply(t, z, addFor(1, 100))
		in(40 * time.Second)
		l.Close()
		in(20 * time.Second)
		l, z, _ = d.start(t)
		if now, _ := z.Leased(); now != 1 || addresses(z.Snapshot()) != 1 || serial(z) != 2 {
			t.Errorf("%d leases, %d addresses, serial %d", now, addresses(z.Snapshot()), serial(z))
		}
		in(39 * time.Second)
		if addresses(z.Snapshot()) != 1 {
			t.Error("ended early")
		}
		in(2 * time.Second)
		if addresses(z.Snapshot()) != 0 || serial(z) != 3 {
			t.Errorf("%d addresses, serial %d", addresses(z.Snapshot()), serial(z))
		}
		l.Close()
	})
}

// L15: what ended while nobody ran is gone before anybody sees the zone, and that
// it went is in the history.
func TestLeaseThatEndsWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		l, z, _ := d.start(t)
		apply(t, z, addFor(1, 10))
		apply(t, z, addFor(2, 1000))
		apply(t, z, addToStay(3))
		l.Close()
		in(11 * time.Second)
		l, z, heard := d.start(t)
		for i, e := range events(t, heard) {
			if addresses(e.Snapshot) != 2 {
				t.Errorf("event %d has %d addresses", i, addresses(e.Snapshot))
			}
		}
		if now, ended := z.Leased(); addresses(z.Snapshot()) != 2 || serial(z) != 5 || now != 1 || ended != 1 {
			t.Errorf("%d addresses, serial %d, %d leases, %d ended", addresses(z.Snapshot()), serial(z), now, ended)
		}
		if h := history(t, z, 4, 5); len(h) != 1 || h[0].Who != "lease" || len(h[0].Removed) != 2 {
			t.Errorf("history %+v", h)
		}
		l.Close()
	})
}

// L16: leases run by a clock that goes steadily. The one of the system is an hour
// ahead of it, or behind, as if somebody had set it.
func TestLeaseWhileTheClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			spec := Spec{Origin: origin, Path: filepath.Join(t.TempDir(), "zone"), Seed: true}
			put(t, spec.Path, text(1), 5)
			db := quiet()
			db.began = db.began.Add(by)
			l := open(t, db, []Spec{spec}, func(Report) {})
			defer l.Close()
			z := l.Zones()[0]
			apply(t, z, addFor(1, 10))
			in(9 * time.Second)
			if addresses(z.Snapshot()) != 1 {
				t.Errorf("%v: ended early", by)
			}
			in(2 * time.Second)
			if addresses(z.Snapshot()) != 0 {
				t.Errorf("%v: not ended", by)
			}
		})
	}
}

// L17: what a zone needs has no lease, and neither has what is not there.
func TestRecordsThatHaveNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z, o := live(t, Spec{Seed: true})
		soa := z.Snapshot().SOA()
		ns := string(dnsname.MustParse("ns.example.org."))
		apply(t, z, func(e *Edit) error {
			if e.Lease(origin, rrset.TypeSOA, soa.First(), 1) || e.Lease(origin, rrset.TypeNS, ns, 1) || e.Lease(dnsname.MustParse("EXAMPLE.org."), rrset.TypeNS, ns, 1) {
				t.Error("the apex has a lease")
			}
			if e.Lease(host, rrset.TypeA, addressOf(1), 1) || e.Lease(dnsname.MustParse("example.net."), rrset.TypeA, addressOf(1), 1) {
				t.Error("what is not there has a lease")
			}
			return nil
		})
		if o.count() != 0 {
			t.Errorf("%d commits", o.count())
		}
		apply(t, z, func(e *Edit) error { return errors.Join(addAt(origin, 1, 1)(e), addFor(1, 1)(e)) }) // an address of the apex may go
		in(3 * time.Second)
		if _, ended := z.Leased(); ended != 2 || serial(z) != 3 {
			t.Errorf("%d ended, serial %d", ended, serial(z))
		}
	})
}

// L18: of several clients the last one decides, for longer or for shorter.
func TestLeaseOfTheLastClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z, _ := live(t, Spec{Seed: true})
		apply(t, z, addFor(1, 10))
		apply(t, z, addFor(1, 100))
		in(90 * time.Second)
		if addresses(z.Snapshot()) != 1 {
			t.Error("the first client's end")
		}
		apply(t, z, addFor(1, 1000))
		apply(t, z, addFor(1, 5))
		in(6 * time.Second)
		if addresses(z.Snapshot()) != 0 {
			t.Error("not the last client's end")
		}
	})
}

func TestStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z, o := live(t, Spec{Seed: true})
		apply(t, z, addFor(1, 10))
		if made := apply(t, z, addToStay(1)); made.Changed || noted(t, o).Len() != 0 {
			t.Errorf("result %+v, %d leases in the store", made, noted(t, o).Len())
		}
		commits := o.count()
		apply(t, z, addToStay(1))
		in(time.Minute)
		if addresses(z.Snapshot()) != 1 || o.count() != commits {
			t.Errorf("%d addresses, %d more commits", addresses(z.Snapshot()), o.count()-commits)
		}
	})
}

// TestLeasesInOneBatch: edits that are made one commit see each other's leases, and
// an edit that fails takes its own back.
func TestLeasesInOneBatch(t *testing.T) {
	refused := errors.New("refused")
	remove := func(e *Edit) error { e.Remove(host, rrset.TypeA, addressOf(1)); return nil }
	failing := func(edit func(*Edit) error) func(*Edit) error {
		return func(e *Edit) error {
			if err := edit(e); err != nil {
				return err
			}
			return refused
		}
	}
	for name, tc := range map[string]struct {
		edits []func(*Edit) error
		stays bool
	}{
		"deleted, and added to stay":           {[]func(*Edit) error{remove, addToStay(1)}, true},
		"deleted, and added by one who cannot": {[]func(*Edit) error{remove, add(1)}, true},
		"deleted, and added with a lease":      {[]func(*Edit) error{addToStay(1), remove, addFor(1, 5)}, false},
		"to stay, and then not":                {[]func(*Edit) error{addToStay(1), addFor(1, 5)}, false},
		"a failure to stay":                    {[]func(*Edit) error{failing(addToStay(1))}, false},
		"a failure to delete":                  {[]func(*Edit) error{failing(remove)}, false},
		"a failure to lease for longer":        {[]func(*Edit) error{failing(addFor(1, 1000))}, false},
		"a failure to lease what stays":        {[]func(*Edit) error{addToStay(1), failing(addFor(1, 5))}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			z, o := live(t, Spec{Seed: true})
			apply(t, z, addFor(1, 20))
			gate := make(chan struct{})
			var once sync.Once
			o.mu.Lock()
			o.before = func(journal.Commit) error { once.Do(func() { <-gate }); return nil }
			o.mu.Unlock()
			var wg sync.WaitGroup
			wg.Go(func() { apply(t, z, add(99)) })
			synctest.Wait()
			batches := 0
			for _, edit := range tc.edits {
				wg.Go(func() {
					made, err := z.Apply(t.Context(), "", edit)
					if err != nil && !errors.Is(err, refused) {
						t.Errorf("%s: %v", name, err)
					}
					if made.Batch > 0 && made.Batch != len(tc.edits) {
						t.Errorf("%s: a batch of %d", name, made.Batch)
					}
				})
				batches++
				synctest.Wait()
			}
			close(gate)
			wg.Wait()
			in(25 * time.Second)
			if left := addresses(z.Snapshot()) - 1; left != 0 != tc.stays {
				t.Errorf("%s: %d addresses are left", name, left)
			}
			if now, _ := z.Leased(); now != 0 || noted(t, o).Len() != 0 {
				t.Errorf("%s: %d leases, %d in the store", name, now, noted(t, o).Len())
			}
		})
	}
}

// TestLeaseEndsWithoutRoom: the disk is full when a lease ends. It is tried again
// until it goes, and other changes end the lease as well.
func TestLeaseEndsWithoutRoom(t *testing.T) {
	for name, other := range map[string]bool{"alone": false, "with another change": true} {
		synctest.Test(t, func(t *testing.T) {
			z, o := live(t, Spec{Seed: true})
			apply(t, z, addFor(1, 10))
			var tries atomic.Int64
			full := func(journal.Commit) error { tries.Add(1); return syscall.ENOSPC }
			o.mu.Lock()
			o.before = full
			o.mu.Unlock()
			in(10*time.Second + 3*retryTime + time.Second)
			if now, ended := z.Leased(); tries.Load() < 3 || tries.Load() > 5 || addresses(z.Snapshot()) != 1 || now != 1 || ended != 0 || serial(z) != 2 {
				t.Errorf("%s: %d tries, %d addresses, %d leases, %d ended, serial %d", name, tries.Load(), addresses(z.Snapshot()), now, ended, serial(z))
			}
			o.mu.Lock()
			o.before = nil
			o.mu.Unlock()
			want := zone.Serial(3)
			if other {
				if made := apply(t, z, add(7)); made.Serial != 4 {
					t.Errorf("%s: serial %d", name, made.Serial)
				}
				want = 4
			} else {
				in(retryTime)
			}
			if _, ended := z.Leased(); addresses(z.Snapshot()) != int(want-3) || serial(z) != want || ended != 1 {
				t.Errorf("%s: %d addresses, serial %d, %d ended", name, addresses(z.Snapshot()), serial(z), ended)
			}
			commits := o.count()
			in(time.Minute)
			if o.count() != commits {
				t.Errorf("%s: %d commits that nobody has asked for", name, o.count()-commits)
			}
		})
	}
}

// TestRestartWithoutRoom: a zone whose leases cannot be ended at the start is served
// as it is, and they end when there is room.
func TestRestartWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		l, z, _ := d.start(t)
		apply(t, z, addFor(1, 10))
		apply(t, z, addFor(2, 100))
		l.Close()
		in(11 * time.Second)
		var tries atomic.Int64
		d.before = func(journal.Commit) error { tries.Add(1); return syscall.ENOSPC }
		l, z, _ = d.start(t)
		if now, _ := z.Leased(); z.Snapshot() == nil || addresses(z.Snapshot()) != 2 || now != 2 {
			t.Fatalf("snapshot %v, %d leases", z.Snapshot(), now)
		}
		in(time.Second)
		d.mu.Lock()
		d.before = nil
		d.mu.Unlock()
		in(2 * retryTime)
		if now, ended := z.Leased(); tries.Load() < 2 || addresses(z.Snapshot()) != 1 || now != 1 || ended != 1 || serial(z) != 4 {
			t.Errorf("%d tries, %d addresses, %d leases, %d ended, serial %d", tries.Load(), addresses(z.Snapshot()), now, ended, serial(z))
		}
		in(90 * time.Second)
		if addresses(z.Snapshot()) != 0 {
			t.Error("the other lease has not ended")
		}
		l.Close()
	})
}

// TestManyLeasesEnd: however many end at once, no commit has more than a bound, and
// none is forgotten. At a start all go in one step, before the zone is seen.
func TestManyLeasesEnd(t *testing.T) {
	many := func(e *Edit) error {
		for i := range 2*maxDue + 1 {
			if err := addAt(dnsname.MustParse(fmt.Sprintf("h%d.example.org.", i)), byte(i), 10)(e); err != nil {
				return err
			}
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		l, z, _ := d.start(t)
		apply(t, z, many)
		commits := d.count()
		in(11 * time.Second)
		if now, ended := z.Leased(); now != 0 || ended != 2*maxDue+1 || z.Snapshot().Records() != 3 || d.count()-commits != 3 || serial(z) != 5 {
			t.Errorf("%d leases, %d ended, %d records, %d commits, serial %d", now, ended, z.Snapshot().Records(), d.count()-commits, serial(z))
		}
		apply(t, z, many)
		l.Close()
		in(11 * time.Second)
		l, z, _ = d.start(t)
		if now, ended := z.Leased(); now != 0 || ended != 2*maxDue+1 || z.Snapshot().Records() != 3 || serial(z) != 7 {
			t.Errorf("restart: %d leases, %d ended, %d records, serial %d", now, ended, z.Snapshot().Records(), serial(z))
		}
		l.Close()
	})
}

// TestSourceHasNoLeases: a zone that follows its file again has the records of the
// file, and they stay, even those that had leases.
func TestSourceHasNoLeases(t *testing.T) {
	for name, file := range map[string]string{
		"the same":     text(1),
		"without it":   "@ 300 IN SOA ns hostmaster 1 7200 3600 1209600 300\n@ 300 NS ns\n",
		"and with one": text(1) + "host 300 A 192.0.2.1\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			l, z, _ := d.start(t)
			defer l.Close()
			ns := dnsname.MustParse("ns.example.org.")
			apply(t, z, func(e *Edit) error {
				if !e.Lease(ns, rrset.TypeA, addressOf(53), 10) {
					t.Error("no lease of what is in the file")
				}
				return nil
			})
			if name != "the same" {
				apply(t, z, addFor(1, 10))
			}
			spec := z.Spec()
			spec.Seed = false
			put(t, spec.Path, file, 3)
			next := openFor(t, z.db, "next", []Spec{spec}, func(Report) {})
			defer next.Close()
			if now, _ := z.Leased(); now != 0 || noted(t, d).Len() != 0 {
				t.Errorf("%s: %d leases, %d in the store", name, now, noted(t, d).Len())
			}
			before := z.Snapshot()
			in(time.Minute)
			if _, ended := z.Leased(); ended != 0 || z.Snapshot() != before {
				t.Errorf("%s: %d ended", name, ended)
			}
		})
	}
}

// TestCloseWithLeases: nothing runs on behalf of a zone that nobody holds.
func TestCloseWithLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		l, z, _ := d.start(t)
		apply(t, z, addFor(1, 10))
		l.Close()
		if z.timer.Stop() {
			t.Error("the timer runs")
		}
		commits := d.count()
		in(time.Hour)
		if d.count() != commits || addresses(z.Snapshot()) != 1 {
			t.Errorf("%d commits of a zone that is closed", d.count()-commits)
		}

		// Closed just while the lease is being ended, and while that waits to be
		// tried again.
		l, z, _ = d.start(t)
		apply(t, z, addFor(2, 10))
		gate := make(chan struct{})
		d.mu.Lock()
		d.before = func(journal.Commit) error { <-gate; return syscall.ENOSPC }
		d.mu.Unlock()
		in(11 * time.Second)
		closed := make(chan struct{})
		go func() { l.Close(); close(closed) }()
		synctest.Wait()
		close(gate)
		<-closed
		synctest.Wait()
		commits = d.count()
		in(time.Hour)
		if z.timer != nil && z.timer.Stop() {
			t.Error("the timer runs after a close in the middle")
		}
		if d.count() != commits {
			t.Error("commits of a zone that is closed")
		}
	})
}
