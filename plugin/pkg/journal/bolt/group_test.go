package bolt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/journaltest"
)

// waiting is a store whose disk waits to be told to go on.
type waiting struct {
	*Store
	t       *testing.T
	states  map[dnsname.Name]*journal.State
	entered chan struct{} // a transaction is about to be written
	proceed chan error    // write it, or fail with that
	mu      sync.Mutex
	results map[dnsname.Name]error
	wg      sync.WaitGroup
}

// newWaiting makes a store with so many zones, z00 and on.
func newWaiting(t *testing.T, zones int) *waiting {
	w := &waiting{
		Store: openWith(t, t.TempDir(), direct), t: t,
		states: make(map[dnsname.Name]*journal.State), results: make(map[dnsname.Name]error),
		entered: make(chan struct{}), proceed: make(chan error),
	}
	for i := range zones {
		w.states[origin(i)] = begin(t, w.Store, origin(i), 2)
	}
	w.commit = func(tx *bbolt.Tx) error {
		w.entered <- struct{}{}
		if err := <-w.proceed; err != nil {
			return err
		}
		return tx.Commit()
	}
	return w
}

func origin(i int) dnsname.Name { return dnsname.Name(fmt.Sprintf("\x03z%02d\x00", i)) }

// start begins a step of a zone, with a note so large, and waits until it is in
// the queue, or writes.
func (w *waiting) start(ctx context.Context, i, octets int) {
	st := w.states[origin(i)]
	w.Store.mu.Lock()
	before := len(w.queue)
	idle := !w.writing
	w.Store.mu.Unlock()
	w.wg.Go(func() {
		next, c := journaltest.Change(w.t, st.Snapshot, st.Snapshot.Serial()+1, nil)
		rev, err := w.Commit(ctx, origin(i), journal.Commit{Base: st.Revision, Next: next, Change: c, Notes: journal.Notes{"n": make([]byte, octets)}})
		if err == nil {
			st.Revision, st.Snapshot = rev, next
		}
		w.mu.Lock()
		w.results[origin(i)] = err
		w.mu.Unlock()
	})
	if idle {
		<-w.entered
		return
	}
	w.until(func() bool { return len(w.queue) > before })
}

// until waits for something that happens with the queue.
func (w *waiting) until(what func() bool) {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		w.Store.mu.Lock()
		ok := what()
		w.Store.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatal("it does not happen")
		}
	}
}

// end waits for all steps, and tells the transactions that are still to come what
// becomes of them: those after the last are written.
func (w *waiting) end(fates ...error) (transactions int) {
	done := make(chan struct{})
	go func() {
		w.wg.Wait()
		close(done)
	}()
	for {
		select {
		case <-w.entered:
			var fate error
			if transactions < len(fates) {
				fate = fates[transactions]
			}
			w.proceed <- fate
			transactions++
		case <-done:
			return transactions
		}
	}
}

// expect compares the results of steps: all but those named succeeded.
func (w *waiting) expect(failed map[int]error) {
	w.t.Helper()
	for i := range len(w.states) {
		err, ran := w.results[origin(i)]
		if want := failed[i]; ran && !errors.Is(err, want) {
			w.t.Errorf("zone %d: %v, want %v", i, err, want)
		}
		st, err := w.Load(context.Background(), origin(i))
		if err != nil || st.Revision != w.states[origin(i)].Revision {
			w.t.Errorf("zone %d: revision %d, want %d, %v", i, st.Revision, w.states[origin(i)].Revision, err)
		}
	}
}

