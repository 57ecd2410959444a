package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/journaltest"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// files are what a store has on the disk.
type files struct{ db, log []byte }

// filesOf reads the files of a store between two writes.
func filesOf(t testing.TB, s *Store) files {
	t.Helper()
	s.disk.Lock()
	defer s.disk.Unlock()
	return readFiles(t, filepath.Dir(s.path))
}

func readFiles(t testing.TB, dir string) files {
	t.Helper()
	f := files{db: readFile(t, filepath.Join(dir, fileName))}
	log, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	f.log = log
	return f
}

// put makes a folder hold the files; no log if it is nil.
func (f files) put(t testing.TB, dir string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, fileName), f.db)
	if f.log != nil {
		writeFile(t, filepath.Join(dir, logName), f.log)
	} else if err := removed(filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
}

// found gives what a store finds in the files, or the error of opening it.
func (f files) found(t testing.TB, dir string) string {
	t.Helper()
	f.put(t, dir)
	s, err := open(dir, small)
	if err != nil {
		return err.Error()
	}
	defer closeStore(t, s)
	return dump(s)
}

// sameAfterCrash looks that another process would find the same in the files.
func sameAfterCrash(t testing.TB, s *Store, when string) {
	t.Helper()
	want := dump(s)
	if got := filesOf(t, s).found(t, fastDir(t)); got != want {
		t.Fatalf("%s: after a crash there is\n%s\nwant\n%s", when, got, want)
	}
}

// pending tells how many steps are in the log alone.
func pending(s *Store) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

// stop has no checkpoint begin but those that cannot be helped, until one is made.
func stop(s *Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(time.Hour, func() {})
}

// text is an edit of a host.
func text(i int, format string, args ...any) func(*zone.Txn) error {
	return journaltest.AddText(journaltest.Origin, i, fmt.Sprintf(format, args...))
}

