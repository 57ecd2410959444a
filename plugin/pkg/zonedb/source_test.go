package zonedb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/feed"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

const (
	www    = "www 300 A 192.0.2.80\n"
	signed = "@ 300 RRSIG SOA 13 2 300 20301231000000 20300101000000 12345 example.org. c2lnbmF0dXJl\n"
)

// TestEdits edits the file of a zone that has serial 5 in the file and in service.
func TestEdits(t *testing.T) {
	for name, tc := range map[string]struct {
		file    string
		first   string      // the file before, if it is not serial 5
		serial  zone.Serial // afterwards
		steps   int         // of history from serial 5
		lowered bool
		silent  bool // nothing is reported
	}{
		"higher serial":                   {file: text(9) + www, serial: 9, steps: 1},
		"higher serial and nothing else":  {file: text(9), serial: 9, steps: 1},
		"the same serial":                 {file: text(5) + www, serial: 6, steps: 1},
		"lower serial":                    {file: text(3) + www, serial: 6, steps: 1},
		"lower serial and nothing else":   {file: text(3), serial: 5, lowered: true},
		"serial across the wrap":          {first: text(4294967295), file: text(0) + www, serial: 0, steps: 1},
		"the same serial before the wrap": {first: text(4294967295), file: text(4294967295) + www, serial: 1, steps: 1},
		"only a comment":                  {file: text(5) + "; nothing\n", serial: 5, silent: true},
		"only the order":                  {first: text(5) + www, file: "www 300 A 192.0.2.80\n" + text(5), serial: 5, silent: true},
		"only letter case":                {first: text(5) + www, file: text(5) + "WWW 300 A 192.0.2.80\n", serial: 5, silent: true},
		"a TTL":                           {first: text(5) + www, file: text(5) + "www 60 A 192.0.2.80\n", serial: 6, steps: 1},
		"signed with a higher serial":     {first: text(5) + signed, file: text(6) + signed + www, serial: 6, steps: 1},
		"signed with the same serial":     {first: text(5) + signed, file: text(5) + signed + www, serial: 5, steps: -1},
		"signed with a lower serial":      {first: text(5) + signed, file: text(4) + signed + www, serial: 4, steps: -1},
		"the SOA record but for its serial": {
			file: "@ 60 IN SOA ns hostmaster 5 7200 3600 1209600 300\n@ 300 NS ns\nns 300 A 192.0.2.53\n", serial: 6, steps: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "zone")
			if tc.first == "" {
				tc.first = text(5)
			}
			put(t, path, tc.first, 50)
			var rs reports
			db := quiet()
			lease := open(t, db, []Spec{{Origin: origin, Path: path, History: journal.History{Depth: 10, Octets: 1 << 20}}}, rs.add)
			defer lease.Close()
			z := lease.Zones()[0]
			before := z.Snapshot()
			put(t, path, tc.file, 40)
			look(t, db, true)
			if serial(z) != tc.serial || z.Err() != nil {
				t.Errorf("serial %d, want %d; error %v", serial(z), tc.serial, z.Err())
			}
			r := rs.last(t)
			switch {
			case tc.silent:
				if rs.len() != 1 || z.Snapshot() != before {
					t.Errorf("reported %+v", r)
				}
			case rs.len() != 2, r.Previous != before, r.Snapshot != z.Snapshot(), r.Lowered != tc.lowered, r.Err != nil:
				t.Errorf("%d reports, the last %+v", rs.len(), r)
			}
			if tc.steps < 0 {
				for _, err := range z.Changes(t.Context(), 1, tc.serial) {
					if !errors.Is(err, journal.ErrTrimmed) {
						t.Errorf("history: %v", err)
					}
				}
			} else if h := history(t, z, before.Serial(), tc.serial); len(h) != tc.steps {
				t.Errorf("history %+v", h)
			}
			put(t, path, tc.file, 30) // touched
			look(t, db, true)
			if n := rs.len(); tc.silent && n != 1 || !tc.silent && n != 2 || serial(z) != tc.serial {
				t.Errorf("touched: %d reports, the last %+v", n, rs.last(t))
			}
		})
	}
}

