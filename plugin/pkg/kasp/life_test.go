package kasp_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

var (
	rounds = flag.Int("rounds", 20, "how many zones live for two years")
	seed   = flag.Uint64("seed", 0, "what decides what happens to the first of them; 0: another each time")
)

// TestLife lets zones live for two years, in which policies change, rollovers are asked
// for, TTLs are edited, processes end, commits are lost and clocks are set, and holds it
// against every cache there could be (K1, K5, K7).
func TestLife(t *testing.T) {
	first := *seed
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	words := map[string]int{}
	steps, commits := 0, 0
	for n := range uint64(*rounds) {
		s := first + n
		w := life(s)
		if err := w.live(2 * 365 * day); err != nil {
			t.Fatalf("seed %d: %v\n%s", s, err, w.show())
		}
		for word, n := range w.words {
			words[word] += n
		}
		steps, commits = steps+w.steps, commits+w.commits
	}
	t.Logf("seeds from %d: %d steps, %d versions, keys that became %v", first, steps, commits, words)
	for _, word := range kasp.Words()[1:] {
		if words[word] == 0 {
			t.Errorf("no key became %s", word)
		}
	}
}

// life makes a world at random.
func life(seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 2))
	w := newWorld(seed, kasp.Policy{}, 5*minute, minute, hour, day, 5*minute, hour)
	w.propagation = []int64{minute, 30 * minute, 6 * hour}[rng.IntN(3)]
	w.lateParent = []int64{10 * minute, hour, day}[rng.IntN(3)]
	w.safety = []int64{minute, 2 * minute, 20 * minute}[rng.IntN(3)]
	w.mode = parentMode(rng.IntN(3))
	w.tells, w.lossy = rng.IntN(2) == 0, rng.IntN(2) == 0
	w.ring.SetPolicy(w.complete(w.policy()))
	return w
}

// policy gives one at random.
func (w *world) policy() kasp.Policy {
	return kasp.Policy{
		Algorithm:   []signer.Algorithm{8, 13, 14, 15}[w.rng.IntN(4)],
		Split:       w.rng.IntN(2) == 0,
		KSKLifetime: []time.Duration{0, 30 * 24 * time.Hour, 90 * 24 * time.Hour}[w.rng.IntN(3)],
		ZSKLifetime: []time.Duration{0, 20 * 24 * time.Hour, 30 * 24 * time.Hour}[w.rng.IntN(3)],
		KeyTTL:      []uint32{minute, hour, day}[w.rng.IntN(3)],
	}
}

// live lets a world go on, and then be quiet until all is in order.
func (w *world) live(length int64) error {
	most := []int64{3 * day, 30 * day, 120 * day}[w.rng.IntN(3)] // between changes
	edits, polls, visits := []int64{day, 20 * day}[w.rng.IntN(2)], []int64{hour, day}[w.rng.IntN(2)], []int64{day, 5 * day}[w.rng.IntN(2)]
	err := w.run(length,
		activity{10 * minute, visits, w.parent},
		activity{10 * minute, polls, w.poll},
		activity{minute, edits, func() error { return w.step(func() {}) }},
		activity{minute, 40 * day, func() error {
			if w.stored == nil {
				return nil
			}
			jump := int64(0)
			if w.rng.IntN(3) == 0 {
				jump = 30 * day * (2*w.rng.Int64N(2) - 1)
			}
			if err := w.restart([]int64{minute, hour, 3 * day}[w.rng.IntN(3)], w.ring.Policy()); err != nil {
				return err
			}
			w.clock += jump
			err := w.step(nil)
			if jump != 0 && err == nil && !w.lossy && w.jump == 0 {
				return fmt.Errorf("a jump by %d s was not found", jump)
			}
			return err
		}},
		activity{day, 60 * day, func() error {
			w.clock += 30 * day * (2*w.rng.Int64N(2) - 1)
			return w.step(nil)
		}},
		activity{minute, most, func() error {
			p := w.ring.Policy()
			switch w.rng.IntN(4) {
			case 0:
				p.Insecure = !p.Insecure
			case 1:
				p.Split = !p.Split
			default:
				w.validity = []int64{2 * day, 4 * day, 12 * day}[w.rng.IntN(3)]
				p = w.complete(w.policy())
			}
			w.ring.SetPolicy(p)
			return w.step(nil)
		}},
		activity{minute, most, func() error {
			_ = w.ring.Rollover(signer.Role(w.rng.IntN(3))) // it may not be possible
			return w.step(nil)
		}},
	)
	if err != nil {
		return err
	}
	p := w.ring.Policy()
	p.KSKLifetime, p.ZSKLifetime = 0, 0
	w.ring.SetPolicy(p)
	w.lossy = false
	if w.mode == never {
		w.mode = scans
	}
	if err := w.run(120*day, activity{10 * minute, 5 * day, w.parent}, activity{10 * minute, day, w.poll}); err != nil {
		return fmt.Errorf("at rest: %w", err)
	}
	return w.atRest()
}

// atRest tells what is not as the policy says.
func (w *world) atRest() error {
	keys, p := w.ring.Keys(), w.ring.Policy()
	var want []signer.Role
	switch {
	case p.Insecure:
	case p.Split:
		want = []signer.Role{signer.KSK, signer.ZSK}
	default:
		want = []signer.Role{signer.CSK}
	}
	var roles []signer.Role
	var ds []kasp.ID
	for _, k := range keys {
		if k.State != kasp.Active || k.Waits != "" || k.Key.Algorithm != p.Algorithm && p.Algorithm != 0 {
			return fmt.Errorf("at rest: %+v", k)
		}
		roles = append(roles, k.Role)
		if k.Role != signer.ZSK {
			ds = append(ds, k.Key)
		}
	}
	slices.Sort(roles)
	if !slices.Equal(roles, want) || !slices.Equal(ds, w.ds.now().keys) || len(w.ring.Parents(w.wall())) > 0 {
		return fmt.Errorf("at rest: keys %s, DS %s", roles, w.ds.now().keys)
	}
	if _, ok := w.ring.Next(w.wall()); ok == p.Insecure {
		return fmt.Errorf("at rest: something next: %t", ok)
	}
	return nil
}

// show gives the keys as they are.
func (w *world) show() (text string) {
	for _, k := range w.ring.Keys() {
		text += fmt.Sprintf("%+v\n", k)
	}
	return fmt.Sprintf("%+v\n%s", w.ring.Policy(), text)
}
