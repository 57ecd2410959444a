package zonedb_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

// TestClockIsSet: when somebody sets the clock signatures are good by it soon, and no
// rollover goes on because of it (K7).
func TestClockIsSet(t *testing.T) {
	for _, jump := range []time.Duration{30 * day, -30 * day, 2 * time.Hour, -2 * time.Hour, 30 * 365 * day, toZero} {
		for _, waiting := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, rollover %t", jump, waiting), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { setClock(t, jump, waiting) })
			})
		}
	}
}

// toZero is a clock that has no battery: it is 1970.
const toZero = -(30*365 + 7) * day

func setClock(t *testing.T, jump time.Duration, waiting bool) {
	w := settled(t, autosign.Settings{Keys: split})
	defer w.stop()
	w.every = 5 * time.Second
	w.restart(0)
	if waiting {
		for _, role := range []signer.Role{signer.ZSK, signer.KSK} {
			if err := w.maintain(func(k *autosign.Keeper) error { return k.Rollover(role) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.run(time.Minute)
	states := w.states()
	w.reported()
	w.skew.Store(int64(jump))
	pause(w.every + time.Second)
	synctest.Wait()
	w.forget()
	w.fine()
	w.run(time.Hour + 2*time.Minute) // less than what the keys that are published wait for
	if now := w.states(); !slices.Equal(now, states) {
		t.Errorf("key states %q, before the clock was set %q", now, states)
	}
	alarms := 0
	for _, r := range w.reported() {
		switch {
		case errors.Is(r.Err, autosign.ErrClock):
			alarms++
		case r.Err != nil:
			t.Error(r.Err)
		}
	}
	if waiting && alarms != 1 {
		t.Errorf("%d reports of the clock", alarms)
	}
	w.every = 6 * time.Hour
	w.restart(0)
	w.run(30*day, w.attentive()...)
	if why := w.atRest(autosign.Settings{Keys: split}); why != "" {
		t.Errorf("%s\n%s", why, w.ring())
	}
	if waiting && (w.words[kasp.Removed] != 2) {
		t.Errorf("keys became %v", w.words)
	}
}

// forget has caches be empty, and what they could not validate be no fault.
func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.sets {
		h.versions = slices.DeleteFunc(h.versions, func(v *version) bool { return v != h.now })
	}
	w.faults = nil
}
