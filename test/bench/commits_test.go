package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

func TestMeasureCommits(t *testing.T) {
	s := mixed("small", "small.example.", 100)
	path := filepath.Join(t.TempDir(), "zone")
	if err := s.file(path); err != nil {
		t.Fatal(err)
	}
	for _, writers := range []int{1, 4} {
		c, err := measureCommits(t.Context(), s, path, filepath.Join(t.TempDir(), "store"), writers, 50*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if c.names != 104 || c.writers != writers || len(c.each) < writers || c.versions < 1 || c.versions > len(c.each) {
			t.Errorf("%d names, %d writers, %d changes, %d versions", c.names, c.writers, len(c.each), c.versions)
		}
		if writers == 1 && c.versions != len(c.each) {
			t.Errorf("%d changes made one after another are %d versions", len(c.each), c.versions)
		}
		if c.took <= 0 || c.quantile(0) <= 0 || c.rate() <= 0 {
			t.Errorf("took %v, the shortest %v, %v a second", c.took, c.quantile(0), c.rate())
		}
	}
	if c, err := measureCommits(t.Context(), s, path+".gone", filepath.Join(t.TempDir(), "store"), 1, time.Millisecond); err == nil {
		t.Errorf("without a zone: %+v", c)
	}
}

// What is in the store is compared with what was served.
func TestSameAgain(t *testing.T) {
	dir := t.TempDir()
	s := mixed("small", "small.example.", 100)
	spec := zonedb.Spec{Origin: dnsname.MustParse(s.origin), Store: filepath.Join(dir, "store"), Path: filepath.Join(dir, "zone"), Seed: true}
	if err := s.file(spec.Path); err != nil {
		t.Fatal(err)
	}
	z, closeZone, err := openZone(spec)
	if err != nil {
		t.Fatal(err)
	}
	served := z.Snapshot()
	closeZone()
	if err := sameAgain(spec, served); err != nil {
		t.Error(err)
	}
	txn := served.Begin()
	txn.RemoveName(dnsname.MustParse("mail." + s.origin))
	other, _, err := txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if err := sameAgain(spec, other); err == nil {
		t.Error("another version is the same")
	}
}

func TestSyncPages(t *testing.T) {
	var l latencies
	path := filepath.Join(t.TempDir(), "pages")
	for range 2 {
		if err := syncPages(path, 5*time.Millisecond, &l); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.each) < 2 || l.took <= 0 || l.quantile(0) <= 0 {
		t.Errorf("%+v", l)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 1024*pageSize {
		t.Errorf("%+v, %v", info, err)
	}
	if err := syncPages(filepath.Join(path, "x"), time.Millisecond, &l); err == nil {
		t.Error("a file in a file")
	}
}

func TestQuantile(t *testing.T) {
	var l latencies
	if l.quantile(0.5) != 0 || l.rate() != 0 {
		t.Errorf("of none: %v, %v", l.quantile(0.5), l.rate())
	}
	for i := range 100 {
		l.each = append(l.each, time.Duration(100-i))
	}
	l.took = 2 * time.Second
	for part, want := range map[float64]time.Duration{0: 1, 0.5: 51, 0.99: 100, 1: 100} {
		if got := l.quantile(part); got != want {
			t.Errorf("%v: %d, want %d", part, got, want)
		}
	}
	if l.rate() != 50 {
		t.Errorf("%v a second", l.rate())
	}
}

func TestFolderSize(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"a": 5, "below/b": 37} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := folderSize(dir); err != nil || n != 42 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := folderSize(filepath.Join(dir, "gone")); err == nil {
		t.Errorf("of a folder that is gone: %d", n)
	}
}
