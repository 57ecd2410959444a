package zonedb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
)

// folderLog collects what a folder tells.
type folderLog struct {
	mu     sync.Mutex
	told   int // how often Changed was called
	zones  []*Zone
	failed []string
}

func (l *folderLog) changed(zones []*Zone) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told++
	l.zones = zones
}

func (l *folderLog) fail(path string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, filepath.Base(path)+": "+err.Error())
}

// list gives the zones by name and serial.
func (l *folderLog) list() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var s []string
	for _, z := range l.zones {
		s = append(s, fmt.Sprint(z.Spec().Origin, serial(z)))
	}
	return strings.Join(s, " ")
}

func folderSpec(dir string, l *folderLog) FolderSpec {
	return FolderSpec{Dir: dir, Pattern: "*.zone", Changed: l.changed, Failed: l.fail}
}

// openFolder opens a folder in a registry that looks when the test says so.
func openFolder(t *testing.T, spec FolderSpec, l *folderLog) *Folder {
	t.Helper()
	db := quiet()
	db.settle = 0
	f, err := db.OpenFolder("server", spec, Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		nothing(t, db)
	})
	if l.told == 0 {
		t.Error("nobody was told of the zones at first")
	}
	return f
}

// see looks at the folder and its zones, and wants these to be there.
func (f *Folder) see(t *testing.T, l *folderLog, want string) {
	t.Helper()
	f.look()
	look(t, f.db, true)
	if got := l.list(); got != want {
		t.Errorf("zones %q, want %q", got, want)
	}
	var held []string
	for _, z := range f.Zones() {
		held = append(held, fmt.Sprint(z.Spec().Origin, serial(z)))
	}
	slices.Sort(held)
	if names := strings.Fields(want); !slices.Equal(held, slices.Sorted(slices.Values(names))) {
		t.Errorf("the lease has %q, want %q", held, want)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestFolderFilesComeAndGo(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put(t, at("example.org.zone"), text(1), 50)
	put(t, at(".hidden.example.zone"), text(1), 50)
	put(t, at("readme.txt"), "not a zone", 50)
	put(t, at(".zone"), "no name", 50)
	var l folderLog
	f := openFolder(t, folderSpec(dir, &l), &l)
	f.see(t, &l, "example.org.1")
	if l.told != 1 {
		t.Errorf("told %d times of the same zones", l.told)
	}
	put(t, at("example.net.zone"), text(2), 40)
	f.see(t, &l, "example.net.2 example.org.1")
	put(t, at("example.org.zone"), text(3), 30)
	f.see(t, &l, "example.net.2 example.org.3")
	remove(t, at("example.org.zone"))
	f.see(t, &l, "example.net.2 example.org.3")
	f.see(t, &l, "example.net.2")
	put(t, at("example.org.zone"), text(1), 20)
	f.see(t, &l, "example.net.2 example.org.1")

	// A file that goes and comes back is the zone it was.
	z := f.Zones()[0]
	remove(t, at("example.net.zone"))
	f.see(t, &l, "example.net.2 example.org.1")
	put(t, at("example.net.zone"), text(4), 10)
	f.see(t, &l, "example.net.4 example.org.1")
	f.see(t, &l, "example.net.4 example.org.1")
	if !slices.Contains(f.Zones(), z) {
		t.Error("the zone was taken away for a moment")
	}
	if len(l.failed) != 0 {
		t.Errorf("failed: %q", l.failed)
	}
}

func TestFolderLeavesNewFilesAlone(t *testing.T) {
	dir := t.TempDir()
	var l folderLog
	f := openFolder(t, folderSpec(dir, &l), &l)
	f.db.settle = time.Hour
	path := filepath.Join(dir, "example.org.zone")
	put(t, path, text(1), 0)
	f.see(t, &l, "")
	f.see(t, &l, "")
	if !f.changing() {
		t.Error("nobody would look again soon")
	}
	put(t, path, text(2), 100)
	f.see(t, &l, "example.org.2")
	if f.changing() || len(f.coming) != 0 {
		t.Errorf("waits for %v", f.coming)
	}
	remove(t, path)
	f.see(t, &l, "example.org.2")
	f.see(t, &l, "example.org.2")
	f.db.settle = 0
	f.see(t, &l, "")

	put(t, path, text(3), -60) // from the future
	f.see(t, &l, "")
	f.see(t, &l, "example.org.3")
	remove(t, path)
	put(t, filepath.Join(dir, "example.net.zone"), text(1), -60)
	f.see(t, &l, "example.org.3")
	remove(t, filepath.Join(dir, "example.net.zone")) // before it was one
	f.see(t, &l, "")
	if len(f.coming) != 0 {
		t.Errorf("waits for %v", f.coming)
	}
}

func TestFolderFilesAreRenamed(t *testing.T) {
	for _, kept := range []bool{false, true} {
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		put(t, at("example.org.zone"), text(1), 50)
		put(t, at("example.net.zone"), text(7), 50)
		var l folderLog
		spec := folderSpec(dir, &l)
		spec.Zone.History = journal.History{Depth: 10, Octets: 1 << 20}
		if kept {
			spec.Zone.Store = filepath.Join(t.TempDir(), "store")
		}
		f := openFolder(t, spec, &l)
		rename := func(from, to string) {
			t.Helper()
			if err := os.Rename(at(from), at(to)); err != nil {
				t.Fatal(err)
			}
		}
		rename("example.net.zone", "example.com.zone")
		f.see(t, &l, "example.com.7 example.net.7 example.org.1")
		f.see(t, &l, "example.com.7 example.org.1")

		// Another spelling is the same zone.
		z := f.members[at("example.org.zone")]
		rename("example.org.zone", "Example.ORG..zone")
		put(t, at("Example.ORG..zone"), text(2), 40)
		f.see(t, &l, "example.com.7 example.org.1")
		f.see(t, &l, "example.org.2 example.com.7") // in the order of the paths
		f.see(t, &l, "example.org.2 example.com.7")
		again := f.members[at("Example.ORG..zone")]
		if kept && (again != z || len(history(t, z, 1, 2)) != 1 || z.Spec().Path != at("Example.ORG..zone")) {
			t.Errorf("the zone in the store is another: %+v", again.Spec())
		}
		if len(again.leases) != 1 || len(l.failed) != 0 {
			t.Errorf("%d leases, failed %q", len(again.leases), l.failed)
		}
	}
}

func TestFolderTwoSpellings(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put(t, at("EXAMPLE.org.zone"), text(1), 50)
	put(t, at("example.org.zone"), text(2), 50)
	var l folderLog
	f := openFolder(t, folderSpec(dir, &l), &l)
	f.see(t, &l, "example.org.1")
	if len(l.failed) != 1 || !strings.HasPrefix(l.failed[0], "example.org.zone: zone example.org. has another file already") {
		t.Errorf("failed: %q", l.failed)
	}
	remove(t, at("EXAMPLE.org.zone"))
	f.see(t, &l, "example.org.1")
	f.see(t, &l, "example.org.2")
	put(t, at("EXAMPLE.org.zone"), text(3), 40) // the first is the one that is there
	f.see(t, &l, "example.org.2")
	if len(l.failed) != 2 || !strings.HasPrefix(l.failed[1], "EXAMPLE.org.zone: ") {
		t.Errorf("failed: %q", l.failed)
	}
}

func TestFolderNames(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	long := strings.Repeat("a", 64)
	for _, name := range []string{
		"db.example.org", "db.example.net.", "db.xn--bcher-kva.example", "db.1.168.192.in-addr.arpa", `db.a\.b.example`,
		"db.bücher.example", "db.a b.example", "db.a..b", "db." + long, "db.refused.example", "db.", "xdb.example", "example.db",
	} {
		put(t, at(name), text(1), 50)
	}
	var l folderLog
	spec := folderSpec(dir, &l)
	spec.Pattern = "db.*"
	spec.Accept = func(n dnsname.Name) error {
		if n == dnsname.MustParse("refused.example.") {
			return errors.New("not here")
		}
		return nil
	}
	f := openFolder(t, spec, &l)
	f.see(t, &l, `1.168.192.in-addr.arpa.1 a\.b.example.1 example.net.1 example.org.1 xn--bcher-kva.example.1`)
	f.see(t, &l, l.list())
	slices.Sort(l.failed)
	for i, want := range []string{
		`db.a b.example: "a b.example" is not the name of a zone`, `db.a..b: "a..b" is not the name`, "db." + long + `: "aaa`,
		`db.bücher.example: "bücher.example" is not the name of a zone: write characters beyond ASCII as an A-label`, "db.refused.example: not here",
	} {
		if i >= len(l.failed) || !strings.HasPrefix(l.failed[i], want) {
			t.Errorf("failed %q, want %q", l.failed, want)
		}
	}
	if len(l.failed) != 5 {
		t.Errorf("failed: %q", l.failed)
	}
	remove(t, at("db.a b.example"))
	f.see(t, &l, l.list())
	put(t, at("db.a b.example"), text(1), 40)
	f.see(t, &l, l.list())
	if len(l.failed) != 6 {
		t.Errorf("a file that came again: %q", l.failed)
	}
}

func TestFolderBrokenFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "example.org.zone")
	put(t, path, broken, 50)
	put(t, filepath.Join(dir, "example.net.zone"), text(1), 50)
	var l folderLog
	var rs reports
	db := quiet()
	f, err := db.OpenFolder("server", folderSpec(dir, &l), Hooks{Loaded: rs.add})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.see(t, &l, "example.net.1 example.org.0")
	if z := f.members[path]; z.Snapshot() != nil || z.Err() == nil {
		t.Errorf("error %v", z.Err())
	}
	put(t, path, text(1), 40)
	f.see(t, &l, "example.net.1 example.org.1")
	if rs.len() != 3 || len(l.failed) != 0 {
		t.Errorf("%d reports, failed %q", rs.len(), l.failed)
	}
}

func TestFolderThatCannotBeRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "zones")
	var l folderLog
	f := openFolder(t, folderSpec(dir, &l), &l)
	f.see(t, &l, "")
	if len(l.failed) != 1 || !strings.HasPrefix(l.failed[0], "zones: ") {
		t.Errorf("failed: %q", l.failed)
	}
	fill := func() {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "example.org.zone"), text(1), 50)
	}
	fill()
	f.see(t, &l, "example.org.1")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		f.see(t, &l, "example.org.1")
	}
	if len(l.failed) != 2 {
		t.Errorf("failed: %q", l.failed)
	}
	fill()
	f.see(t, &l, "example.org.1")
	if err := f.members[filepath.Join(dir, "example.org.zone")].Err(); err != nil {
		t.Error(err)
	}
}

// TestFolderAndConflicts: a zone that another folder of the same instance has, with
// other settings, keeps none of the others out.
func TestFolderAndConflicts(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	store := filepath.Join(t.TempDir(), "store")
	put(t, filepath.Join(one, "example.org.zone"), text(1), 50)
	put(t, filepath.Join(two, "example.org.zone"), text(2), 50)
	put(t, filepath.Join(two, "example.net.zone"), text(2), 50)
	var a, b folderLog
	spec := folderSpec(one, &a)
	spec.Zone.Store = store
	f := openFolder(t, spec, &a)
	spec = folderSpec(two, &b)
	spec.Zone.Store = store
	other, err := f.db.OpenFolder("server", spec, Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.see(t, &b, "example.net.2")
	if len(b.failed) != 1 || !strings.Contains(b.failed[0], "is there twice, with different settings") {
		t.Errorf("failed: %q", b.failed)
	}
	f.see(t, &a, "example.org.1")
}

// TestFolderAndDamage: a zone that the store has damaged ends the start, but keeps
// no others out later.
func TestFolderAndDamage(t *testing.T) {
	dir := t.TempDir()
	var l folderLog
	spec := folderSpec(dir, &l)
	spec.Zone.Store = filepath.Join(t.TempDir(), "store")
	f := openFolder(t, spec, &l)
	s := f.store
	s.Store = damaged{s.Store}
	put(t, filepath.Join(dir, "example.org.zone"), text(1), 50)
	put(t, filepath.Join(dir, "example.net.zone"), text(1), 50)
	f.see(t, &l, "example.net.1")
	f.see(t, &l, "example.net.1")
	if len(l.failed) != 1 || !strings.Contains(l.failed[0], "zone example.org.: "+journal.ErrCorrupt.Error()) {
		t.Errorf("failed: %q", l.failed)
	}
	if _, err := f.db.OpenFolder("next", spec, Hooks{}); !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("start: %v", err)
	}
	s.Store = s.Store.(damaged).Store
	f.see(t, &l, "example.net.1 example.org.1")
}

