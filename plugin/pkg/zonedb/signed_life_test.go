package zonedb_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

var (
	rounds = flag.Int("rounds", 2, "how many signed zones live for two years")
	seed   = flag.Uint64("seed", 0, "what decides what happens to the first of them; 0: another each time")
)

// TestSignedLife lets signed zones live for two years, with real keys and signatures in
// virtual time: keys are exchanged, policies change, zones are edited, commits fail,
// processes end. Every mixture of versions that caches could hold validates at all times
// (K1, K2, K3, K4, K5).
func TestSignedLife(t *testing.T) {
	first := *seed
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	for n := range uint64(*rounds) {
		t.Run(fmt.Sprintf("seed %d", first+n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { live(t, first+n, n%2 == 0) })
		})
	}
}

// stages is what a zone goes through in two years, a stage at a time.
func (w *world) stages() []autosign.Settings {
	keys := kasp.Policy{Algorithm: signer.ECDSAP256SHA256, Split: true, KSKLifetime: 90 * day, ZSKLifetime: 30 * day}
	with := func(change func(*kasp.Policy)) kasp.Policy {
		change(&keys)
		return keys
	}
	list := []autosign.Settings{
		w.policy(keys, false),
		w.policy(with(func(p *kasp.Policy) { p.Algorithm = signer.ED25519 }), false),
		w.policy(keys, true),
		w.policy(with(func(p *kasp.Policy) { p.Algorithm = signer.ECDSAP256SHA256 }), true),
		w.policy(with(func(p *kasp.Policy) { p.Split = false }), false),
		w.policy(with(func(p *kasp.Policy) { p.Split, p.KeyTTL = true, 86400 }), false),
		w.policy(keys, false),
		w.policy(with(func(p *kasp.Policy) { p.Split = false }), true),
	}
	list[6].Insecure = true
	return list
}

// any gives settings at random.
func (w *world) any() autosign.Settings {
	s := w.policy(kasp.Policy{
		Algorithm:   []signer.Algorithm{13, 13, 14, 15}[w.rng.IntN(4)],
		Split:       w.rng.IntN(2) == 0,
		KSKLifetime: []time.Duration{0, 30 * day, 90 * day}[w.rng.IntN(3)],
		ZSKLifetime: []time.Duration{0, 20 * day, 30 * day}[w.rng.IntN(3)],
		KeyTTL:      []uint32{60, 3600, 86400}[w.rng.IntN(3)],
	}, w.rng.IntN(2) == 0)
	s.Signatures.OptOut = s.Signatures.NSEC3 && w.rng.IntN(2) == 0
	s.Insecure = w.rng.IntN(6) == 0
	return s
}

// live lets a zone live; in stages, or as it comes.
func live(t *testing.T, seed uint64, staged bool) {
	w := newWorld(t, seed, plainZone, nil)
	w.dsTTL = []time.Duration{time.Hour, day, 2 * day}[w.rng.IntN(3)]
	w.dsLate = []time.Duration{10 * time.Minute, time.Hour, day}[w.rng.IntN(3)]
	w.tells = w.rng.IntN(2) == 0
	settings := w.any()
	if staged {
		settings = w.stages()[0]
	}
	if w.rng.IntN(2) == 0 {
		w.signing = settings
	}
	w.start()
	defer func() { w.stop() }()
	w.run(3 * day)
	change := func(s autosign.Settings) error {
		settings = s
		if w.rng.IntN(2) == 0 {
			w.signing = s
			w.restart(time.Duration(w.rng.Int64N(int64(time.Hour))))
			return nil
		}
		return w.reload(s)
	}
	if err := change(settings); err != nil {
		t.Fatal(err)
	}
	most := []time.Duration{30 * day, 120 * day}[w.rng.IntN(2)] // between changes
	if *rounds > 2 && w.rng.IntN(3) == 0 {
		most = 3 * day
	}
	rest := []activity{{10 * time.Minute, 5 * day, func() error { w.scan(); return nil }}, {10 * time.Minute, day, w.poll}}
	busy := append(slices.Clone(rest),
		activity{time.Minute, 8 * day, w.edit},
		activity{time.Minute, 30 * day, func() error {
			w.restart([]time.Duration{time.Second, time.Hour, 3 * day}[w.rng.IntN(3)])
			return nil
		}},
		activity{time.Minute, 30 * day, func() error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.loses = !w.loses
			return nil
		}},
		activity{time.Minute, most, func() error {
			err := w.maintain(func(k *autosign.Keeper) error { return k.Rollover(signer.Role(w.rng.IntN(3))) })
			if errors.Is(err, kasp.ErrBusy) {
				return nil
			}
			return err
		}},
	)
	if staged {
		for i, s := range w.stages() {
			if err := change(s); err != nil {
				t.Fatal(err)
			}
			w.run(90*day, busy...)
			if why := w.reached(s); why != "" {
				t.Errorf("stage %d: %s\n%s", i, why, w.ring())
			}
		}
	} else {
		w.run(2*365*day, append(busy, activity{time.Minute, most, func() error {
			// Who comes back before caches have forgotten what was signed with the keys of
			// before has to wait for that; the keeper does not.
			if since, ok := w.unsigned(); ok && time.Since(since) < longest+w.late {
				return nil
			}
			return change(w.any())
		}})...)
	}
	settings.Keys.KSKLifetime, settings.Keys.ZSKLifetime = 0, 0
	if err := change(settings); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.loses = false
	w.mu.Unlock()
	w.run(90*day, rest...)
	if why := w.atRest(settings); why != "" {
		t.Errorf("at rest: %s\n%s", why, w.ring())
	}
	signatures := 0
	for _, r := range w.reports {
		signatures += r.Signatures
		if r.Err != nil && !errors.Is(r.Err, syscall.ENOSPC) && !errors.Is(r.Err, errLost) {
			t.Errorf("reported: %v", r.Err)
		}
	}
	t.Logf("%d versions, %d signatures, %d times something was believed, keys that became %v", w.versions, signatures, w.verified, w.words)
}

