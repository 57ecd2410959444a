package zonedb_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// TestMaintain: what is asked of keys is done or refused, and an edit does not suffer.
func TestMaintain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, plainZone, nil)
		w.start()
		never := func(zonedb.Signer) error { t.Error("called without a signer"); return nil }
		if err := w.zone.Maintain(t.Context(), "test", never); !errors.Is(err, zonedb.ErrUnsigned) {
			t.Errorf("unsigned: %v", err)
		}
		w.stop()

		w = settled(t, autosign.Settings{Keys: split})
		defer w.stop()
		before := w.zone.Snapshot()
		for name, tc := range map[string]struct {
			do   func(*autosign.Keeper) error
			want error
		}{
			"unknown key": {func(k *autosign.Keeper) error { return k.Remove(kasp.ID{Algorithm: 13, Tag: 1}, true) }, kasp.ErrUnknownKey},
			"no chain":    {func(k *autosign.Keeper) error { return k.Remove(w.key(signer.KSK), false) }, kasp.ErrChain},
			"own error":   {func(k *autosign.Keeper) error { return errors.Join(k.Rollover(signer.ZSK), syscall.EINTR) }, syscall.EINTR},
			"two at once": {func(k *autosign.Keeper) error { return errors.Join(k.Rollover(signer.ZSK), k.Rollover(signer.ZSK)) }, kasp.ErrBusy},
		} {
			if err := w.maintain(tc.do); !errors.Is(err, tc.want) {
				t.Errorf("%s: %v", name, err)
			}
			if w.zone.Snapshot() != before || len(w.states()) != 2 {
				t.Fatalf("%s: it was done nevertheless: %q", name, w.states())
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.zone.Maintain(ended, "test", func(zonedb.Signer) error { return nil }); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a context that has ended: %v", err)
		}

		// The ZSK goes at once: what is in the zone is signed with another.
		zsk := w.key(signer.ZSK)
		if err := w.maintain(func(k *autosign.Keeper) error { return k.Remove(zsk, false) }); err != nil {
			t.Fatal(err)
		}
		w.onlyBy(zsk)
		w.forget()
		// The KSK as well, by force; by hand the parent exchanges the DS.
		w.run(12*day, w.attentive()...)
		ksk := w.key(signer.KSK)
		if err := w.maintain(func(k *autosign.Keeper) error { return k.Remove(ksk, true) }); err != nil {
			t.Fatal(err)
		}
		w.onlyBy(ksk)
		w.mu.Lock()
		var want []string
		for _, k := range w.history(rrset.TypeDNSKEY).now.keys {
			if k.Flags&1 != 0 {
				want = append(want, k.ds)
			}
		}
		w.set(want)
		w.mu.Unlock()
		pause(w.dsTTL + w.dsLate)
		w.forget()
		w.run(5*day, w.attentive()...)
		if why := w.atRest(autosign.Settings{Keys: split}); why != "" {
			t.Errorf("%s\n%s", why, w.ring())
		}
	})
}

// key gives the one of a role that is active.
func (w *world) key(role signer.Role) kasp.ID {
	for _, k := range w.keeper().Status(w.clock()).Keys {
		if k.Role == role && k.State == kasp.Active {
			return k.Key
		}
	}
	w.t.Fatalf("there is no %s:\n%s", role, w.ring())
	return kasp.ID{}
}

// onlyBy complains of what a key, which has been removed, has left in the zone.
func (w *world) onlyBy(gone kasp.ID) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now().Unix()
	keys := w.history(rrset.TypeDNSKEY).now
	for id, h := range w.sets {
		if h.now == nil || h.now.plain {
			continue
		}
		for _, s := range h.now.sigs {
			if s.KeyTag == gone.Tag {
				w.t.Errorf("%s %d is signed by %s, which was removed", id.owner, id.typ, gone)
			}
		}
		for _, k := range h.now.keys {
			if k.KeyTag() == gone.Tag {
				w.t.Errorf("%s is still published", gone)
			}
		}
		if id.typ != rrset.TypeDNSKEY && !believes(keys, h.now, now) && id.typ != rrset.TypeCDS && id.typ != rrset.TypeCDNSKEY {
			w.t.Errorf("%s %d is not signed by %s", id.owner, id.typ, keys.show())
		}
	}
}

// TestManyAtOnce: edits, what is asked of keys, settings that change, and readers, all at
// a time.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := settled(t, autosign.Settings{Keys: split})
		defer func() { w.stop() }()
		k := w.keeper()
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for j := range 25 {
					_, err := w.zone.Apply(t.Context(), "test", func(e *zonedb.Edit) error {
						_, err := e.Add(dnsname.MustParse(fmt.Sprintf("n%d-%d.example.", i, j)), rrset.TypeA, 300, "\xc0\x00\x02\x01")
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
			wg.Go(func() {
				for range 25 {
					err := w.maintain(func(k *autosign.Keeper) error { return k.Rollover(signer.Role(1 + i%2)) })
					if err != nil && !errors.Is(err, kasp.ErrBusy) {
						t.Error(err)
					}
				}
			})
			wg.Go(func() {
				for range 25 {
					if s := k.Status(w.clock()); !s.Signed {
						t.Error("not signed")
					}
					if s := w.zone.Snapshot().SOA(); s.Sigs.IsEmpty() {
						t.Error("a version without signatures")
					}
				}
			})
		}
		wg.Go(func() { // what is refused has no effect
			spec := w.spec()
			spec.Signing = nil
			for range 25 {
				if _, err := w.db.Open("other", []zonedb.Spec{spec}, zonedb.Hooks{}); !errors.Is(err, zonedb.ErrSigned) {
					t.Errorf("opened without signing: %v", err)
				}
			}
		})
		wg.Wait()
		w.run(30*day, w.attentive()...)
		if why := w.atRest(autosign.Settings{Keys: split}); why != "" {
			t.Errorf("%s\n%s", why, w.ring())
		}
		if n := w.words[kasp.Removed]; n != 2 {
			t.Errorf("keys became %v", w.words)
		}
	})
}
