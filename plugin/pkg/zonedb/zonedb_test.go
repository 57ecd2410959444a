package zonedb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/goleak"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	never = time.Hour // for registries whose watch is not under test
	soon  = 5 * time.Millisecond
)

var origin = dnsname.MustParse("example.org.")

// text is a zone with that serial.
func text(serial int) string {
	return fmt.Sprintf("@ 300 IN SOA ns hostmaster %d 7200 3600 1209600 300\n@ 300 NS ns\nns 300 A 192.0.2.53\n", serial)
}

const broken = "@ 300 IN SOA ns hostmaster one 7200 3600 1209600 300\n"

// quiet gives a registry that looks at files only when a test says so.
func quiet() *DB {
	db := New(never)
	db.events = func() (*fsnotify.Watcher, error) { return nil, syscall.EMFILE }
	return db
}

// put writes a file that was last changed a minute times age ago, so that
// versions differ whatever the clock of the file system.
func put(t *testing.T, path, content string, age int) {
	t.Helper()
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(-time.Duration(age) * time.Minute)
	if err := os.Chtimes(temp, then, then); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, path); err != nil {
		t.Fatal(err)
	}
}

// reports collects what a registry reports.
type reports struct {
	mu   sync.Mutex
	list []Report
}

func (r *reports) add(n Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, n)
}

func (r *reports) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.list)
}

func (r *reports) last(t *testing.T) Report {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == 0 {
		t.Fatal("nothing was reported")
	}
	return r.list[len(r.list)-1]
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("%s did not happen", what)
		case <-tick.C:
		}
	}
}

// open opens zones for the owner "server".
func open(t *testing.T, db *DB, specs []Spec, report func(Report)) *Lease {
	t.Helper()
	return openFor(t, db, "server", specs, report)
}

func openFor(t *testing.T, db *DB, owner string, specs []Spec, report func(Report)) *Lease {
	t.Helper()
	lease, err := db.Open(owner, specs, Hooks{Loaded: report})
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

// look looks at the files of all zones.
func look(t *testing.T, db *DB, patient bool) {
	t.Helper()
	if err := firstOf(db.lookAt(db.Zones(), patient)); err != nil {
		t.Fatal(err)
	}
}

func serial(z *Zone) zone.Serial {
	if s := z.Snapshot(); s != nil {
		return s.Serial()
	}
	return 0
}

func TestOpenSharesAndDoesNotReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	put(t, path, text(1), 5)
	var rs reports
	db := quiet()
	old := open(t, db, []Spec{{Origin: origin, Path: path}}, rs.add)
	next := open(t, db, []Spec{{Origin: origin, Path: path}}, rs.add)
	if old.Zones()[0] != next.Zones()[0] {
		t.Error("the second lease has another zone")
	}
	if n := rs.len(); n != 1 {
		t.Errorf("the file was read %d times", n)
	}
	old.Close()
	old.Close()
	if got := db.Zones(); len(got) != 1 || serial(got[0]) != 1 {
		t.Errorf("after the first lease ended the registry has %d zones", len(got))
	}
	next.Close()
	if got := db.Zones(); len(got) != 0 {
		t.Errorf("after both ended the registry has %d zones", len(got))
	}
}

func TestOpenReadsWhatHasChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	put(t, path, text(1), 5)
	var rs reports
	db := quiet()
	specs := []Spec{{Origin: origin, Path: path}}
	old := open(t, db, specs, rs.add)
	defer old.Close()
	put(t, path, text(2), 4)
	next := open(t, db, specs, rs.add)
	defer next.Close()
	if got := serial(next.Zones()[0]); got != 2 {
		t.Errorf("serial %d", got)
	}
	r := rs.last(t)
	if r.Previous == nil || r.Previous.Serial() != 1 || r.Snapshot.Serial() != 2 || r.Err != nil {
		t.Errorf("reported %+v", r)
	}
}

func TestBrokenFileKeepsTheLastGoodVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	put(t, path, text(1), 5)
	var rs reports
	db := quiet()
	specs := []Spec{{Origin: origin, Path: path}}
	old := open(t, db, specs, rs.add)
	put(t, path, broken, 4)
	next := open(t, db, specs, rs.add)
	defer next.Close()
	old.Close()
	z := next.Zones()[0]
	if got := serial(z); got != 1 {
		t.Errorf("serial %d in service", got)
	}
	r := rs.last(t)
	if r.Err == nil || z.Err() == nil || r.Snapshot == nil || r.Snapshot != r.Previous {
		t.Errorf("reported %+v, zone says %v", r, z.Err())
	}
	var at *zonefile.Error
	if !errors.As(r.Err, &at) || at.File != path || at.Line != 1 {
		t.Errorf("the error names no place: %v", r.Err)
	}
	again := open(t, db, specs, rs.add)
	defer again.Close()
	if rs.len() != 2 {
		t.Errorf("one failure was reported %d times", rs.len()-1)
	}
	put(t, path, text(3), 3)
	mended := open(t, db, specs, rs.add)
	defer mended.Close()
	if serial(z) != 3 || z.Err() != nil {
		t.Errorf("mended: serial %d, error %v", serial(z), z.Err())
	}
}

func TestBrokenFileAtFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	var rs reports
	db := New(soon)
	lease := open(t, db, []Spec{{Origin: origin, Path: path}}, rs.add)
	defer lease.Close()
	z := lease.Zones()[0]
	if z.Snapshot() != nil || z.Err() == nil || !errors.Is(z.Err(), os.ErrNotExist) {
		t.Fatalf("missing file: %v", z.Err())
	}
	put(t, path, broken, 5)
	eventually(t, "the second report", func() bool { return rs.len() == 2 })
	if z.Snapshot() != nil || z.Err() == nil {
		t.Fatalf("broken file: %v", z.Err())
	}
	put(t, path, text(1), 4)
	eventually(t, "the load of the mended file", func() bool { return serial(z) == 1 })
	if z.Err() != nil {
		t.Error(z.Err())
	}
}

func TestWatchReadsAnEditedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	put(t, path, text(1), 5)
	db := New(soon)
	lease := open(t, db, []Spec{{Origin: origin, Path: path}}, func(Report) {})
	defer lease.Close()
	z := lease.Zones()[0]
	first := z.Snapshot()
	put(t, path, text(2), 4)
	eventually(t, "the load of the edited file", func() bool { return serial(z) == 2 })
	if first.Serial() != 1 {
		t.Error("the version before has changed")
	}
}

func TestWatchReadsAnEditedInclude(t *testing.T) {
	dir := t.TempDir()
	path, included := filepath.Join(dir, "zone"), filepath.Join(dir, "hosts")
	put(t, path, text(1)+"$INCLUDE hosts\n", 5)
	put(t, included, "a 300 A 192.0.2.1\n", 5)
	db := New(soon)
	lease := open(t, db, []Spec{{Origin: origin, Path: path}}, func(Report) {})
	defer lease.Close()
	z := lease.Zones()[0]
	if n := z.Snapshot().Records(); n != 4 {
		t.Fatalf("%d records", n)
	}
	put(t, included, "a 300 A 192.0.2.1\nb 300 A 192.0.2.2\n", 4)
	eventually(t, "the load of the edited include", func() bool { return z.Snapshot().Records() == 5 })
}

func TestWatchWaitsUntilAFileSettles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	put(t, path, text(1), 5)
	db := quiet()
	db.settle = 0 // two looks will do
	lease := open(t, db, []Spec{{Origin: origin, Path: path}}, func(Report) {})
	defer lease.Close()
	z := lease.Zones()[0]
	lookFor := func(want zone.Serial) {
		t.Helper()
		look(t, db, true)
		if got := serial(z); got != want {
			t.Errorf("serial %d, want %d", got, want)
		}
	}
	put(t, path, text(2), 4) // left alone for minutes
	lookFor(2)
	put(t, path, text(3), -1) // from the future, so it may be changing
	lookFor(2)
	put(t, path, text(4), -2)
	lookFor(2)
	put(t, path, text(4), -2) // the same, but for the inode
	lookFor(2)
	lookFor(4)
	lookFor(4)
	put(t, path, text(5), -3)
	lookFor(4)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	lookFor(4)
	if z.Err() != nil {
		t.Error("another file had no time to come in the place of the missing one")
	}
	lookFor(4)
	if z.Err() == nil {
		t.Error("a missing file was not looked for")
	}
}

