package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/journaltest"
)

// TestDiskRefuses has the system refuse to write, in ways that need no rights.
func TestDiskRefuses(t *testing.T) {
	readOnly := filepath.Join(t.TempDir(), "read-only")
	writeFile(t, readOnly, make([]byte, 1<<20))
	for _, tc := range []struct {
		name, file string
		flags      int
		want       syscall.Errno
	}{
		{"no room", "/dev/full", syscall.O_RDWR, syscall.ENOSPC},
		{"not for writing", readOnly, syscall.O_RDONLY, syscall.EBADF},
		{"the sync fails", "/dev/null", syscall.O_RDWR, syscall.EINVAL},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := open(t.TempDir(), direct)
			if err != nil {
				t.Fatal(err)
			}
			st := begin(t, s, journaltest.Origin, 200)
			for _, note := range [][]byte{make([]byte, 1<<19), nil} { // there are free pages
				if st.Revision, err = s.Commit(t.Context(), journaltest.Origin, journal.Commit{Base: st.Revision, Next: st.Snapshot, Notes: journal.Notes{"n": note}}); err != nil {
					t.Fatal(err)
				}
			}
			for range 5 {
				if err := advance(t, s, st, nil); err != nil {
					t.Fatal(err)
				}
			}
			want := dump(s)
			back := journaltest.Swap(t, s.path, tc.file, tc.flags)
			for range 4 {
				if err := advance(t, s, st, nil); !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), s.path) {
					t.Errorf("a step: %v", err)
				}
				_, err := s.Commit(t.Context(), "\x01b\x00", journal.Commit{Next: journaltest.NewZone(t, "\x01b\x00", 1, 100)})
				if !errors.Is(err, tc.want) {
					t.Errorf("a large step: %v", err)
				}
				if err := s.Delete(t.Context(), journaltest.Origin); !errors.Is(err, tc.want) {
					t.Errorf("Delete: %v", err)
				}
				if got := dump(s); got != want {
					t.Fatalf("found\n%s\nwant\n%s", got, want)
				}
			}
			back()
			if s.doubt {
				t.Error("there is a doubt")
			}
			goesOn(t, s, st, want)
		})
	}
}

// TestDiskFull fills a disk that is real, and makes room again.
func TestDiskFull(t *testing.T) {
	journaltest.OnTmpfs(t, 6<<20, func(dir string) {
		s, err := open(filepath.Join(dir, "store"), small)
		if err != nil {
			t.Fatal(err)
		}
		st := begin(t, s, journaltest.Origin, 2000)
		filler := filepath.Join(dir, "filler")
		for round := range 3 {
			f, err := os.Create(filler)
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{1 << 16, 4096} {
				for err == nil {
					_, err = f.Write(make([]byte, size))
				}
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				err = nil
			}
			// The pages that are free already may still do for some steps.
			for range 200 {
				if err = advance(t, s, st, journaltest.AddText(journaltest.Origin, int(st.Revision)%2000, strings.Repeat("x", 200))); err != nil {
					break
				}
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("round %d: a step: %v", round, err)
			}
			_, err = s.Commit(t.Context(), "\x01b\x00", journal.Commit{Next: journaltest.NewZone(t, "\x01b\x00", 1, 5000)})
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("round %d: a large step: %v", round, err)
			}
			got, err := s.Load(t.Context(), journaltest.Origin)
			if err != nil {
				t.Fatal(err)
			}
			if diff := journaltest.SameZone(got.Snapshot, st.Snapshot); diff != "" {
				t.Fatal(diff)
			}
			want := dump(s)
			// What is in the log alone is there at a start on a full disk, too.
			if n := pending(s); n == 0 {
				t.Errorf("round %d: nothing is in the log", round)
			}
			closeStore(t, s)
			s = openSmall(t, filepath.Dir(s.path))
			if got := dump(s); got != want || pending(s) == 0 {
				t.Fatalf("round %d: opened again there is\n%s\nwant\n%s", round, got, want)
			}
			if err := advance(t, s, st, text(0, "%s", strings.Repeat("x", 200))); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("round %d: a step: %v", round, err)
			}
			if err := errors.Join(f.Close(), os.Remove(filler)); err != nil {
				t.Fatal(err)
			}
			goesOn(t, s, st, want)
			s = openSmall(t, filepath.Dir(s.path))
			begin(t, s, "\x01b\x00", 3000)
			if err := s.Delete(t.Context(), "\x01b\x00"); err != nil {
				t.Fatal(err)
			}
		}
		closeStore(t, s)
	})
}

