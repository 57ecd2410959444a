package server

import (
	"errors"
	"testing"
	"time"
)

// Patience bounds everything that tests wait for.
const Patience = time.Minute

// Poll asks every few milliseconds until done, for as long as Patience; the error then has what was waited for.
func Poll(what func() string, done func() bool) error {
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return errors.New("waited in vain for " + what())
		}
	}
	return nil
}

// WaitFor is [Poll] that fails the test.
func WaitFor(t testing.TB, what func() string, done func() bool) {
	t.Helper()
	if err := Poll(what, done); err != nil {
		t.Fatal(err)
	}
}
