package zonedb_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// TestSignedFile: the file of a zone that is signed is merged into it, and what it changes
// is signed, and nothing else.
func TestSignedFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, plainZone, autosign.Settings{Keys: split})
		w.source = true
		w.start()
		defer func() { w.stop() }()
		if n := w.zone.Snapshot().Serial(); n != 2 { // secondaries may have 1, without signatures
			t.Errorf("first signed: serial %d", n)
		}
		w.run(4*day, w.attentive()...)
		serial := w.zone.Snapshot().Serial()
		look := func(text string) (signatures int) {
			t.Helper()
			w.reported()
			w.write(text)
			if err := w.db.Look(); err != nil {
				t.Fatal(err)
			}
			w.fine()
			for _, r := range w.reported() {
				signatures += r.Signatures
			}
			return signatures
		}
		is := func(what string, want zone.Serial) {
			t.Helper()
			if got := w.zone.Snapshot().Serial(); got != want {
				t.Errorf("%s: serial %d, not %d", what, got, want)
			}
		}
		more := plainZone + "more 300 A 192.0.2.9\n"
		if n := look(more); n != 4 { // A, NSEC, NSEC of the name before, SOA
			t.Errorf("a new name: %d signatures", n)
		}
		is("a new name", serial+1)
		if n := look(more + "; the same\n"); n != 0 {
			t.Errorf("the same: %d signatures", n)
		}
		is("the same", serial+1)
		later := strings.Replace(more, "hostmaster 1 ", "hostmaster 1000 ", 1)
		if n := look(later); n != 1 {
			t.Errorf("a later serial: %d signatures", n)
		}
		is("a later serial", 1000)
		if n := look(more); n != 0 {
			t.Errorf("an earlier serial: %d signatures", n)
		}
		is("an earlier serial", 1000)
		if n := look(plainZone); n != 2 { // NSEC of the name before, SOA
			t.Errorf("an earlier serial and a name less: %d signatures", n)
		}
		is("an earlier serial and a name less", 1001)
		if n := look(strings.Replace(plainZone, "3600 NS ns\n", "300 NS ns\n", 1)); n != 2 {
			t.Errorf("another TTL: %d signatures", n)
		}
		is("another TTL", 1002)
		if n := look("@ 300 IN SOA broken\n"); n != 0 || w.zone.Err() == nil {
			t.Errorf("broken: %d signatures, %v", n, w.zone.Err())
		}
		is("broken", 1002)
		w.run(20 * day) // the version before is kept signed
		serial = w.zone.Snapshot().Serial()
		if n := look(more); n == 0 || w.zone.Err() != nil {
			t.Errorf("mended: %d signatures, %v", n, w.zone.Err())
		}
		is("mended", serial+1)
		w.restart(time.Hour)
		is("restarted", serial+1)
		if err := w.reload(autosign.Settings{Keys: split, Signatures: signer.Policy{NSEC3: true}}); err != nil {
			t.Fatal(err)
		}
		w.run(time.Minute)
		if _, ok := w.zone.Snapshot().View().Get(example, rrset.TypeNSEC3PARAM); !ok {
			t.Error("no NSEC3PARAM record with another policy")
		}
		w.run(day)
	})
}

// TestLeavingDNSSEC: a zone with keys cannot be left unsigned before the parent has no DS
// and no cache has one; then it can, and its keys are forgotten (K4).
func TestLeavingDNSSEC(t *testing.T) {
	for _, folder := range []string{"", t.TempDir()} {
		synctest.Test(t, func(t *testing.T) {
			signing := autosign.Settings{Keys: split, Folder: folder}
			w := settled(t, signing)
			defer func() { w.stop() }()
			// A rollover leaves keys behind that are in no use.
			if err := w.maintain(func(k *autosign.Keeper) error { return k.Rollover(signer.ZSK) }); err != nil {
				t.Fatal(err)
			}
			w.run(20*day, w.attentive()...)
			if err := w.reload(nil); !errors.Is(err, zonedb.ErrSigned) {
				t.Fatalf("signed: %v", err)
			}
			if err := w.edit(); err != nil {
				t.Fatal(err)
			}
			w.fine()
			insecure := signing
			insecure.Insecure = true
			if err := w.reload(insecure); err != nil {
				t.Fatal(err)
			}
			w.run(time.Hour)
			if err := w.reload(nil); !errors.Is(err, zonedb.ErrSigned) {
				t.Fatalf("leaving: %v", err)
			}
			w.run(10*day, w.attentive()...)
			if why := w.atRest(insecure); why != "" {
				t.Fatalf("%s\n%s", why, w.ring())
			}
			if err := w.reload(nil); err != nil {
				t.Fatal(err)
			}
			if err := w.edit(); err != nil || w.zone.Signer() != nil {
				t.Errorf("an edit of the zone that is unsigned: %v", err)
			}
			w.restart(day)
			for set := range w.zone.Snapshot().All() {
				if !set.Sigs.IsEmpty() || set.Type == rrset.TypeDNSKEY || set.Type == rrset.TypeNSEC {
					t.Errorf("left: %s type %d", set.Owner, set.Type)
				}
			}
			w.run(day)
			if err := w.reload(signing); err != nil {
				t.Fatal(err)
			}
			w.run(5*day, w.attentive()...)
			if why := w.atRest(signing); why != "" {
				t.Errorf("signed again: %s\n%s", why, w.ring())
			}
		})
	}
}

// TestSignedLimit: what signatures need does not count for the limit.
func TestSignedLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, big(10), autosign.Settings{Keys: split})
		w.max = 13
		w.start()
		defer w.stop()
		w.run(4*day, w.attentive()...)
		add := func(name string) error {
			_, err := w.zone.Apply(t.Context(), "test", func(e *zonedb.Edit) error {
				_, err := e.Add(dnsname.MustParse(name), rrset.TypeA, 300, "\xc0\x00\x02\x01")
				return err
			})
			return err
		}
		if err := add("one.example."); err != nil {
			t.Errorf("up to the limit: %v", err)
		}
		if err := add("two.example."); !errors.Is(err, zonedb.ErrRecords) {
			t.Errorf("beyond: %v", err)
		}
		w.run(day)
		if n := w.zone.Snapshot().Records(); n < 13*3 {
			t.Errorf("%d records with signatures", n)
		}
	})
}