// TestNoRoomToBegin has no room for the file.
func TestNoRoomToBegin(t *testing.T) {
	journaltest.OnTmpfs(t, 1<<16, func(dir string) {
		filler := filepath.Join(dir, "filler")
		if err := os.WriteFile(filler, make([]byte, 1<<16), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := open(dir, small); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "cannot be made") {
			t.Error(err)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		closeStore(t, openSmall(t, dir))
	})
}

// TestFileChanges has somebody change the file while it is open: what reads or
// writes gives errors, and the process lives.
func TestFileChanges(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, path string, size int64)
	}{
		{"cut off", func(t *testing.T, path string, _ int64) {
			if err := os.Truncate(path, 3*int64(os.Getpagesize())); err != nil {
				t.Fatal(err)
			}
		}},
		{"cut to nothing", func(t *testing.T, path string, _ int64) {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		}},
		{"filled with nothing", func(t *testing.T, path string, size int64) { writeFile(t, path, make([]byte, size)) }},
		{"pages filled with nothing", func(t *testing.T, path string, size int64) {
			b := readFile(t, path)
			clear(b[2*os.Getpagesize():])
			writeFile(t, path, b)
		}},
		{"turned bits", func(t *testing.T, path string, size int64) {
			b := readFile(t, path)
			for i := 2*os.Getpagesize() + 9; i < len(b); i += 31 {
				b[i] ^= 0x41
			}
			writeFile(t, path, b)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := openWith(t, t.TempDir(), direct)
			st := begin(t, s, journaltest.Origin, 300)
			if err := advance(t, s, st, nil); err != nil {
				t.Fatal(err)
			}
			good := readFile(t, s.path)
			tc.change(t, s.path, int64(len(good)))
			for range 2 {
				if _, err := s.Load(ctx, journaltest.Origin); !errors.Is(err, journal.ErrCorrupt) && !errors.Is(err, journal.ErrForeign) {
					t.Errorf("Load: %v", err)
				}
				for _, err := range s.Changes(ctx, journaltest.Origin, 1, 2) {
					if err == nil {
						t.Error("Changes gave one")
					}
				}
				if err := advance(t, s, st, nil); !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), "restore it from a backup") {
					t.Errorf("Commit: %v", err)
				}
				if err := s.Delete(ctx, journaltest.Origin); !errors.Is(err, journal.ErrCorrupt) {
					t.Errorf("Delete: %v", err)
				}
			}
			closeStore(t, s)
			// The file of before is a good one still.
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, fileName), good)
			s = openSmall(t, dir)
			if got, err := s.Load(ctx, journaltest.Origin); err != nil || journaltest.SameZone(got.Snapshot, st.Snapshot) != "" {
				t.Error(err)
			}
		})
	}
}

