package update

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

const begin = 1_700_000_000

func at(second int64) time.Time { return time.Unix(begin+second, 0) }

// signed gives the signature of request n by a key, made at that second, good for
// 300 more.
func signed(key string, n int, second int64) signature {
	return signature{dnsname.MustParse(key), fmt.Sprintf("%016d", n), uint64(begin + second), 300}
}

// worker counts how often it works.
type worker struct {
	outcome
	worked int
}

func (w *worker) work() outcome { w.worked++; return w.outcome }

// A copy gets what came of the first, and does nothing.
func TestReplay(t *testing.T) {
	for name, out := range map[string]outcome{
		"done":            {serial: 7, changed: true, leased: true, lease: granted{records: 60}},
		"changed nothing": {serial: 7},
		"refused":         {err: deny("policy", "no")},
		"not our zone":    {err: errNotAuth},
	} {
		m, w := newMemory(10), worker{outcome: out}
		first := m.once(signed("k.", 1, 0), at(0), w.work)
		again := m.once(signed("k.", 1, 0), at(200), w.work)
		if w.worked != 1 || first.replay || !again.replay {
			t.Errorf("%s: worked %d times, %+v, %+v", name, w.worked, first, again)
		}
		if again.replay = false; again != first {
			t.Errorf("%s: %+v, and then %+v", name, first, again)
		}
		m.once(signed("k.", 2, 0), at(200), w.work)
		if w.worked != 2 {
			t.Errorf("%s: another request worked %d times", name, w.worked)
		}
	}
}

// Without a MAC, as with stock tsig or without a signature, nothing is known.
func TestReplayWithoutSignature(t *testing.T) {
	m, w := newMemory(10), worker{}
	m.once(signature{}, at(0), w.work)
	m.once(signature{}, at(0), w.work)
	if w.worked != 2 || len(m.known)+m.count != 0 {
		t.Errorf("worked %d times, %d are remembered", w.worked, len(m.known))
	}
}

// What could not be stored may come again, and is done then.
func TestReplayOfAFailure(t *testing.T) {
	m, w := newMemory(10), worker{outcome: outcome{err: errors.New("no space left on device")}}
	m.once(signed("k.", 1, 0), at(0), w.work)
	w.outcome = outcome{changed: true, serial: 8}
	out := m.once(signed("k.", 1, 0), at(1), w.work)
	if w.worked != 2 || !out.changed || out.replay {
		t.Errorf("worked %d times, %+v", w.worked, out)
	}
	if out = m.once(signed("k.", 1, 0), at(2), w.work); w.worked != 2 || !out.replay {
		t.Errorf("worked %d times, %+v", w.worked, out)
	}
}

// Copies that come while the first is being worked at wait for it; they do not
// believe in a success if it panics.
func TestReplayAtTheSameTime(t *testing.T) {
	for name, panics := range map[string]bool{"done": false, "panics": true} {
		synctest.Test(t, func(t *testing.T) {
			m, gate := newMemory(10), make(chan struct{})
			var wg sync.WaitGroup
			var mu sync.Mutex
			var outs []outcome
			worked := 0
			for range 5 {
				wg.Go(func() {
					defer func() {
						if recover() != nil != panics && panics {
							return // a copy
						}
					}()
					out := m.once(signed("k.", 1, 0), at(0), func() outcome {
						worked++
						<-gate
						if panics {
							panic("a mistake")
						}
						return outcome{changed: true, serial: 3}
					})
					mu.Lock()
					defer mu.Unlock()
					outs = append(outs, out)
				})
			}
			synctest.Wait()
			if len(outs) != 0 || worked != 1 {
				t.Errorf("%s: %d worked, %d did not wait", name, worked, len(outs))
			}
			close(gate)
			wg.Wait()
			copies := 0
			for _, out := range outs {
				if out.replay {
					copies++
				}
				if panics != errors.Is(out.err, errUnfinished) || out.changed == panics {
					t.Errorf("%s: %+v", name, out)
				}
			}
			if copies != 4 || panics != (len(m.known) == 0) {
				t.Errorf("%s: %d copies, %d are remembered", name, copies, len(m.known))
			}
		})
	}
}

// Signatures that are no longer good are forgotten, and nobody suffers.
func TestReplayExpires(t *testing.T) {
	m, w := newMemory(1000), worker{}
	for i := range 10 {
		m.once(signed("k.", i, 0), at(0), w.work)
	}
	m.once(signed("k.", 10, 300), at(300), w.work)
	if len(m.known) != 11 || m.count != 11 {
		t.Errorf("%d are remembered, %d queue", len(m.known), m.count)
	}
	m.once(signed("k.", 11, 301), at(301), w.work)
	if len(m.known) != 2 || m.count != 2 || slices.Max(m.lost) != 0 {
		t.Errorf("%d are remembered, %d queue, lost %v", len(m.known), m.count, m.lost)
	}
}

// The memory is bounded. What may have been forgotten is refused, and what was
// signed later is not, whatever other keys do.
func TestReplayBound(t *testing.T) {
	m, w := newMemory(4), worker{outcome: outcome{changed: true}}
	once := func(key string, n int, second int64) outcome { return m.once(signed(key, n, second), at(10), w.work) }
	for i := range 100 {
		once("k.", i, 5)
	}
	if w.worked != 5 || len(m.known) > 4 || m.count > 4 { // all signed in the one second
		t.Errorf("worked %d times, %d are remembered, %d queue", w.worked, len(m.known), m.count)
	}
}

func TestReplayWatermark(t *testing.T) {
	m, w := newMemory(4), worker{outcome: outcome{changed: true}}
	stale := func(out outcome) bool { r, ok := errors.AsType[*refusal](out.err); return ok && r.reason == "stale" }
	once := func(key string, n int, second int64) outcome { return m.once(signed(key, n, second), at(10), w.work) }
	for i := range 6 {
		if stale(once("k.", i, int64(i))) {
			t.Errorf("request %d is stale", i)
		}
	}
	if !stale(once("k.", 0, 0)) || !stale(once("k.", 1, 1)) || !stale(once("k.", 100, 1)) || w.worked != 6 {
		t.Errorf("what was forgotten is done again: worked %d times", w.worked)
	}
	if out := once("k.", 2, 2); !out.replay || w.worked != 6 {
		t.Errorf("what is known: %+v", out)
	}
	if stale(once("k.", 101, 2)) || w.worked != 7 {
		t.Error("what was signed later is stale")
	}
	// One whose clock is ahead, as far as the fudge lets it.
	for i := range 20 {
		once("ahead.", 200+i, 290)
	}
	if out := once("other.", 300, 10); out.err != nil {
		t.Errorf("another key suffers: %v", out.err)
	}
	if !stale(once("ahead.", 301, 290)) {
		t.Error("the key itself does not")
	}
}

// Many requests at a time, each of them a few times, and each is done once.
func TestReplayRace(t *testing.T) {
	m := newMemory(10_000)
	var mu sync.Mutex
	done := make(map[int]int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range 2000 {
				m.once(signed("k.", n, 0), at(0), func() outcome {
					mu.Lock()
					defer mu.Unlock()
					done[n]++
					return outcome{}
				})
			}
		})
	}
	wg.Wait()
	for n, times := range done {
		if times != 1 {
			t.Errorf("request %d was done %d times", n, times)
		}
	}
	if len(done) != 2000 {
		t.Errorf("%d were done", len(done))
	}
}
