package zonedb

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

// stored gives the spec of a zone in a store, with serial 1 in its file.
func stored(t *testing.T) Spec {
	t.Helper()
	dir := t.TempDir()
	spec := Spec{
		Origin: origin, Store: filepath.Join(dir, "store"), Path: filepath.Join(dir, "zone"),
		History: journal.History{Depth: 10, Octets: 1 << 20},
	}
	put(t, spec.Path, text(1), 50)
	return spec
}

// run opens zones in a registry of their own, has them looked at twice, calls f,
// and closes them. It gives what was reported.
func run(t *testing.T, spec Spec, f func(*DB, *Zone)) []Report {
	t.Helper()
	var rs reports
	db := quiet()
	db.settle = 0
	lease := open(t, db, []Spec{spec}, rs.add)
	defer lease.Close()
	look(t, db, true)
	look(t, db, true)
	if f != nil {
		f(db, lease.Zones()[0])
	}
	return rs.list
}

// withoutReading does f while no file can be read: whoever tries waits.
func withoutReading(t *testing.T, db *DB, f func()) {
	t.Helper()
	for range cap(db.slots) {
		db.slots <- struct{}{}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	defer func() {
		for range cap(db.slots) {
			<-db.slots
		}
		<-done
	}()
	eventually(t, "the end without reading a file", func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

// old waits until a file can not change any more without a trace.
func old(t *testing.T, path string) {
	t.Helper()
	eventually(t, "a file that is not racy", func() bool { return !take(path, time.Now()).Racy })
}

// calm looks at a zone until its file can not have changed without a trace.
func calm(t *testing.T, db *DB, z *Zone) {
	t.Helper()
	eventually(t, "a look at a file that is not racy", func() bool {
		look(t, db, true)
		return !z.loaded[0].Racy
	})
}

func history(t *testing.T, z *Zone, from, to zone.Serial) (list []zone.Changeset) {
	t.Helper()
	for c, err := range z.Changes(t.Context(), from, to) {
		if err != nil {
			t.Errorf("changes from %d to %d: %v", from, to, err)
			return nil
		}
		list = append(list, c)
	}
	return list
}

func TestRestartReadsNoFile(t *testing.T) {
	spec := stored(t)
	run(t, spec, func(db *DB, z *Zone) {
		calm(t, db, z)
		if _, err := z.Apply(t.Context(), "key.", add(1)); err != nil {
			t.Fatal(err)
		}
	})
	var rs reports
	db := quiet()
	var lease *Lease
	withoutReading(t, db, func() { lease = open(t, db, []Spec{spec}, rs.add) })
	defer lease.Close()
	z := lease.Zones()[0]
	if r := rs.last(t); rs.len() != 1 || !r.Stored || r.Err != nil || r.Ignored || r.Previous != nil || r.Snapshot != z.Snapshot() || r.File != 1 {
		t.Errorf("%d reports, the last %+v", rs.len(), r)
	}
	if serial(z) != 2 || addresses(z.Snapshot()) != 1 || z.Err() != nil {
		t.Errorf("serial %d, %d addresses, error %v", serial(z), addresses(z.Snapshot()), z.Err())
	}
	if h := history(t, z, 1, 2); len(h) != 1 || h[0].Who != "key." {
		t.Errorf("history %+v", h)
	}
	withoutReading(t, db, func() { look(t, db, false) })
}

func TestRestartWithoutTheFile(t *testing.T) {
	spec := stored(t)
	run(t, spec, nil)
	if err := os.Remove(spec.Path); err != nil {
		t.Fatal(err)
	}
	list := run(t, spec, func(_ *DB, z *Zone) {
		if serial(z) != 1 || !errors.Is(z.Err(), os.ErrNotExist) {
			t.Errorf("serial %d, error %v", serial(z), z.Err())
		}
	})
	if len(list) != 2 || !list[0].Stored || list[0].Err != nil || !errors.Is(list[1].Err, os.ErrNotExist) || list[1].Snapshot == nil {
		t.Errorf("reported %+v", list)
	}
	put(t, spec.Path, text(1), 20)
	list = run(t, spec, func(_ *DB, z *Zone) {
		if serial(z) != 1 || z.Err() != nil {
			t.Errorf("the same file again: serial %d, error %v", serial(z), z.Err())
		}
	})
	if len(list) != 1 {
		t.Errorf("the same file again: reported %+v", list)
	}
}

func TestEditWhileDown(t *testing.T) {
	spec := stored(t)
	run(t, spec, nil)
	put(t, spec.Path, text(1)+"www 300 A 192.0.2.1\n", 20) // and nobody thought of the serial
	list := run(t, spec, func(_ *DB, z *Zone) {
		h := history(t, z, 1, 2)
		if serial(z) != 2 || len(h) != 1 || h[0].Who != "file "+spec.Path || len(h[0].Removed) != 1 || len(h[0].Added) != 2 {
			t.Errorf("serial %d, history %+v", serial(z), h)
		}
	})
	if len(list) != 2 || !list[0].Stored || list[0].Snapshot.Serial() != 1 ||
		list[1].Stored || list[1].Previous.Serial() != 1 || list[1].Snapshot.Serial() != 2 || list[1].File != 1 {
		t.Errorf("reported %+v", list)
	}
	if list = run(t, spec, nil); len(list) != 1 || !list[0].Stored || list[0].Snapshot.Serial() != 2 {
		t.Errorf("once more: reported %+v", list)
	}
}

// TestOtherOptionsWhileDown: what is in the store was read by other rules.
func TestOtherOptionsWhileDown(t *testing.T) {
	spec := stored(t)
	put(t, spec.Path, text(1)+"mx 300 MX 10 nowhere\n", 20)
	old(t, spec.Path)
	run(t, spec, nil)
	spec.Options = zonefile.Options{Strict: true}
	list := run(t, spec, func(_ *DB, z *Zone) {
		if serial(z) != 1 || z.Err() == nil {
			t.Errorf("serial %d, error %v", serial(z), z.Err())
		}
	})
	if len(list) != 2 || list[1].Err == nil {
		t.Errorf("reported %+v", list)
	}
}

// TestRacyFileIsReportedOnce: a file that was written just before the start is read
// again, as it may have changed without a trace; nobody hears of it if it has not.
func TestRacyFileIsReportedOnce(t *testing.T) {
	for _, seed := range []bool{false, true} {
		spec := stored(t)
		spec.Seed = seed
		put(t, spec.Path, text(1), 0)
		db := quiet()
		db.settle = 0
		var rs reports
		lease := open(t, db, []Spec{spec}, rs.add)
		z := lease.Zones()[0]
		look(t, db, false)
		if !seed {
			calm(t, db, z)
		}
		withoutReading(t, db, func() { look(t, db, false) })
		lease.Close()
		if rs.len() != 1 {
			t.Errorf("seed %v: reported %+v", seed, rs.list)
		}
		if list := run(t, spec, nil); len(list) != 1 || list[0].Ignored {
			t.Errorf("seed %v, restarted: reported %+v", seed, list)
		}
	}
}

func TestSeedIsReadOnce(t *testing.T) {
	spec := stored(t)
	spec.Seed = true
	list := run(t, spec, func(db *DB, z *Zone) {
		put(t, spec.Path, text(7), 40)
		look(t, db, false)
		look(t, db, true)
		if serial(z) != 1 || len(z.files()) != 0 || z.changing() {
			t.Errorf("serial %d, files %q", serial(z), z.files())
		}
	})
	if len(list) != 1 || list[0].Ignored {
		t.Errorf("reported %+v", list)
	}
	for range 2 {
		list = run(t, spec, func(db *DB, z *Zone) {
			again := open(t, db, []Spec{spec}, func(r Report) { t.Errorf("a reload reports %+v", r) })
			again.Close()
			if serial(z) != 1 {
				t.Errorf("serial %d", serial(z))
			}
		})
		if len(list) != 1 || !list[0].Stored || !list[0].Ignored || list[0].Err != nil {
			t.Errorf("reported %+v", list)
		}
	}
	if err := os.Remove(spec.Path); err != nil {
		t.Fatal(err)
	}
	if list = run(t, spec, nil); len(list) != 1 || list[0].Ignored || list[0].Err != nil {
		t.Errorf("without the file: reported %+v", list)
	}
}

func TestBrokenSeedIsMended(t *testing.T) {
	spec := stored(t)
	spec.Seed = true
	put(t, spec.Path, broken, 20)
	list := run(t, spec, func(db *DB, z *Zone) {
		if z.Snapshot() != nil || z.Err() == nil || len(z.files()) != 1 {
			t.Fatalf("error %v, files %q", z.Err(), z.files())
		}
		put(t, spec.Path, text(1), 10)
		look(t, db, true)
		look(t, db, true)
		if serial(z) != 1 || z.Err() != nil || len(z.files()) != 0 {
			t.Errorf("serial %d, error %v, files %q", serial(z), z.Err(), z.files())
		}
	})
	if len(list) != 2 {
		t.Errorf("reported %+v", list)
	}
}

// TestSeedBecomesSource: then the file is the truth, whatever was changed since it
// was read as the seed. The other way round, nothing is read.
func TestSeedBecomesSource(t *testing.T) {
	spec := stored(t)
	spec.Seed = true
	old(t, spec.Path)
	run(t, spec, func(_ *DB, z *Zone) {
		if _, err := z.Apply(t.Context(), "key.", add(1)); err != nil {
			t.Fatal(err)
		}
	})
	spec.Seed = false
	run(t, spec, func(db *DB, z *Zone) {
		if addresses(z.Snapshot()) != 0 || serial(z) != 3 {
			t.Errorf("%d addresses, serial %d", addresses(z.Snapshot()), serial(z))
		}
		put(t, spec.Path, broken, 10)
		look(t, db, true)
		if z.Err() == nil {
			t.Error("the broken file was not read")
		}
		spec := spec
		spec.Seed = true
		lease := openFor(t, db, "next", []Spec{spec}, func(r Report) { t.Errorf("reported %+v", r) })
		defer lease.Close()
		if z.Err() != nil || serial(z) != 3 {
			t.Errorf("error %v, serial %d", z.Err(), serial(z))
		}
	})
}