// TestDoubt has the disk fail when all was written, at the very last sync, or
// bbolt fail in ways of its own. The store then looks at the disk before it
// takes another commit.
func TestDoubt(t *testing.T) {
	for _, tc := range []struct {
		name   string
		commit func(*bbolt.Tx) error
		want   error
		there  bool // the step that failed
	}{
		{"the last sync fails", func(tx *bbolt.Tx) error { return errors.Join(tx.Commit(), syscall.EIO) }, syscall.EIO, true},
		{"a panic before", func(*bbolt.Tx) error { panic("page 7 already freed") }, journal.ErrCorrupt, false},
		{"a panic behind", func(tx *bbolt.Tx) error { panic(fmt.Sprint("commit ", tx.Commit())) }, journal.ErrCorrupt, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := openWith(t, t.TempDir(), direct)
			st := begin(t, s, journaltest.Origin, 300)
			before := dump(s)
			s.commit = tc.commit
			if err := advance(t, s, st, nil); !errors.Is(err, tc.want) {
				t.Fatal(err)
			}
			s.commit = (*bbolt.Tx).Commit
			if !s.doubt {
				t.Fatal("there is no doubt")
			}
			got, err := s.Load(t.Context(), journaltest.Origin)
			if err != nil || got.Revision != st.Revision && !tc.there {
				t.Fatalf("revision %d, %v", got.Revision, err)
			}
			err = advance(t, s, st, nil)
			if tc.there {
				if !errors.Is(err, journal.ErrConflict) {
					t.Fatal(err)
				}
				if *st, err = s.Load(t.Context(), journaltest.Origin); err != nil {
					t.Fatal(err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if s.doubt || dump(s) == before {
				t.Error("the doubt is still there, or nothing changed")
			}
			goesOn(t, s, st, dump(s))
		})
	}
	t.Run("and the file is damaged", func(t *testing.T) {
		s := openWith(t, t.TempDir(), direct)
		st := begin(t, s, journaltest.Origin, 300)
		good := readFile(t, s.path)
		s.commit = func(tx *bbolt.Tx) error { return errors.Join(tx.Commit(), syscall.EIO) }
		if err := advance(t, s, st, nil); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		s.commit = (*bbolt.Tx).Commit
		at := strings.Index(string(good), "h0000007") // as in no page but that of owners
		if at >= 0 {
			t.Fatal("names are stored as they are")
		}
		bad := readFile(t, s.path)
		for i := len(bad) - 1; i > 0; i-- {
			if string(bad[max(0, i-4):i]) == "\xc0\x00\x02\x07" { // the address of a host
				bad[i-1] ^= 1
			}
		}
		writeFile(t, s.path, bad)
		for range 2 {
			if err := advance(t, s, st, nil); !errors.Is(err, journal.ErrCorrupt) || !errors.Is(err, syscall.EIO) {
				t.Errorf("Commit: %v", err)
			}
			if _, err := s.Load(t.Context(), journaltest.Origin); !errors.Is(err, journal.ErrCorrupt) {
				t.Errorf("Load: %v", err)
			}
		}
		// Somebody puts the backup back: it is taken up without a restart.
		writeFile(t, s.path, good)
		if err := advance(t, s, st, nil); err != nil {
			t.Error(err)
		}
	})
}

// TestLogRefuses has the log not be written, in ways that need no rights and such
// as only a hook gives: commits go to the file, and what failed in the log never
// comes back.
func TestLogRefuses(t *testing.T) {
	readOnly := filepath.Join(t.TempDir(), "read-only")
	writeFile(t, readOnly, make([]byte, 1<<20))
	hook := func(write func(*Store, *os.File, []byte, int64) error) func(*testing.T, *Store) func() {
		return func(_ *testing.T, s *Store) func() {
			s.log.write = func(f *os.File, b []byte, at int64) error { return write(s, f, b, at) }
			return func() { s.log.write = writeSynced }
		}
	}
	for _, tc := range []struct {
		name string
		fail func(t *testing.T, s *Store) (back func())
	}{
		{"no room", func(t *testing.T, s *Store) func() { return swapLog(t, s, "/dev/full", syscall.O_RDWR) }},
		{"not for writing", func(t *testing.T, s *Store) func() { return swapLog(t, s, readOnly, syscall.O_RDONLY) }},
		{"the sync fails", func(t *testing.T, s *Store) func() { return swapLog(t, s, "/dev/null", syscall.O_RDWR) }},
		{"it was written, and the sync fails", hook(func(_ *Store, f *os.File, b []byte, at int64) error {
			return errors.Join(writeSynced(f, b, at), syscall.EIO)
		})},
		{"a part was written", hook(func(_ *Store, f *os.File, b []byte, at int64) error {
			return errors.Join(writeSynced(f, b[:100], at), syscall.EIO)
		})},
	} {
		for _, file := range []string{"and the file does not", "and the file refuses too"} {
			t.Run(tc.name+" "+file, func(t *testing.T) {
				s := openSmall(t, t.TempDir())
				st := begin(t, s, journaltest.Origin, 20)
				for i := range 9 {
					if err := advance(t, s, st, text(i, "%d", i)); err != nil {
						t.Fatal(err)
					}
				}
				back := tc.fail(t, s)
				if file == "and the file refuses too" {
					if err := s.bring(); err != nil {
						t.Fatal(err)
					}
					s.disk.Lock()
					s.commit = func(*bbolt.Tx) error { return syscall.ENOSPC }
					s.disk.Unlock()
					want := dump(s)
					for range 3 {
						if err := advance(t, s, st, text(1, "never")); !errors.Is(err, syscall.ENOSPC) {
							t.Fatal(err)
						}
					}
					if got := dump(s); got != want {
						t.Fatalf("there is\n%s\nwant\n%s", got, want)
					}
					s.disk.Lock()
					s.commit = (*bbolt.Tx).Commit
					s.disk.Unlock()
				}
				for i := range 3 {
					if err := advance(t, s, st, text(i, "to the file %d", i)); err != nil {
						t.Fatal(err)
					}
					if s.session != 0 || pending(s) != 0 {
						t.Fatal("the log is in use")
					}
				}
				back()
				sameAfterCrash(t, s, "the log refuses")
				s.retry = time.Time{}
				for i := range 20 {
					if err := advance(t, s, st, text(i%20, "again %d", i)); err != nil {
						t.Fatal(err)
					}
					sameAfterCrash(t, s, "the log is back")
				}
				if s.session == 0 {
					t.Error("the log is not in use again")
				}
				goesOn(t, s, st, dump(s))
			})
		}
	}
}

// swapLog has what is written to the log go to another file.
func swapLog(t *testing.T, s *Store, other string, flags int) (back func()) {
	return journaltest.Swap(t, s.log.path, other, flags)
}