// TestOneAppend has commits that wait be one append, and nothing of the file.
func TestOneAppend(t *testing.T) {
	s := openSmall(t, t.TempDir())
	stop(s)
	states := make([]*journal.State, 20)
	for i := range states {
		states[i] = begin(t, s, origin(i), 2)
	}
	for i := range states { // zones that the log does not know are looked at
		if err := advance(t, s, states[i], nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.bring(); err != nil {
		t.Fatal(err)
	}
	stop(s)
	appends, commits := 0, 0
	entered, proceed := make(chan bool), make(chan bool)
	s.log.write = func(f *os.File, b []byte, at int64) error {
		if appends++; appends == 1 {
			entered <- true
			<-proceed
		}
		return writeSynced(f, b, at)
	}
	s.commit = func(tx *bbolt.Tx) error { commits++; return tx.Commit() }
	var wg sync.WaitGroup
	results := make([]error, len(states))
	states[7].Revision += 3
	ended, cancel := context.WithCancel(t.Context())
	for i, st := range states {
		wg.Go(func() {
			ctx := t.Context()
			if i == 9 {
				ctx = ended
			}
			next, c := journaltest.Change(t, st.Snapshot, st.Snapshot.Serial()+1, nil)
			_, results[i] = s.Commit(ctx, origin(i), journal.Commit{Base: st.Revision, Next: next, Change: c})
		})
		if i == 0 {
			<-entered
		}
	}
	w := &waiting{Store: s, t: t}
	w.until(func() bool { return len(s.queue) == len(states)-1 })
	cancel()
	w.until(func() bool { return len(s.queue) == len(states)-2 })
	proceed <- true
	wg.Wait()
	for i, err := range results {
		want := map[int]error{7: journal.ErrConflict, 9: context.Canceled}[i]
		if !errors.Is(err, want) {
			t.Errorf("zone %d: %v, want %v", i, err, want)
		}
	}
	if appends != 2 || commits != 0 || pending(s) != 18 {
		t.Errorf("%d appends, %d transactions, %d steps wait; want 2, 0, 18", appends, commits, pending(s))
	}
	sameAfterCrash(t, s, "a group")
}

// TestAhead reads a zone whose steps are in the log, in all ways.
func TestAhead(t *testing.T) {
	s := openSmall(t, t.TempDir())
	st := begin(t, s, journaltest.Origin, 20)
	stop(s)
	history := journal.History{Depth: 4, Octets: 1 << 20}
	step := func(edit func(*zone.Txn) error, n journal.Notes) {
		t.Helper()
		next, c := journaltest.Change(t, st.Snapshot, st.Snapshot.Serial()+1, edit)
		rev, err := s.Commit(t.Context(), journaltest.Origin, journal.Commit{Base: st.Revision, Next: next, Change: c, Notes: n, Keep: history})
		if err != nil {
			t.Fatal(err)
		}
		st.Revision, st.Snapshot = rev, next
	}
	commits := 0
	s.commit = func(tx *bbolt.Tx) error { commits++; return tx.Commit() }
	step(text(3, "x"), journal.Notes{"a": []byte("1"), "b": []byte("2")})
	step(func(txn *zone.Txn) error { txn.RemoveName(journaltest.Host(journaltest.Origin, 0)); return nil }, journal.Notes{"a": nil})
	step(func(txn *zone.Txn) error {
		txn.RemoveName(journaltest.Host(journaltest.Origin, 19))
		_, err := txn.Add("\x05zzzzz"+journaltest.Origin, 16, 60, "\x01z")
		return err
	}, journal.Notes{"c": {}})
	if n := pending(s); n != 3 || commits != 0 {
		t.Fatalf("%d steps wait, %d transactions", n, commits)
	}
	for range 3 { // what is in the log is read; then a part of it is in the file; then all
		got, err := s.Load(t.Context(), journaltest.Origin)
		if err != nil {
			t.Fatal(err)
		}
		if diff := journaltest.SameZone(got.Snapshot, st.Snapshot); diff != "" || got.Revision != st.Revision {
			t.Fatal(diff)
		}
		if fmt.Sprintf("%q", got.Notes) != `map["b":"2" "c":""]` {
			t.Fatalf("notes %q", got.Notes)
		}
		all := dump(s)
		sameAfterCrash(t, s, "steps in the log")
		if err := s.bring(); err != nil {
			t.Fatal(err)
		}
		if got := dump(s); got != all {
			t.Fatalf("in the file\n%s\nin the log\n%s", got, all)
		}
		stop(s)
		step(text(5, "%d", st.Revision), nil)
	}
	// A writer that comes too late is told so, whatever the file says.
	old := *st
	step(nil, nil)
	if err := advance(t, s, &old, nil); !errors.Is(err, journal.ErrConflict) {
		t.Error(err)
	}
}

// TestWithoutHindrance has a checkpoint that does not get on: commits go on until
// the log is full, then they wait, and go on with it. Nobody who reads waits.
func TestWithoutHindrance(t *testing.T) {
	s := openSmall(t, t.TempDir())
	st := begin(t, s, journaltest.Origin, 20)
	entered, proceed := make(chan bool), make(chan bool)
	var once sync.Once
	s.commit = func(tx *bbolt.Tx) error {
		once.Do(func() { entered <- true; <-proceed })
		return tx.Commit()
	}
	room := int(2 * small.limits.half / block)
	for i := range room {
		if err := advance(t, s, st, text(i, "%d", i)); err != nil {
			t.Fatal(err)
		}
		if i == small.limits.waiting {
			<-entered // the checkpoint that the steps before called for
		}
	}
	done := make(chan error)
	go func() { done <- advance(t, s, st, nil) }()
	(&waiting{Store: s, t: t}).until(func() bool { return s.writing })
	select {
	case err := <-done:
		t.Fatalf("the log is full, and a commit gave %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	got, err := s.Load(t.Context(), journaltest.Origin)
	if err != nil || got.Revision != journal.Revision(room+1) {
		t.Errorf("revision %d, %v", got.Revision, err)
	}
	if n := s.HistorySize(journaltest.Origin); n == 0 {
		t.Error("no history")
	}
	proceed <- true
	if err := <-done; err != nil {
		t.Error(err)
	}
	sameAfterCrash(t, s, "a full log")
}

// TestIdle has a store bring what is in the log into the file when nobody commits,
// and then do nothing.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSmall(t, t.TempDir())
		st := begin(t, s, journaltest.Origin, 5)
		for range 3 {
			if err := advance(t, s, st, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(idleTime * 2 / 3)
		}
		if pending(s) != 3 {
			t.Errorf("%d steps wait", pending(s))
		}
		time.Sleep(idleTime)
		synctest.Wait()
		if pending(s) != 0 || s.timer != nil {
			t.Errorf("%d steps wait", pending(s))
		}
		// A disk that is full for some time.
		var full atomic.Bool
		full.Store(true)
		s.commit = func(tx *bbolt.Tx) error {
			if full.Load() {
				return syscall.ENOSPC
			}
			return tx.Commit()
		}
		if err := advance(t, s, st, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * idleTime)
		if pending(s) != 1 {
			t.Errorf("%d steps wait", pending(s))
		}
		full.Store(false)
		time.Sleep(2 * idleTime)
		synctest.Wait()
		if pending(s) != 0 {
			t.Errorf("%d steps wait", pending(s))
		}
		closeStore(t, s)
	})
}

// TestFileRefuses has checkpoints fail: commits go on while the log has room, then
// they fail with the error of the disk; all that was acknowledged can be read, now
// and after a crash; and the store recovers by itself.
func TestFileRefuses(t *testing.T) {
	s := openSmall(t, t.TempDir())
	st := begin(t, s, journaltest.Origin, 20)
	for round := range 3 {
		s.disk.Lock()
		s.commit = func(*bbolt.Tx) error { return syscall.ENOSPC }
		s.disk.Unlock()
		n := 0
		for ; n < 100; n++ {
			if err := advance(t, s, st, text(n%20, "%d", n)); err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				break
			}
		}
		if room := int(2 * small.limits.half / block); n < room/2 || n > room {
			t.Errorf("round %d: %d commits", round, n)
		}
		for range 2 {
			if err := advance(t, s, st, nil); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), s.path) {
				t.Fatal(err)
			}
			if err := s.Delete(t.Context(), journaltest.Origin); !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			begun := journal.Commit{Next: journaltest.NewZone(t, "\x01b\x00", 1, 100)}
			if _, err := s.Commit(t.Context(), "\x01b\x00", begun); !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
		}
		got, err := s.Load(t.Context(), journaltest.Origin)
		if err != nil || got.Revision != st.Revision || journaltest.SameZone(got.Snapshot, st.Snapshot) != "" {
			t.Fatalf("revision %d, %v", got.Revision, err)
		}
		sameAfterCrash(t, s, "the file refuses")
		if round == 2 { // Close cannot bring it into the file either
			closeStore(t, s)
			s = openSmall(t, filepath.Dir(s.path))
			continue
		}
		s.disk.Lock()
		s.commit = (*bbolt.Tx).Commit
		s.disk.Unlock()
		for i := range 20 {
			if err := advance(t, s, st, text(i, "again %d", i)); err != nil {
				t.Fatal(err)
			}
		}
		sameAfterCrash(t, s, "there is room again")
	}
	goesOn(t, s, st, dump(s))
}