// TestFreshFileIsReadAgain: a file changed at the time it was read may change
// once more without a trace in its modification time.
func TestFreshFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	put(t, path, text(1), 0)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	db := quiet()
	lease := open(t, db, []Spec{{Origin: origin, Path: path}}, func(Report) {})
	defer lease.Close()
	f, err := os.OpenFile(path, os.O_WRONLY, 0) // same inode, same size, same time
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text(2)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	look(t, db, false)
	if got := serial(lease.Zones()[0]); got != 2 {
		t.Errorf("serial %d", got)
	}
}

// TestIncludeEditedDuringALoad: an included file is looked at after the load, and
// what was changed since the load began may not have been read.
func TestIncludeEditedDuringALoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	put(t, path, text(1), 0)
	put(t, path, text(1), 60) // but the inode is changed now
	now := time.Now()
	for name, tc := range map[string]struct {
		began, modified time.Time
		racy            bool
	}{
		"changed before":         {now.Add(time.Minute), now.Add(-time.Hour), false},
		"changed during":         {now.Add(-time.Second), now, true},
		"renamed during":         {now.Add(-time.Second), now.Add(-time.Hour), true},
		"changed in the future":  {now.Add(time.Minute), now.Add(time.Hour), false},
		"changed just before it": {now.Add(clockStep / 2), now, true},
	} {
		if err := os.Chtimes(path, tc.modified, tc.modified); err != nil {
			t.Fatal(err)
		}
		if s := take(path, tc.began); s.Racy != tc.racy {
			t.Errorf("%s: racy is %v", name, s.Racy)
		}
	}
}

func TestUnreadableFileIsTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone") // a folder: unreadable for root, too
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	var rs reports
	db := quiet()
	lease := open(t, db, []Spec{{Origin: origin, Path: path}}, rs.add)
	defer lease.Close()
	z := lease.Zones()[0]
	if z.Err() == nil || !z.retry {
		t.Fatalf("error %v, retry %v", z.Err(), z.retry)
	}
	for range 3 {
		look(t, db, true)
	}
	if rs.len() != 1 {
		t.Errorf("one failure was reported %d times", rs.len())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	put(t, path, text(1), 5)
	look(t, db, true)
	if got := serial(z); got != 1 {
		t.Errorf("serial %d", got)
	}
}

func TestOtherOptionsDoNotTakeAwayWhatIsServed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	put(t, path, text(1)+"mx 300 MX 10 nowhere\n", 5)
	db := quiet()
	var rs reports
	old := open(t, db, []Spec{{Origin: origin, Path: path}}, rs.add)
	if n := len(rs.last(t).Warnings); n != 1 {
		t.Fatalf("%d warnings", n)
	}
	next := openFor(t, db, "next", []Spec{{Origin: origin, Path: path, Options: zonefile.Options{Strict: true}}}, rs.add)
	defer next.Close()
	old.Close()
	z := next.Zones()[0]
	if serial(z) != 1 || z.Err() == nil {
		t.Errorf("serial %d, error %v", serial(z), z.Err())
	}
	if r := rs.last(t); r.Snapshot == nil || !strings.Contains(r.Err.Error(), "nowhere") {
		t.Errorf("reported %+v", r)
	}
}

func TestDifferentPathsAreDifferentZones(t *testing.T) {
	dir := t.TempDir()
	inside, outside := filepath.Join(dir, "inside"), filepath.Join(dir, "outside")
	put(t, inside, text(1), 5)
	put(t, outside, broken, 5)
	db := quiet()
	lease := open(t, db, []Spec{{Origin: origin, Path: inside}, {Origin: origin, Path: outside}}, func(Report) {})
	defer lease.Close()
	if z := lease.Zones(); serial(z[0]) != 1 || z[1].Snapshot() != nil {
		t.Errorf("serials %d and %d", serial(z[0]), serial(z[1]))
	}
}

func TestManyZonesManyUsers(t *testing.T) {
	dir := t.TempDir()
	var specs []Spec
	for i := range 50 {
		path := filepath.Join(dir, fmt.Sprint(i))
		put(t, path, text(i+1), 5)
		specs = append(specs, Spec{Origin: origin, Path: path})
	}
	var rs reports
	db := New(soon)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				lease := open(t, db, specs, rs.add)
				for i, z := range lease.Zones() {
					if serial(z) != zone.Serial(i+1) {
						t.Errorf("zone %d has serial %d", i, serial(z))
					}
				}
				lease.Close()
			}
		})
	}
	wg.Wait()
	if n := len(db.Zones()); n != 0 {
		t.Errorf("%d zones are left", n)
	}
}