// TestLoweredIsToldForEachSerial: but once.
func TestLoweredIsToldForEachSerial(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	put(t, path, text(5), 50)
	var rs reports
	db := quiet()
	lease := open(t, db, []Spec{{Origin: origin, Path: path}}, rs.add)
	defer lease.Close()
	for i, step := range []struct{ serial, reports int }{{4, 2}, {4, 2}, {3, 3}, {5, 3}, {4, 4}} {
		put(t, path, text(step.serial), 40-i)
		look(t, db, true)
		if rs.len() != step.reports || serial(lease.Zones()[0]) != 5 {
			t.Errorf("step %d: %d reports, serial %d", i, rs.len(), serial(lease.Zones()[0]))
		}
	}
}

func TestSerialPolicies(t *testing.T) {
	for name, tc := range map[string]struct {
		policy zone.SerialPolicy
		first  int
		after  func(zone.Serial) bool
	}{
		"increment": {zone.Increment, 5, func(s zone.Serial) bool { return s == 6 }},
		"unixtime": {zone.UnixTime, 5, func(s zone.Serial) bool {
			return time.Since(time.Unix(int64(s), 0)).Abs() < time.Hour
		}},
		"unixtime from the future": {zone.UnixTime, 3000000000, func(s zone.Serial) bool { return s == 3000000001 }},
		"date": {zone.Date, 5, func(s zone.Serial) bool {
			day, err := time.Parse("20060102", fmt.Sprint(s/100))
			return err == nil && time.Since(day).Abs() < 48*time.Hour
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "zone")
			put(t, path, text(tc.first), 50)
			db := quiet()
			lease := open(t, db, []Spec{{Origin: origin, Path: path, Serial: tc.policy}}, func(Report) {})
			defer lease.Close()
			z := lease.Zones()[0]
			put(t, path, text(tc.first)+www, 40)
			look(t, db, true)
			if !tc.after(serial(z)) {
				t.Errorf("by the file: serial %d", serial(z))
			}
			before := serial(z)
			if _, err := z.Apply(t.Context(), "", add(1)); err != nil || !serial(z).After(before) {
				t.Errorf("by a change: serial %d after %d, %v", serial(z), before, err)
			}
		})
	}
}

// TestOtherInode: size and time of modification are those of before.
func TestOtherInode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	put(t, path, text(1), 50)
	then := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
	db := quiet()
	db.settle = 0
	lease := open(t, db, []Spec{{Origin: origin, Path: path}}, func(Report) {})
	defer lease.Close()
	z := lease.Zones()[0]
	calm(t, db, z)
	temp := path + ".temp"
	if err := os.WriteFile(temp, []byte(text(2)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(temp, then, then); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, path); err != nil {
		t.Fatal(err)
	}
	look(t, db, true)
	if serial(z) != 2 {
		t.Errorf("serial %d", serial(z))
	}
}

// TestLoadWithoutRoomOnTheDisk: the disk is full while an edited file is taken over.
func TestLoadWithoutRoomOnTheDisk(t *testing.T) {
	var rs reports
	spec := Spec{Path: filepath.Join(t.TempDir(), "zone")}
	z, o := live(t, spec)
	next := openFor(t, z.db, "next", []Spec{z.Spec()}, rs.add)
	defer next.Close()
	before := z.Snapshot()
	o.before = func(journal.Commit) error { return syscall.ENOSPC }
	put(t, spec.Path, text(2), 4)
	for range 3 {
		look(t, z.db, true)
	}
	if z.Snapshot() != before || !errors.Is(z.Err(), syscall.ENOSPC) {
		t.Errorf("serial %d, error %v", serial(z), z.Err())
	}
	if r := rs.last(t); rs.len() != 1 || !errors.Is(r.Err, syscall.ENOSPC) || r.Snapshot != before {
		t.Errorf("%d reports, the last %+v", rs.len(), r)
	}
	o.before = nil
	look(t, z.db, true)
	if serial(z) != 2 || z.Err() != nil {
		t.Errorf("with room: serial %d, error %v", serial(z), z.Err())
	}
	if r := rs.last(t); rs.len() != 2 || r.Err != nil || r.Snapshot.Serial() != 2 {
		t.Errorf("with room: %d reports, the last %+v", rs.len(), r)
	}
}

