package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/journaltest"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// work does a bit of everything with a store: zones come, change, become large,
// have notes, go and come back.
func work(t *testing.T, s *Store) {
	t.Helper()
	ctx := context.Background()
	a := begin(t, s, journaltest.Origin, 12)
	b := begin(t, s, "\x01b\x00", 20)
	many := func(remove bool) func(*zone.Txn) error {
		return func(txn *zone.Txn) error {
			for i := range 50 {
				owner := journaltest.Host("\x01b\x00", i+20)
				if remove {
					txn.RemoveName(owner)
				} else if _, err := txn.Add(owner, rrset.TypeTXT, 1, "\x01x"); err != nil {
					return err
				}
			}
			return nil
		}
	}
	note := func(n journal.Notes) {
		rev, err := s.Commit(ctx, journaltest.Origin, journal.Commit{Base: a.Revision, Next: a.Snapshot, Notes: n, Keep: journal.History{Depth: 8, Octets: 1 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		a.Revision = rev
	}
	for i := range 12 {
		if err := advance(t, s, a, journaltest.AddText(journaltest.Origin, i, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		var edit func(*zone.Txn) error
		switch i {
		case 2, 9:
			edit = many(false)
		case 5:
			edit = many(true)
		case 7:
			note(journal.Notes{"first": []byte("note"), "long": make([]byte, 9000)})
		case 8:
			note(journal.Notes{"first": nil, "other": {}})
		}
		if err := advance(t, s, b, edit); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(ctx, "\x01b\x00"); err != nil {
		t.Fatal(err)
	}
	begin(t, s, "\x01b\x00", 100)
	begin(t, s, "\x01c\x00", 1)
	if err := s.Delete(ctx, "\x01c\x00"); err != nil {
		t.Fatal(err)
	}
}

// TestCrash has the machine stop in the midst of each transaction of a store, in
// thousands of ways. What is found is what was there before, or after it.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	s := openWith(t, dir, direct)
	var writes []journaltest.Write
	pageSize := os.Getpagesize()
	s.commit = func(tx *bbolt.Tx) error {
		w := journaltest.Write{Before: readFile(t, s.path), PageSize: pageSize, Last: func(p int) bool { return p < 2 }}
		err := tx.Commit()
		w.After = readFile(t, s.path)
		writes = append(writes, w)
		return err
	}
	work(t, s)

	crashed := t.TempDir()
	path := filepath.Join(crashed, fileName)
	look := func(state []byte) string {
		writeFile(t, path, state)
		c, err := open(crashed, small)
		if err != nil {
			return err.Error()
		}
		defer closeStore(t, c)
		return dump(c)
	}
	r := rand.New(rand.NewPCG(1, 1))
	states := 0
	for i, w := range writes {
		before, after := look(w.Before), look(w.After)
		n := 80
		if testing.Short() || raced {
			n = 20
		}
		for state, done := range w.States(r, n) {
			want := before
			if done {
				want = after
			}
			if got := look(state); got != want {
				t.Fatalf("transaction %d of %d, done: %v: found\n%s\nwant\n%s", i, len(writes), done, got, want)
			}
			if states++; states%40 == 0 {
				goOn(t, crashed)
			}
		}
	}
	t.Logf("%d states of %d transactions", states, len(writes))
}

// goOn commits to a store after a crash, and looks that this holds.
func goOn(t *testing.T, dir string) {
	t.Helper()
	s := openSmall(t, dir)
	s.mu.Lock()
	origin, r := dnsname.Name(""), record{}
	for origin, r = range s.zones {
		break
	}
	s.mu.Unlock()
	if r.revision == 0 {
		begin(t, s, journaltest.Origin, 50)
	} else {
		st, err := s.Load(context.Background(), origin)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := advance(t, s, &st, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := dump(s)
	closeStore(t, s)
	s = openSmall(t, dir)
	if got := dump(s); got != want {
		t.Fatalf("after a crash and more: found\n%s\nwant\n%s", got, want)
	}
	closeStore(t, s)
}

// TestCrashWhileMade has the machine stop while the file is made.
func TestCrashWhileMade(t *testing.T) {
	made := t.TempDir()
	closeStore(t, openSmall(t, made))
	whole := readFile(t, filepath.Join(made, fileName))
	for _, n := range []int{0, 100, len(whole) / 2, len(whole)} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, tempName), whole[:n])
		s := openSmall(t, dir)
		begin(t, s, journaltest.Origin, 3)
		closeStore(t, s)
		if _, err := os.Stat(filepath.Join(dir, tempName)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after %d octets: %v", n, err)
		}
		// It was moved to its place, and what was beside it is an older try.
		writeFile(t, filepath.Join(dir, tempName), whole[:n])
		s = openSmall(t, dir)
		if got := dump(s); got == "" {
			t.Error("the zone is gone")
		}
		if _, err := os.Stat(filepath.Join(dir, tempName)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after %d octets: %v", n, err)
		}
		closeStore(t, s)
	}
}
