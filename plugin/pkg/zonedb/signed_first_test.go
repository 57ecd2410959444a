package zonedb_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// TestSeenUnsigned: caches may have a zone unsigned that this process has served so, out
// of its file; the parent is not asked for a DS before they have forgotten it.
func TestSeenUnsigned(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zone")
	if err := os.WriteFile(path, []byte(plainZone), 0o600); err != nil {
		t.Fatal(err)
	}
	db := zonedb.New(time.Hour)
	asked := func(owner string, spec zonedb.Spec) bool {
		t.Helper()
		spec.Origin, spec.Path = example, path
		lease, err := db.Open(owner, []zonedb.Spec{spec}, zonedb.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(lease.Close)
		_, cds := lease.Zones()[0].Snapshot().View().Get(example, rrset.TypeCDS)
		return cds
	}
	if !asked("new", zonedb.Spec{Store: filepath.Join(dir, "a"), Signing: autosign.Settings{}}) {
		t.Error("a new zone has no CDS records")
	}
	asked("unsigned", zonedb.Spec{})
	if asked("signed", zonedb.Spec{Store: filepath.Join(dir, "b"), Signing: autosign.Settings{}}) {
		t.Error("a zone that was served unsigned has CDS records at once")
	}
}

// TestFirstSerial: a zone that is signed for the first time has a later serial than its
// file, whose serial secondaries may have without signatures. One that is not to be signed
// keeps its own.
func TestFirstSerial(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zone")
	if err := os.WriteFile(path, []byte(plainZone), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		signing autosign.Settings
		serial  uint32
		keys    bool
	}{
		{"signed", autosign.Settings{Keys: split}, 2, true},
		{"online", autosign.Settings{Keys: split, Online: true}, 2, true},
		{"insecure", autosign.Settings{Insecure: true}, 1, false},
	} {
		lease, err := zonedb.New(time.Hour).Open(t, []zonedb.Spec{{Origin: example, Path: path, Store: filepath.Join(dir, c.name), Signing: c.signing}}, zonedb.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		s := lease.Zones()[0].Snapshot()
		_, keys := s.View().Get(example, rrset.TypeDNSKEY)
		if got := uint32(s.Serial()); got != c.serial || keys != c.keys {
			t.Errorf("%s: serial %d, not %d; keys: %v", c.name, got, c.serial, keys)
		}
		lease.Close()
	}
}