// TestRetryLeavesAFileAlone: that the last load failed is no reason to read what
// is being written.
func TestRetryLeavesAFileAlone(t *testing.T) {
	spec := Spec{Path: filepath.Join(t.TempDir(), "zone")}
	z, o := live(t, spec)
	o.before = func(journal.Commit) error { return syscall.ENOSPC }
	put(t, spec.Path, text(2), 4)
	look(t, z.db, true)
	o.before = nil
	z.db.settle = time.Hour
	put(t, spec.Path, text(3), 0)
	for range 3 {
		look(t, z.db, true)
	}
	if serial(z) != 1 || !z.changing() {
		t.Errorf("serial %d", serial(z))
	}
	z.db.settle = time.Nanosecond
	look(t, z.db, true)
	if serial(z) != 3 || z.changing() {
		t.Errorf("left alone: serial %d", serial(z))
	}
}

// TestLoadConflict: another writer got there first.
func TestLoadConflict(t *testing.T) {
	spec := Spec{Path: filepath.Join(t.TempDir(), "zone"), History: journal.History{Depth: 10, Octets: 1 << 20}}
	z, o := live(t, spec)
	first := true
	o.before = func(journal.Commit) error {
		if !first {
			return nil
		}
		first = false
		state, err := o.Load(t.Context(), origin)
		if err != nil {
			return err
		}
		txn := state.Snapshot.Begin()
		if err := errors.Join(add(50)(&Edit{Txn: txn}), txn.SetSerial(7)); err != nil {
			return err
		}
		next, change, err := txn.Commit()
		if err != nil {
			return err
		}
		_, err = o.Store.Commit(t.Context(), origin, journal.Commit{Base: state.Revision, Next: next, Change: change, Keep: spec.History})
		return err
	}
	put(t, spec.Path, text(2)+www, 4)
	look(t, z.db, true)
	if serial(z) != 8 || addresses(z.Snapshot()) != 0 || z.Err() != nil || len(history(t, z, 1, 8)) != 2 {
		t.Errorf("serial %d, %d addresses, error %v", serial(z), addresses(z.Snapshot()), z.Err())
	}
	o.before = func(journal.Commit) error { // somebody has deleted it
		o.before = nil
		if err := o.Delete(t.Context(), origin); err != nil {
			return err
		}
		return journal.ErrConflict
	}
	put(t, spec.Path, text(9)+www, 3)
	look(t, z.db, true)
	state, err := o.Load(t.Context(), origin)
	if serial(z) != 9 || z.Err() != nil || err != nil || state.Snapshot.Serial() != 9 {
		t.Errorf("deleted: serial %d, error %v; in the store %v, %v", serial(z), z.Err(), state.Snapshot, err)
	}
}

func TestHistoryIsTrimmed(t *testing.T) {
	for name, keep := range map[string]journal.History{
		"by depth":  {Depth: 3, Octets: 1 << 20},
		"by octets": {Depth: 1000, Octets: 1000},
	} {
		z, _ := live(t, Spec{History: keep})
		for i := range 20 {
			if _, err := z.Apply(t.Context(), "key.", add(byte(i))); err != nil {
				t.Fatal(err)
			}
		}
		kept := 0
		for from := range zone.Serial(21) {
			for _, err := range z.Changes(t.Context(), from, 21) {
				if err != nil {
					if !errors.Is(err, journal.ErrTrimmed) {
						t.Errorf("%s: from %d: %v", name, from, err)
					}
					kept = 0
					break
				}
				kept = max(kept, int(21-from))
			}
		}
		if n := z.HistorySize(); n == 0 || n > keep.Octets || kept == 0 || kept > keep.Depth || kept > 15 {
			t.Errorf("%s: %d changesets, %d octets", name, kept, n)
		}
		none := z.Spec()
		none.History = journal.History{}
		lease := openFor(t, z.db, "next", []Spec{none}, func(Report) {})
		if _, err := z.Apply(t.Context(), "key.", add(100)); err != nil {
			t.Fatal(err)
		}
		if n := z.HistorySize(); n != 0 {
			t.Errorf("%s: without a history %d octets", name, n)
		}
		lease.Close()
	}
}

