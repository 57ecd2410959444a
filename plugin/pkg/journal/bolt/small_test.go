package bolt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/journaltest"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// small settings make steps of a few owners large ones, and files small.
var small = settings{
	format: format, upgrades: upgrades,
	limits: limits{owners: 30, octets: 64 << 10, part: 500, growth: 1 << 14, group: 60 << 10, half: 4 * block, waiting: 7},
}

// direct are small settings without a log: steps are written to the file.
var direct = func() settings {
	d := small
	d.limits.half = 0
	return d
}()

// OpenSmall is Open with small settings.
func OpenSmall(dir string) (*Store, error) { return open(dir, small) }

// WriteSynced is what the log is written by.
var WriteSynced = writeSynced

func openSmall(t testing.TB, dir string) *Store { return openWith(t, dir, small) }

func openWith(t testing.TB, dir string, with settings) *Store {
	t.Helper()
	s, err := open(dir, with)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// dump writes down all that a store holds, or the errors that it gives instead.
func dump(s *Store) string {
	ctx := context.Background()
	var b strings.Builder
	var origins []string
	for o, err := range s.List(ctx) {
		if err != nil {
			fmt.Fprintln(&b, "list:", err)
			continue
		}
		origins = append(origins, string(o))
	}
	slices.Sort(origins)
	for _, o := range origins {
		b.WriteString(dumpZone(s, o))
	}
	return b.String()
}

func dumpZone(s *Store, o string) string {
	ctx := context.Background()
	var b strings.Builder
	st, err := s.Load(ctx, dnsname.Name(o))
	fmt.Fprintf(&b, "zone %q revision %d, history of %d octets, %v\n", o, st.Revision, s.HistorySize(dnsname.Name(o)), err)
	if err != nil {
		return b.String()
	}
	for _, name := range slices.Sorted(maps.Keys(st.Notes)) {
		fmt.Fprintf(&b, "note %q: %q\n", name, st.Notes[name])
	}
	for set := range st.Snapshot.All() {
		fmt.Fprintf(&b, "%q %v %v\n", string(set.Owner), set.RRset, set.Sigs)
	}
	// The whole history, from its first serial.
	var from, to zone.Serial
	err = s.read(ctx, dnsname.Name(o), func(tx *bbolt.Tx, v *view) error {
		from, to = v.serial, v.serial
		if v.first == v.next {
			return nil
		}
		list, err := v.changes(tx, v.first, v.first+1)
		if err == nil {
			from = list[0].From
		}
		return err
	})
	if err != nil {
		fmt.Fprintln(&b, "history:", err)
		return b.String()
	}
	for c, err := range s.Changes(ctx, dnsname.Name(o), from, to) {
		fmt.Fprintf(&b, "change %d %d %q %v %v %v %v\n", c.From, c.To, c.Who, c.When, c.Removed, c.Added, err)
	}
	return b.String()
}

// advance makes the next version of a zone and tries to commit it.
func advance(t testing.TB, s *Store, st *journal.State, edit func(*zone.Txn) error) error {
	t.Helper()
	next, c := journaltest.Change(t, st.Snapshot, st.Snapshot.Serial()+1, edit)
	rev, err := s.Commit(context.Background(), st.Snapshot.Origin(), journal.Commit{
		Base: st.Revision, Next: next, Change: c, Keep: journal.History{Depth: 8, Octets: 1 << 20},
	})
	if err == nil {
		st.Revision, st.Snapshot = rev, next
	}
	return err
}

// begin puts a zone into a store.
func begin(t testing.TB, s *Store, origin dnsname.Name, hosts int) *journal.State {
	t.Helper()
	snap := journaltest.NewZone(t, origin, 1, hosts)
	rev, err := s.Commit(context.Background(), origin, journal.Commit{Next: snap})
	if err != nil {
		t.Fatal(err)
	}
	return &journal.State{Revision: rev, Snapshot: snap}
}

// goesOn looks that a store holds that, and takes commits, now and after it was
// opened again.
func goesOn(t *testing.T, s *Store, st *journal.State, want string) {
	t.Helper()
	if got := dump(s); got != want {
		t.Fatalf("found\n%s\nwant\n%s", got, want)
	}
	for i := range 5 {
		if err := advance(t, s, st, journaltest.AddText(journaltest.Origin, i, fmt.Sprint("goes on ", st.Revision))); err != nil {
			t.Fatal(err)
		}
	}
	want = dump(s)
	closeStore(t, s)
	s = openSmall(t, filepath.Dir(s.path))
	if got := dump(s); got != want {
		t.Fatalf("opened again: found\n%s\nwant\n%s", got, want)
	}
	if err := advance(t, s, st, nil); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// writeFile writes a file in place: some file systems sync one that was cut to
// nothing before, and that takes its time.
func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, written := f.WriteAt(b, 0)
	if err := errors.Join(written, f.Truncate(int64(len(b))), f.Close()); err != nil {
		t.Fatal(err)
	}
}