// reached tells what of settings is not in force.
func (w *world) reached(s autosign.Settings) string {
	snap := w.zone.Snapshot()
	keys, _ := snap.View().Get(example, rrset.TypeDNSKEY)
	_, hashed := snap.View().Get(example, rrset.TypeNSEC3PARAM)
	switch {
	case s.Insecure && (!keys.IsEmpty() || !snap.SOA().Sigs.IsEmpty() || len(w.ds.now.ds) > 0):
		return fmt.Sprintf("%d keys and %d DS records in an insecure zone", keys.Len(), len(w.ds.now.ds))
	case s.Insecure:
		return ""
	case len(w.ds.now.ds) == 0:
		return "no DS record"
	case hashed != s.Signatures.NSEC3:
		return fmt.Sprintf("NSEC3: %t", hashed)
	}
	for k := range keys.All() {
		if signer.Algorithm(k[3]) != s.Keys.Algorithm {
			return fmt.Sprintf("a key of algorithm %d", k[3])
		}
	}
	return ""
}

// atRest tells what is not as settings without lifetimes have it in the end.
func (w *world) atRest(s autosign.Settings) string {
	if why := w.reached(s); why != "" {
		return why
	}
	status := w.keeper().Status(w.clock())
	want := []signer.Role{signer.CSK}
	switch {
	case s.Insecure:
		want = nil
	case s.Keys.Split:
		want = []signer.Role{signer.KSK, signer.ZSK}
	}
	var roles []signer.Role
	for _, k := range status.Keys {
		if k.State != kasp.Active || k.Waits != "" {
			return fmt.Sprintf("%+v", k)
		}
		roles = append(roles, k.Role)
	}
	if slices.Sort(roles); !slices.Equal(roles, want) || len(status.Parents) > 0 || status.Signed == s.Insecure {
		return fmt.Sprintf("keys %s, %d DS records to be looked for, signed: %t", roles, len(status.Parents), status.Signed)
	}
	return ""
}

// TestSignedOnDisk: zones, keys and what waits are in the store on the disk, whenever the
// process ends (K5).
func TestSignedOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := kasp.Policy{Algorithm: signer.ECDSAP256SHA256, Split: true, KSKLifetime: 30 * day, ZSKLifetime: 20 * day}
		w := newWorld(t, 1, plainZone, autosign.Settings{Keys: policy})
		w.onDisk()
		w.start()
		defer func() { w.stop() }()
		w.run(90*day, append(w.attentive(),
			activity{time.Minute, 8 * day, w.edit},
			activity{time.Minute, 8 * day, func() error {
				w.restart(time.Duration(w.rng.Int64N(int64(2 * time.Hour))))
				return nil
			}},
			activity{time.Minute, 10 * day, func() error {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.loses = !w.loses
				return nil
			}},
		)...)
		if w.words[kasp.Removed] < 4 {
			t.Errorf("keys became %v", w.words)
		}
	})
}