// TestCheckpointInDoubt has the disk fail at the very end of a checkpoint, or bbolt
// in ways of its own. What was acknowledged is in the log, so it is there in any
// case.
func TestCheckpointInDoubt(t *testing.T) {
	for name, commit := range map[string]func(*bbolt.Tx) error{
		"the last sync fails": func(tx *bbolt.Tx) error { return errors.Join(tx.Commit(), syscall.EIO) },
		"a panic before":      func(*bbolt.Tx) error { panic("page 7 already freed") },
		"a panic behind":      func(tx *bbolt.Tx) error { panic(fmt.Sprint("commit ", tx.Commit())) },
	} {
		t.Run(name, func(t *testing.T) {
			s := openSmall(t, t.TempDir())
			st := begin(t, s, journaltest.Origin, 20)
			for i := range 3 {
				if err := advance(t, s, st, text(i, "%d", i)); err != nil {
					t.Fatal(err)
				}
			}
			want := dump(s)
			s.disk.Lock()
			s.commit = commit
			s.disk.Unlock()
			if err := s.bring(); err == nil || !s.inDoubt() {
				t.Fatal(err)
			}
			if got := dump(s); got != want {
				t.Fatalf("there is\n%s\nwant\n%s", got, want)
			}
			sameAfterCrash(t, s, "in doubt")
			s.commit = (*bbolt.Tx).Commit
			for i := range 9 {
				if err := advance(t, s, st, text(i, "on %d", i)); err != nil {
					t.Fatal(err)
				}
				sameAfterCrash(t, s, "and on")
			}
			if s.inDoubt() || s.session == 0 {
				t.Error("there is a doubt, or no log")
			}
			goesOn(t, s, st, dump(s))
		})
	}
	t.Run("the file is damaged", func(t *testing.T) {
		s := openSmall(t, t.TempDir())
		st := begin(t, s, journaltest.Origin, 300)
		stop(s)
		if err := advance(t, s, st, nil); err != nil {
			t.Fatal(err)
		}
		good := filesOf(t, s)
		want := dump(s)
		if err := os.Truncate(s.path, 3*int64(os.Getpagesize())); err != nil {
			t.Fatal(err)
		}
		if err := s.bring(); !errors.Is(err, journal.ErrCorrupt) {
			t.Fatal(err)
		}
		for range 3 { // nothing more is promised
			if err := advance(t, s, st, nil); !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), "restore it from a backup") {
				t.Fatal(err)
			}
		}
		closeStore(t, s)
		if got := good.found(t, t.TempDir()); got != want {
			t.Errorf("there is\n%s\nwant\n%s", got, want)
		}
	})
}

