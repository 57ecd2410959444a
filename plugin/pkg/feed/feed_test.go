package feed

import (
	"context"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func change(to int) *zone.Changeset {
	return &zone.Changeset{From: zone.Serial(to - 1), To: zone.Serial(to)}
}

func next(t *testing.T, s *Subscription) Event {
	t.Helper()
	e, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEventsOfZonesComeInTurn(t *testing.T) {
	var a, b Feed
	s := NewSubscription(10)
	a.Subscribe(s, "a")
	b.Subscribe(s, "b")
	one, two := new(zone.Snapshot), new(zone.Snapshot)
	a.Publish(one, change(1))
	b.Publish(one, nil)
	a.Publish(two, change(2))
	e := next(t, s)
	if e.Tag != "a" || e.Snapshot != two || len(e.Changes) != 2 || e.Changes[0].To != 1 || e.Changes[1].To != 2 {
		t.Errorf("first: %+v", e)
	}
	if e := next(t, s); e.Tag != "b" || e.Snapshot != one || e.Changes != nil {
		t.Errorf("second: %+v", e)
	}
	a.Publish(two, change(3))
	if e := next(t, s); len(e.Changes) != 1 || e.Changes[0].To != 3 {
		t.Errorf("what was read comes again: %+v", e)
	}
}

func TestOverflowDropsChangesAndKeepsTheVersion(t *testing.T) {
	var f, other Feed
	s := NewSubscription(3)
	f.Subscribe(s, 1)
	other.Subscribe(s, 2)
	var last *zone.Snapshot
	for i := range 5 {
		last = new(zone.Snapshot)
		f.Publish(last, change(i+1))
	}
	other.Publish(last, change(1))
	if e := next(t, s); e.Changes != nil || e.Snapshot != last {
		t.Errorf("%d changes are left, version is the last: %v", len(e.Changes), e.Snapshot == last)
	}
	if e := next(t, s); len(e.Changes) != 1 {
		t.Errorf("the room of dropped changes was not given back: %+v", e)
	}
	f.Publish(last, change(6))
	f.Publish(last, nil)
	f.Publish(last, change(7))
	if e := next(t, s); e.Changes != nil {
		t.Errorf("changes with a gap: %+v", e.Changes)
	}
}

func TestUnsubscribe(t *testing.T) {
	var f Feed
	s, other := NewSubscription(1), NewSubscription(1)
	f.Subscribe(s, 1)
	f.Subscribe(other, 1)
	f.Unsubscribe(s, 1)
	f.Unsubscribe(s, 1)
	f.Publish(new(zone.Snapshot), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	next(t, other)
}

func TestCloseWakesReaders(t *testing.T) {
	var f Feed
	s := NewSubscription(1)
	f.Subscribe(s, 1)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := s.Next(context.Background()); !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	}
	s.Close()
	wg.Wait()
	f.Publish(new(zone.Snapshot), nil)
	if _, err := s.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestSlowReaderLosesNothingButSteps publishes from many goroutines to a reader
// that must hear of the last version of each zone.
func TestSlowReaderLosesNothingButSteps(t *testing.T) {
	const zones, steps = 8, 200
	feeds := make([]Feed, zones)
	last := make([]*zone.Snapshot, zones)
	s := NewSubscription(50)
	var wg sync.WaitGroup
	for i := range feeds {
		feeds[i].Subscribe(s, i)
		last[i] = new(zone.Snapshot)
		wg.Go(func() {
			for n := range steps {
				snapshot := last[i]
				if n < steps-1 {
					snapshot = new(zone.Snapshot)
				}
				feeds[i].Publish(snapshot, change(n+1))
			}
		})
	}
	seen := make(map[any]zone.Serial) // what the changes of a zone led to, if that is known
	for left := zones; left > 0; {
		e := next(t, s)
		for _, c := range e.Changes {
			if at, known := seen[e.Tag]; known && c.From != at {
				t.Errorf("zone %v: from %d after %d", e.Tag, c.From, at)
			}
			seen[e.Tag] = c.To
		}
		if e.Changes == nil {
			delete(seen, e.Tag)
		}
		if e.Snapshot == last[e.Tag.(int)] {
			left--
		}
	}
	wg.Wait()
}