func TestFolderClosedWhileItIsLookedAt(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "example.org.zone"), text(1), 50)
	var l folderLog
	f := openFolder(t, folderSpec(dir, &l), &l)
	entered, gate := make(chan struct{}), make(chan struct{})
	f.Accept = func(dnsname.Name) error {
		close(entered)
		<-gate
		return nil
	}
	put(t, filepath.Join(dir, "example.net.zone"), text(1), 50)
	var wg sync.WaitGroup
	wg.Go(func() { f.look() })
	<-entered
	wg.Go(f.Close)
	eventually(t, "the lease to end", func() bool {
		f.db.mu.Lock()
		defer f.db.mu.Unlock()
		return len(f.db.leases) == 0
	})
	close(gate)
	wg.Wait()
	told := l.told
	f.look()
	if l.told != told || len(l.failed) != 0 {
		t.Errorf("told %d times, then %d; failed %q", told, l.told, l.failed)
	}
	nothing(t, f.db)
}

// TestFolderOfManyZones: there are as many goroutines as with one zone.
func TestFolderOfManyZones(t *testing.T) {
	const many = 10_000
	dir := t.TempDir()
	for i := range many {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("z%d.example.zone", i)), []byte(text(i+1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var l folderLog
	spec := folderSpec(dir, &l)
	spec.Zone.Store = filepath.Join(t.TempDir(), "store")
	before := runtime.NumGoroutine()
	var most int
	var mu sync.Mutex
	start := time.Now()
	db := New(never)
	f, err := db.OpenFolder("server", spec, Hooks{Loaded: func(Report) {
		mu.Lock()
		defer mu.Unlock()
		most = max(most, runtime.NumGoroutine()-before)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	t.Logf("%d zones in %v", many, time.Since(start))
	for _, z := range l.zones {
		if want := strings.TrimPrefix(strings.TrimSuffix(z.Spec().Origin.String(), ".example."), "z"); fmt.Sprint(serial(z)-1) != want {
			t.Errorf("%s has serial %d", z.Spec().Origin, serial(z))
		}
	}
	if n := runtime.NumGoroutine() - before; len(l.zones) != many || n > 10 || most > maxLooks+10 {
		t.Errorf("%d zones, %d goroutines, %d while they were loaded", len(l.zones), n, most)
	}
	start = time.Now()
	again, err := db.OpenFolder("next", spec, Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	again.Close()
	nothing(t, db)
	t.Logf("reloaded and closed in %v", time.Since(start))
}

// damaged is a store in which example.org is damaged.
type damaged struct{ journal.Store }

func (d damaged) Load(ctx context.Context, o dnsname.Name) (journal.State, error) {
	if o == origin {
		return journal.State{}, journal.ErrCorrupt
	}
	return d.Store.Load(ctx, o)
}