// TestGivenUpInTime has the log fail when it has written a step, and nobody wait
// for it any more: it was refused, so it does not come back.
func TestGivenUpInTime(t *testing.T) {
	s := openSmall(t, t.TempDir())
	st := begin(t, s, journaltest.Origin, 3)
	if err := advance(t, s, st, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.log.write = func(f *os.File, b []byte, at int64) error {
		cancel()
		return errors.Join(writeSynced(f, b, at), syscall.EIO)
	}
	next, c := journaltest.Change(t, st.Snapshot, st.Snapshot.Serial()+1, nil)
	if _, err := s.Commit(ctx, journaltest.Origin, journal.Commit{Base: st.Revision, Next: next, Change: c}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.log.write = writeSynced
	sameAfterCrash(t, s, "given up")
	goesOn(t, s, st, dump(s))
}

// TestNoLog has no log be made: commits go to the file.
func TestNoLog(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, logTempName), 0o700); err != nil {
		t.Fatal(err)
	}
	s := openSmall(t, dir)
	st := begin(t, s, journaltest.Origin, 20)
	for i := range 5 {
		if err := advance(t, s, st, text(i, "x")); err != nil {
			t.Fatal(err)
		}
	}
	if s.session != 0 || pending(s) != 0 {
		t.Error("the log is in use")
	}
	goesOn(t, s, st, dump(s))
}

