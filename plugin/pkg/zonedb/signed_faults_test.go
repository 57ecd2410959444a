package zonedb_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// TestFullStore: while the store takes nothing the zone, its keys and their files stay as
// they are, and it is told though nobody asks for a change; afterwards all goes on.
func TestFullStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		policy := split
		policy.ZSKLifetime = 30 * day
		w := settled(t, autosign.Settings{Keys: policy, Folder: folder})
		defer w.stop()
		w.run(25*day + 12*time.Hour)
		w.setFull(syscall.ENOSPC)
		before, states := w.zone.Snapshot(), w.states()
		w.run(day)
		if w.zone.Snapshot() != before || !slices.Equal(w.states(), states) {
			t.Errorf("serial %d, was %d; keys %q, were %q", w.zone.Snapshot().Serial(), before.Serial(), w.states(), states)
		}
		if !slices.ContainsFunc(w.reported(), func(r zonedb.SignReport) bool { return errors.Is(r.Err, syscall.ENOSPC) }) {
			t.Error("nobody is told")
		}
		if err := w.edit(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("an edit: %v", err)
		}
		if files := privateFiles(t, folder); len(files) > 3 { // two that are in use, and the one that is to be
			t.Errorf("%d keys were made: %q", len(files), files)
		}
		w.setFull(nil)
		w.run(20 * day)
		if w.words[kasp.Removed] != 1 || len(privateFiles(t, folder)) > 3 {
			t.Errorf("keys became %v, files %q", w.words, privateFiles(t, folder))
		}
	})
}

// privateFiles gives the names of the private key files in a folder.
func privateFiles(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.private"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// move renames a file.
func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestNoNewKeys: where no keys can be made those there are go on, and it is told once a
// minute at most (K8).
func TestNoNewKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "keys")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		policy := split
		policy.ZSKLifetime = 30 * day
		w := settled(t, autosign.Settings{Keys: policy, Folder: folder})
		defer w.stop()
		w.run(20 * day)
		states := w.states()
		w.reported()
		move(t, folder, folder+".gone")
		w.run(20*day, activity{time.Minute, day, w.edit})
		if !slices.Equal(w.states(), states) {
			t.Errorf("keys %q, were %q", w.states(), states)
		}
		failed := 0
		for _, r := range w.reported() {
			if r.Err != nil {
				failed++
				if !errors.Is(r.Err, os.ErrNotExist) {
					t.Errorf("reported: %v", r.Err)
				}
			}
		}
		if most := int(20 * day / time.Minute); failed < most/4 || failed > most {
			t.Errorf("%d reports in 20 days", failed)
		}
		move(t, folder+".gone", folder)
		w.run(2*time.Minute, activity{time.Minute, time.Minute, w.edit})
		if n := len(w.states()); n != 3 {
			t.Errorf("afterwards there are %d keys", n)
		}
		w.run(20 * day)
		if w.words[kasp.Removed] != 1 {
			t.Errorf("keys became %v", w.words)
		}
	})
}

// TestKeyIsGone: without the private key of a key a zone is served as it was, cannot be
// edited, and says so; when the file is there again all is well (K8).
func TestKeyIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		w := settled(t, autosign.Settings{Keys: split, Folder: folder})
		file := privateFiles(t, folder)[0]
		before := w.zone.Snapshot().Serial()
		w.stop()
		move(t, file, file+".gone")
		w.start()
		defer w.stop()
		w.run(time.Hour)
		if s := w.zone.Snapshot(); s == nil || s.Serial() != before {
			t.Fatalf("in service is %v", s)
		}
		if err := w.edit(); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), filepath.Base(file)) {
			t.Errorf("an edit: %v", err)
		}
		reports := w.reported()
		for _, r := range reports {
			if !errors.Is(r.Err, os.ErrNotExist) {
				t.Errorf("reported: %+v", r)
			}
		}
		if len(reports) < 30 || len(reports) > 62 {
			t.Errorf("%d reports in an hour", len(reports))
		}
		move(t, file+".gone", file)
		w.run(2 * time.Minute)
		if err := w.edit(); err != nil {
			t.Error(err)
		}
		for _, r := range w.reported() {
			if r.Err != nil {
				t.Errorf("reported: %v", r.Err)
			}
		}
		w.fine()
	})
}