// event gives the next event, which must come.
func event(t *testing.T, s *feed.Subscription) feed.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	e, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestEvents: each version is announced, the first too, and when it is, it is
// visible and durable.
func TestEvents(t *testing.T) {
	spec := stored(t)
	next := func(s *feed.Subscription, z *Zone, want zone.Serial, changes int) {
		t.Helper()
		e := event(t, s)
		if e.Tag != any(z) || e.Snapshot.Serial() != want || len(e.Changes) != changes || z.Snapshot() != e.Snapshot {
			t.Errorf("event %+v, want serial %d", e, want)
		}
		if state, err := z.store.Load(t.Context(), origin); err != nil || state.Snapshot.Serial() != want {
			t.Errorf("in the store: %+v, %v", state, err)
		}
	}
	for restarted := range 2 {
		db := quiet()
		events := feed.NewSubscription(10)
		var z *Zone
		lease, err := db.Open("server", []Spec{spec}, Hooks{Events: events, Committed: func(_ time.Duration, err error) {
			if z == nil {
				return
			}
			state, loadErr := z.store.Load(t.Context(), origin)
			if err != nil || loadErr != nil || state.Snapshot.Serial() != serial(z).Next() {
				t.Errorf("durable is not before visible: %v, %v, %v", err, loadErr, state.Snapshot)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		z = lease.Zones()[0]
		base := serial(z)
		if base != zone.Serial(1+2*restarted) {
			t.Fatalf("serial %d", base)
		}
		next(events, z, base, 0)
		if _, err := z.Apply(t.Context(), "key.", add(byte(base))); err != nil {
			t.Fatal(err)
		}
		next(events, z, base+1, 1)
		put(t, spec.Path, text(int(base)+2), 40-restarted)
		look(t, db, true)
		next(events, z, base+2, 1)
		lease.Close()
		if _, err := events.Next(t.Context()); !errors.Is(err, feed.ErrClosed) {
			t.Errorf("after the lease: %v", err)
		}
	}
}

// TestEventsAfterAConflict: what another writer did is not part of any change that
// is announced.
func TestEventsAfterAConflict(t *testing.T) {
	z, o := live(t, Spec{})
	events := feed.NewSubscription(10)
	z.feed.Subscribe(events, z)
	o.before = func(journal.Commit) error {
		o.before = nil
		return journal.ErrConflict
	}
	if _, err := z.Apply(t.Context(), "", add(1)); err != nil {
		t.Fatal(err)
	}
	if e := event(t, events); e.Snapshot.Serial() != 2 || e.Changes != nil {
		t.Errorf("event %+v", e)
	}
}

func TestLimitOfRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	put(t, path, text(1), 50)
	db := quiet()
	lease := open(t, db, []Spec{{Origin: origin, Path: path, Options: zonefile.Options{MaxRecords: 3}}}, func(Report) {})
	defer lease.Close()
	z := lease.Zones()[0]
	put(t, path, text(2)+www, 40)
	look(t, db, true)
	if serial(z) != 1 || z.Err() == nil {
		t.Errorf("serial %d, error %v", serial(z), z.Err())
	}
}

// TestFileGoesWhileItIsRead: this is no error until it has been gone for a while.
func TestFileGoesWhileItIsRead(t *testing.T) {
	spec := Spec{Path: filepath.Join(t.TempDir(), "zone")}
	z, _ := live(t, spec)
	for range cap(z.db.slots) {
		z.db.slots <- struct{}{}
	}
	put(t, spec.Path, text(2), 4)
	looked := make(chan []error)
	go func() { looked <- z.db.lookAt([]*Zone{z}, false) }()
	eventually(t, "the load", func() bool {
		free := z.fileMu.TryLock()
		if free {
			z.fileMu.Unlock()
		}
		return !free
	})
	remove(t, spec.Path)
	for range cap(z.db.slots) {
		<-z.db.slots
	}
	if err := firstOf(<-looked); err != nil || z.Err() != nil || !z.changing() {
		t.Errorf("errors %v, %v", err, z.Err())
	}
	look(t, z.db, false)
	if z.Err() != nil || !z.changing() {
		t.Errorf("error %v", z.Err())
	}
	z.db.settle = 0
	look(t, z.db, true)
	if z.Err() == nil || serial(z) != 1 || z.changing() {
		t.Errorf("gone for good: error %v, serial %d", z.Err(), serial(z))
	}
}