func TestGroup(t *testing.T) {
	ctx := t.Context()
	t.Run("all that wait are one transaction", func(t *testing.T) {
		w := newWaiting(t, 20)
		for i := range 20 {
			w.start(ctx, i, 10)
		}
		w.proceed <- nil
		if n := w.end(); n != 1 {
			t.Errorf("%d transactions for 19 that waited", n)
		}
		w.expect(nil)
	})
	t.Run("at most so many", func(t *testing.T) {
		w := newWaiting(t, 10)
		for i := range 10 {
			w.start(ctx, i, small.limits.group/3)
		}
		w.proceed <- nil
		if n := w.end(); n < 3 || n > 9 {
			t.Errorf("%d transactions for 9 that waited, each a third of one", n)
		}
		w.expect(nil)
	})
	t.Run("one conflict fails alone", func(t *testing.T) {
		w := newWaiting(t, 8)
		w.states[origin(5)].Revision += 7
		for i := range 8 {
			w.start(ctx, i, 10)
		}
		w.proceed <- nil
		if n := w.end(); n != 1 {
			t.Errorf("%d transactions", n)
		}
		w.states[origin(5)].Revision -= 7
		w.expect(map[int]error{5: journal.ErrConflict})
	})
	t.Run("one that cannot be written fails alone", func(t *testing.T) {
		w := newWaiting(t, 8)
		// Its record says that there is history, and there is none.
		w.Store.mu.Lock()
		r := w.zones[origin(5)]
		r.next += 3
		w.zones[origin(5)] = r
		w.Store.mu.Unlock()
		for i := range 8 {
			w.start(ctx, i, 10)
		}
		w.proceed <- nil
		if n := w.end(); n != 6 {
			t.Errorf("%d transactions, want one for each that can be written", n)
		}
		w.expect(map[int]error{5: journal.ErrCorrupt})
	})
	t.Run("the disk has room for some", func(t *testing.T) {
		w := newWaiting(t, 8)
		for i := range 8 {
			w.start(ctx, i, 1000*(8-i))
		}
		w.proceed <- nil
		// The group fails; of its members the four smallest do not.
		n := w.end(syscall.ENOSPC, nil, nil, nil, nil, syscall.ENOSPC)
		if n != 6 {
			t.Errorf("%d transactions", n)
		}
		w.expect(map[int]error{1: syscall.ENOSPC, 2: syscall.ENOSPC, 3: syscall.ENOSPC})
	})
	t.Run("the disk is full", func(t *testing.T) {
		w := newWaiting(t, 20)
		failed := map[int]error{}
		for i := range 20 {
			w.start(ctx, i, 10)
			failed[i] = syscall.ENOSPC
		}
		w.proceed <- syscall.ENOSPC
		if n := w.end(syscall.ENOSPC, syscall.ENOSPC, syscall.ENOSPC); n != 2 {
			t.Errorf("%d transactions for 19 that waited", n)
		}
		w.expect(failed)
		for i := range 20 {
			w.start(ctx, i, 10)
		}
		w.proceed <- nil
		w.end()
		w.expect(nil)
	})
	t.Run("contexts end in the queue", func(t *testing.T) {
		w := newWaiting(t, 8)
		ended, cancel := context.WithCancel(ctx)
		failed := map[int]error{}
		for i := range 8 {
			c := ctx
			if i%2 == 1 { // the first of those who wait too
				c = ended
				failed[i] = context.Canceled
			}
			w.start(c, i, 10)
		}
		cancel()
		w.until(func() bool { return len(w.queue) == 3 })
		w.proceed <- nil
		if n := w.end(); n != 1 {
			t.Errorf("%d transactions", n)
		}
		w.expect(failed)
	})
	t.Run("a context that ends while it is written has no effect", func(t *testing.T) {
		w := newWaiting(t, 2)
		ended, cancel := context.WithCancel(ctx)
		w.start(ended, 0, 10)
		w.start(ctx, 1, 10)
		cancel()
		w.proceed <- nil
		w.end()
		w.expect(nil)
	})
	t.Run("steps of one zone, one after another", func(t *testing.T) {
		w := newWaiting(t, 2)
		w.start(ctx, 0, 10)
		w.start(ctx, 1, 10)
		// It follows the one that waits, and is written with it.
		st := w.states[origin(1)]
		next, c := journaltest.Change(t, st.Snapshot, 2, nil)
		after, c2 := journaltest.Change(t, next, 3, nil)
		var rev journal.Revision
		var err error
		w.wg.Go(func() {
			rev, err = w.Commit(ctx, origin(1), journal.Commit{Base: st.Revision + 1, Next: after, Change: c2})
		})
		w.until(func() bool { return len(w.queue) == 2 })
		w.proceed <- nil
		if n := w.end(); n != 1 || err != nil || rev != 3 || c.From != 1 {
			t.Errorf("%d transactions, revision %d, %v", n, rev, err)
		}
	})
	t.Run("Close refuses those who wait", func(t *testing.T) {
		w := newWaiting(t, 8)
		failed := map[int]error{}
		for i := range 8 {
			w.start(ctx, i, 10)
			if i > 0 {
				failed[i] = journal.ErrClosed
			}
		}
		closed := make(chan error)
		go func() { closed <- w.Close() }()
		w.until(func() bool { return w.closed })
		w.proceed <- nil
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if n := w.end(); n != 0 {
			t.Errorf("%d transactions", n)
		}
		for i := range 8 {
			if err := w.results[origin(i)]; !errors.Is(err, failed[i]) {
				t.Errorf("zone %d: %v", i, err)
			}
		}
	})
}

// TestOthersBetween commits to other zones while a large one is written.
func TestOthersBetween(t *testing.T) {
	s := openWith(t, t.TempDir(), direct)
	st := begin(t, s, origin(0), 2)
	turn := make(chan struct{})
	s.commit = func(tx *bbolt.Tx) error {
		select {
		case turn <- struct{}{}:
			<-turn
		default:
		}
		return tx.Commit()
	}
	done := make(chan error)
	go func() {
		_, err := s.Commit(context.Background(), origin(1), journal.Commit{Next: journaltest.NewZone(t, origin(1), 1, 500)})
		done <- err
	}()
	var err error
	between := 0
	for running := true; running; {
		select {
		case <-turn: // a part of the large zone, which goes on while this one waits
			turn <- struct{}{}
			if e := advance(t, s, st, nil); e != nil {
				t.Fatal(e)
			}
			between++
		case err = <-done:
			running = false
		}
	}
	if err != nil || between < 10 {
		t.Errorf("%d commits between, %v", between, err)
	}
}
