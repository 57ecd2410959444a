package autosign_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// start is not at a whole second, as times hardly ever are.
var start = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

// prepare gives what a zone that nobody has served before begins with.
func prepare(t *testing.T, s autosign.Settings, notes journal.Notes, now time.Time) zonedb.Prepared {
	t.Helper()
	k, err := s.Signer(dnsname.MustParse("example."), notes)
	if err != nil {
		t.Fatal(err)
	}
	k.Start()
	p, err := k.Prepare(nil, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestParentIsTold: who hands over DS records by hand reads in the log what is wanted, when
// the parent is asked to have one, and when it is asked to remove it (K2, K4).
func TestParentIsTold(t *testing.T) {
	told := func(p zonedb.Prepared, what string) string {
		t.Helper()
		i := slices.IndexFunc(p.Events, func(e string) bool { return strings.HasPrefix(e, what) })
		if i < 0 {
			t.Fatalf("%q is not among %q", what, p.Events)
		}
		return p.Events[i][len(what):]
	}
	first := prepare(t, autosign.Settings{}, nil, start)
	ds := told(first, "the parent is to have DS ")
	if tag, _, _ := strings.Cut(ds, " "); !strings.Contains(first.Events[0], "/"+tag+":") || len(strings.Fields(ds)[3]) != 64 {
		t.Errorf("DS %s, of %q", ds, first.Events)
	}
	last := prepare(t, autosign.Settings{Insecure: true}, first.Notes, start.Add(time.Hour))
	if gone := told(last, "the parent is to remove DS "); gone != ds {
		t.Errorf("DS %s is to go, %s was there", gone, ds)
	}
}

// TestFolder: the keys of files are told; a key of which a file is missing is not taken
// for none, which would have another made (K8).
func TestFolder(t *testing.T) {
	for _, missing := range []string{"", ".key", ".private"} {
		dir := t.TempDir()
		key, err := signer.Generate(dnsname.MustParse("example."), signer.ECDSAP256SHA256, signer.CSK)
		if err != nil {
			t.Fatal(err)
		}
		if err := key.WriteFiles(dir, start); err != nil {
			t.Fatal(err)
		}
		s := autosign.Settings{Folder: dir}
		if missing == "" {
			if p := prepare(t, s, nil, start); len(p.Events) == 0 || !strings.HasPrefix(p.Events[0], "CSK ECDSAP256SHA256/") {
				t.Errorf("events %q", p.Events)
			}
			continue
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"+missing))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		if err := os.Remove(files[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Signer(key.Zone(), nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}