// TestLogOfOthers opens stores whose log is not what it should be.
func TestLogOfOthers(t *testing.T) {
	s := openSmall(t, t.TempDir())
	st := begin(t, s, journaltest.Origin, 20)
	stop(s)
	for i := range 3 {
		if err := advance(t, s, st, text(i, "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	all := dump(s)
	crashed := filesOf(t, s)
	if err := s.bring(); err != nil {
		t.Fatal(err)
	}
	for i := range 8 { // so that all blocks are written again
		stop(s)
		if err := advance(t, s, st, text(i, "later %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	later := filesOf(t, s)
	closeStore(t, s)
	clean := readFiles(t, filepath.Dir(s.path))
	before := func() string { // without what only the log has
		return files{db: crashed.db, log: []byte{}}.found(t, t.TempDir())
	}()
	if before == all || !strings.Contains(before, "revision 1,") {
		t.Fatalf("with an empty log there is\n%s", before)
	}
	change := func(f files, at int, octets string) files {
		f.log = bytes.Clone(f.log)
		copy(f.log[at:], octets)
		return f
	}
	other := openSmall(t, t.TempDir())
	if err := advance(t, other, begin(t, other, journaltest.Origin, 3), nil); err != nil {
		t.Fatal(err)
	}
	foreign := filesOf(t, other).log
	for _, tc := range []struct {
		name  string
		files files
		want  string // what there is, or what the error says
	}{
		{"as it should be", crashed, all},
		{"not there", files{db: crashed.db}, "make an empty file of that name"},
		{"of another store", files{crashed.db, foreign}, "it is of another store"},
		{"cut off", files{crashed.db, crashed.log[:len(crashed.log)-1]}, "it was cut off"},
		{"text", files{crashed.db, []byte(strings.Repeat("example. IN SOA ...\n", 1000))}, "not a store of zones"},
		{"a head with a bit turned", change(crashed, 17, "\x01"), "its head is malformed"},
		{"a form of tomorrow", change(crashed, 12, "\x02"), "its head is malformed"},
		{"the first frame damaged", change(crashed, block+100, "?"), "frame 1 is damaged, and a later one is not"},
		{"the second frame damaged", change(crashed, 2*block+100, "?"), "frame 2 is damaged, and a later one is not"},
		{"an older file", files{crashed.db, later.log}, "is damaged, and a later one is not"},
		{"not needed, not there", files{db: clean.db}, dump(openFiles(t, clean))},
		{"not needed, of another store", files{clean.db, foreign}, dump(openFiles(t, clean))},
		{"not needed, cut off", files{clean.db, clean.log[:9]}, dump(openFiles(t, clean))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			tc.files.put(t, dir)
			s, err := open(dir, small)
			if err != nil {
				if !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), logName) {
					t.Errorf("%v, want %q", err, tc.want)
				}
				if after := readFiles(t, dir); !bytes.Equal(after.db, tc.files.db) || !bytes.Equal(after.log, tc.files.log) {
					t.Error("the files are not what they were")
				}
				return
			}
			defer closeStore(t, s)
			if got := dump(s); got != tc.want {
				t.Errorf("there is\n%s\nwant\n%s", got, tc.want)
			}
			got, err := s.Load(t.Context(), journaltest.Origin)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 9 {
				if err := advance(t, s, &got, text(i, "and on %d", i)); err != nil {
					t.Fatal(err)
				}
				sameAfterCrash(t, s, "and on")
			}
		})
	}
}

func openFiles(t *testing.T, f files) *Store {
	dir := t.TempDir()
	f.put(t, dir)
	return openSmall(t, dir)
}

// TestUpgradeToLog opens a store of format 1, which had no log.
func TestUpgradeToLog(t *testing.T) {
	dir := t.TempDir()
	s := openWith(t, dir, direct)
	work(t, s)
	want := dump(s)
	closeStore(t, s)
	older := func(of func(summary []byte) []byte) {
		db, err := bbolt.Open(s.path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketStore)
			return errors.Join(b.Put(keyFormat, []byte("1")), b.Put(keySummary, of(b.Get(keySummary))))
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	older(func(b []byte) []byte { return seal(bytes.Clone(b[:4*8])) })
	for range 2 {
		s = openSmall(t, dir)
		if got := dump(s); got != want {
			t.Fatalf("there is\n%s\nwant\n%s", got, want)
		}
		closeStore(t, s)
	}
	s = openSmall(t, dir)
	got, err := s.Load(t.Context(), journaltest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	goesOn(t, s, &got, want)
	older(func([]byte) []byte { return []byte("none") })
	if _, err := open(dir, small); !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), "restore it") {
		t.Error(err)
	}
}

// TestLogCrash has the machine stop at each write to the log or the file, in
// thousands of ways, with a store that is full of reused blocks. What is found is
// what was there before, or after it; and after it once it was acknowledged.
func TestLogCrash(t *testing.T) {
	dir := t.TempDir()
	s := openSmall(t, dir)
	type event struct {
		before, after files
		frame         []byte // that was appended
		at            int64
	}
	var events []event
	var mu sync.Mutex // one at a time
	record := func(e event, write func() error) error {
		mu.Lock()
		defer mu.Unlock()
		e.before = readFiles(t, dir)
		err := write()
		e.after = readFiles(t, dir)
		events = append(events, e)
		return err
	}
	s.commit = func(tx *bbolt.Tx) error { return record(event{}, tx.Commit) }
	s.log.write = func(f *os.File, b []byte, at int64) error {
		n := frameHead + int(binary.LittleEndian.Uint32(b[4:])) // what is behind it is of no account
		return record(event{frame: bytes.Clone(b[:n]), at: at}, func() error { return writeSynced(f, b, at) })
	}
	work(t, s)
	st, other := begin(t, s, "\x01d\x00", 4), begin(t, s, "\x01e\x00", 4)
	for i := range 40 {
		edit := journaltest.AddText("\x01d\x00", i%4, strings.Repeat("x", 6*i))
		if err := errors.Join(advance(t, s, st, edit), advance(t, s, other, nil)); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, s)

	crashed := fastDir(t)
	r := rand.New(rand.NewPCG(3, 3))
	n := 60
	if testing.Short() || raced {
		n = 8
	}
	states, appends, both := 0, 0, 0
	look := func(i int, f files, want string) {
		t.Helper()
		if got := f.found(t, crashed); got != want {
			t.Fatalf("write %d of %d, to the log: %v: found\n%s\nwant\n%s", i, len(events), events[i].frame != nil, got, want)
		}
		if states++; states%40 == 0 {
			goOn(t, crashed)
		}
	}
	torn := func(e event) iter.Seq2[[]byte, bool] {
		w := journaltest.Write{Before: e.before.db, After: e.after.db, PageSize: os.Getpagesize(), Last: func(p int) bool { return p < 2 }}
		return w.States(r, n)
	}
	// cut gives a log with a part of the frame, and whether it is all.
	cut := func(e event, log []byte) ([]byte, bool) {
		log = bytes.Clone(log)
		for o := 0; o < len(e.frame); o += 512 {
			end := min(o+512, len(e.frame))
			switch r.IntN(5) {
			case 0:
				end = o
			case 1:
				end = o + 8*r.IntN((end-o)/8+1)
			}
			copy(log[e.at+int64(o):], e.frame[o:end])
		}
		return log, bytes.Equal(log[e.at:e.at+int64(len(e.frame))], e.frame)
	}
	version := func(before, after string, done bool) string {
		if done {
			return after
		}
		return before
	}
	var last struct {
		event
		neutral bool // a checkpoint: it changes nothing that can be seen
	}
	for i, e := range events {
		before, after := e.before.found(t, crashed), e.after.found(t, crashed)
		if e.frame == nil {
			for state, done := range torn(e) {
				look(i, files{state, e.before.log}, version(before, after, done))
			}
			last.event, last.neutral = e, before == after
			continue
		}
		appends++
		if before == after {
			t.Fatalf("write %d: an append that changes nothing", i)
		}
		look(i, files{e.before.db, e.before.log}, before)
		for range n {
			log, whole := cut(e, e.before.log)
			look(i, files{e.before.db, log}, version(before, after, whole))
		}
		// The checkpoint before it may not have been at its end yet, if nothing of it
		// stood where the frame goes.
		free := bytes.Clone(e.before.log)
		clear(free[e.at : e.at+int64(len(e.frame))])
		if last.neutral && bytes.Equal(last.before.log, e.before.log) && (files{last.before.db, free}).found(t, crashed) == before {
			both++
			for state := range torn(last.event) {
				log, whole := cut(e, e.before.log)
				look(i, files{state, log}, version(before, after, whole))
			}
		}
		last.neutral = false
	}
	t.Logf("%d states of %d writes, %d of them to the log, %d to both", states, len(events), appends, both)
	if both == 0 {
		t.Error("no checkpoint was under way with an append")
	}
}

// fastDir makes a folder in memory, where there is one: what is synced there is
// looked at, and forgotten.
func fastDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "bolt")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestLogDamage opens stores whose log has one thing wrong: they are refused, or
// hold what was there before the last append, or all.
func TestLogDamage(t *testing.T) {
	s := openSmall(t, t.TempDir())
	st := begin(t, s, journaltest.Origin, 12)
	b := begin(t, s, "\x01b\x00", 3)
	stop(s)
	var versions []string
	for i := range 5 {
		versions = append(versions, dump(s))
		if err := advance(t, s, st, text(i, "%d", i)); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			versions = append(versions, dump(s))
			if err := advance(t, s, b, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	versions = append(versions, dump(s))
	if n := pending(s); n != 6 {
		t.Fatalf("%d steps wait", n)
	}
	good := filesOf(t, s)
	n := 1500
	if testing.Short() || raced {
		n = 300
	}
	dir := fastDir(t)
	counts := map[string]int{}
	for what, log := range journaltest.Damages(rand.New(rand.NewPCG(4, 4)), good.log, block, n) {
		files{good.db, log}.put(t, dir)
		s, err := open(dir, small)
		if err != nil {
			if !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), "restore") {
				t.Errorf("%s: %v", what, err)
			}
			counts["refused"]++
			continue
		}
		switch got := dump(s); {
		case got == versions[len(versions)-1]:
			counts["as it was"]++
		case got == versions[len(versions)-2]:
			counts["without the last"]++
		case got == versions[0] && len(log) == 0:
		default:
			t.Errorf("%s: there is\n%s", what, got)
		}
		closeStore(t, s)
	}
	t.Log(counts)
	for _, result := range []string{"refused", "as it was", "without the last"} {
		if counts[result] == 0 {
			t.Errorf("never: %s", result)
		}
	}
}

// TestCopies compares a store after every few commits of chance with one that is
// opened on a copy of its files.
func TestCopies(t *testing.T) {
	s := openSmall(t, t.TempDir())
	r := rand.New(rand.NewPCG(5, 5))
	states := make(map[dnsname.Name]*journal.State)
	n := 400
	if testing.Short() || raced {
		n = 100
	}
	for i := range n {
		o := []dnsname.Name{journaltest.Origin, "\x01b\x00", "\x01c\x00"}[r.IntN(3)]
		st := states[o]
		switch k := r.IntN(40); {
		case st == nil:
			states[o] = begin(t, s, o, r.IntN(40))
		case k == 0:
			if err := s.Delete(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			delete(states, o)
		case k == 1: // a large step
			if err := advance(t, s, st, func(txn *zone.Txn) error {
				for i := range 40 {
					if err := journaltest.AddText(o, i, fmt.Sprint(st.Revision))(txn); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		default:
			next, c := journaltest.Change(t, st.Snapshot, st.Snapshot.Serial()+zone.Serial([]uint32{1, 1, 1, 1, 1, 1 << 31}[r.IntN(6)]),
				journaltest.AddText(o, r.IntN(10), strings.Repeat("x", r.IntN(200))+fmt.Sprint(i)))
			rev, err := s.Commit(t.Context(), o, journal.Commit{
				Base: st.Revision, Next: next, Change: c,
				Keep:  journal.History{Depth: r.IntN(6), Octets: int64(r.IntN(3000))},
				Notes: journal.Notes{fmt.Sprint(r.IntN(3)): [][]byte{nil, {}, []byte("x"), make([]byte, r.IntN(9000))}[r.IntN(4)]},
			})
			if err != nil {
				t.Fatal(err)
			}
			st.Revision, st.Snapshot = rev, next
		}
		if r.IntN(3) == 0 {
			sameAfterCrash(t, s, fmt.Sprint("commit ", i))
		}
	}
	for _, st := range states {
		got, err := s.Load(t.Context(), st.Snapshot.Origin())
		if err != nil || journaltest.SameZone(got.Snapshot, st.Snapshot) != "" || got.Revision != st.Revision {
			t.Error(err)
		}
	}
}

// TestReadersAndWriters reads in all ways while steps are brought into the file.
func TestReadersAndWriters(t *testing.T) {
	s := openSmall(t, t.TempDir())
	st := begin(t, s, journaltest.Origin, 20)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			last := journal.Revision(0)
			for {
				select {
				case <-done:
					return
				default:
				}
				got, err := s.Load(context.Background(), journaltest.Origin)
				if err != nil || got.Revision < last || zone.Serial(got.Revision) != got.Snapshot.Serial() {
					t.Errorf("revision %d after %d, %v", got.Revision, last, err)
					return
				}
				last = got.Revision
				to := got.Snapshot.Serial()
				serial := to - min(to-1, 4)
				for c, err := range s.Changes(context.Background(), journaltest.Origin, serial, to) {
					if errors.Is(err, journal.ErrTrimmed) {
						break
					}
					if err != nil || c.From != serial {
						t.Errorf("from %d, want %d, %v", c.From, serial, err)
						return
					}
					serial++
				}
				if n := s.HistorySize(journaltest.Origin); n == 0 && last > 1 {
					t.Error("no history")
				}
			}
		})
	}
	for i := range 300 {
		if err := advance(t, s, st, text(i%20, "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
	sameAfterCrash(t, s, "the end")
}

// FuzzLog has any octets stand anywhere in a log, as FuzzOpen has in a file.
func FuzzLog(f *testing.F) {
	s := openSmall(f, f.TempDir())
	st := begin(f, s, journaltest.Origin, 12)
	stop(s)
	versions := []string{dump(s)}
	for range 4 {
		if err := advance(f, s, st, nil); err != nil {
			f.Fatal(err)
		}
		versions = append(versions, dump(s))
	}
	good := filesOf(f, s)
	f.Add([]byte(""))
	for b := range 6 {
		at := b * block
		for _, o := range []int{0, 4, 8, 16, 24, 40} {
			f.Add([]byte{byte((at + o) >> 16), byte((at + o) >> 8), byte(at + o), 1, 0xff})
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, patches []byte) {
		log := bytes.Clone(good.log)
		for len(patches) >= 4 {
			at, n := int(patches[0])<<16|int(patches[1])<<8|int(patches[2]), int(patches[3])
			patches = patches[4:]
			n = min(n, len(patches))
			copy(log[min(at, len(log)):], patches[:n])
			patches = patches[n:]
		}
		files{good.db, log}.put(t, dir)
		s, err := open(dir, small)
		if err != nil {
			if !errors.Is(err, journal.ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		defer closeStore(t, s)
		got := dump(s)
		for _, v := range versions {
			if got == v { // from the end on all frames may be damaged
				return
			}
		}
		t.Errorf("there is\n%s", got)
	})
}

// FuzzSteps reads any octets as the body of a frame. What can be read is written
// and read the same.
func FuzzSteps(f *testing.F) {
	d := &delta{
		origin: journaltest.Origin, base: 7, serial: 9, join: true, from: 8, to: 9, change: []byte("changeset"),
		keep: journal.History{Depth: 3, Octets: 5}, notes: []note{{"a", "x", false}, {"b", "", true}}, owners: []owner{{[]byte("key"), "value"}, {[]byte("gone"), ""}},
	}
	f.Add(string(d.append([]byte{1})))
	f.Add(string((&delta{origin: "\x00", base: 1, drop: true}).append([]byte{1})))
	f.Add("\x00")
	f.Fuzz(func(t *testing.T, body string) {
		steps, err := parseSteps(body, 1)
		if err != nil {
			return
		}
		again := binary.AppendUvarint(nil, uint64(len(steps)))
		for _, d := range steps {
			again = d.append(again)
		}
		other, err := parseSteps(string(again), 1)
		if err != nil || len(other) != len(steps) {
			t.Fatal(err)
		}
		for i := range steps {
			if a, b := fmt.Sprintf("%+v", *steps[i]), fmt.Sprintf("%+v", *other[i]); a != b {
				t.Errorf("%s\n%s", a, b)
			}
		}
	})
}
