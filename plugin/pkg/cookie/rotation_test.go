package cookie

import (
	"net/netip"
	"sync"
	"testing"
)

// A secret is replaced after its time; cookies are valid for theirs.
func TestRotation(t *testing.T) {
	const every = 86400
	addr := netip.MustParseAddr("192.0.2.1")
	for _, start := range []uint32{1000, 1<<32 - 5} {
		var r Rotation
		made := func(at uint32) []byte {
			_, b, err := r.Secrets(at, every).Handle(make([]byte, 8), addr, at, nil)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		check := func(name string, b []byte, at uint32, want Result) {
			t.Helper()
			if got, _, err := r.Secrets(at, every).Handle(b, addr, at, nil); got != want || err != nil {
				t.Errorf("from %d: %s: %v, want %v, %v", start, name, got, want, err)
			}
		}
		first := r.Secrets(start, every)
		if len(first.keys) != 1 {
			t.Errorf("%d secrets at the start", len(first.keys))
		}
		old := made(start + every - 1)
		if r.Secrets(start+every-1, every) != first || r.Secrets(start-200, every) != first {
			t.Error("replaced too early")
		}
		second := r.Secrets(start+every, every)
		if second == first || len(second.keys) != 2 || second.keys[0] == first.keys[0] || second.keys[1] != first.keys[0] {
			t.Fatalf("%v follows %v", second, first)
		}
		check("by the first, at once", old, start+every, Valid)
		check("by the first, as long as it may be", old, start+every-1+maxAge, Valid)
		check("by the first, an hour later", old, start+every+maxAge, Invalid)
		third := r.Secrets(start+every+MinRotation, every)
		if len(third.keys) != 1 || third.keys[0] != second.keys[0] {
			t.Errorf("%v stays of %v", third, second)
		}
		if r.Secrets(start+2*every-1, every) != third {
			t.Error("replaced before its time")
		}
		if s := r.Secrets(start+9*every, every); s.keys[0] == third.keys[0] || len(s.keys) != 2 {
			t.Error("not replaced after a time without requests")
		}
		if s := r.Secrets(start+every, every); s.keys[0] == third.keys[0] {
			t.Error("a clock that is set back brings a secret back")
		}
		shorter := r.Secrets(start+every+MinRotation, MinRotation)
		if shorter.keys[0] == second.keys[0] || len(shorter.keys) != 2 {
			t.Error("another time for rotation does not act")
		}
	}
}

func TestRotationConcurrently(t *testing.T) {
	var r Rotation
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for now := uint32(0); now < 20*MinRotation; now += 100 {
				if len(r.Secrets(now, MinRotation).keys) > 2 {
					t.Error("more than two secrets")
				}
			}
		})
	}
	group.Wait()
	s := r.Secrets(20*MinRotation, MinRotation)
	if n := testing.AllocsPerRun(100, func() { r.Secrets(20*MinRotation, MinRotation) }); n != 0 || r.Secrets(20*MinRotation, MinRotation) != s {
		t.Errorf("%v allocations", n)
	}
}
