package zonedb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Errors of Apply.
var (
	ErrNotLoaded = errors.New("zone is not loaded")
	ErrBusy      = errors.New("too many changes are waiting")
	ErrRecords   = errors.New("zone would have more records than allowed")
)

// Bounds of the queue of a zone: how many requests may wait, and how many are
// made one commit.
const (
	maxQueue = 4096
	maxBatch = 256
)

// maxConflicts is how often a batch is done again because the zone in the store
// was not the one it started from.
const maxConflicts = 5

// request is an edit that waits for its commit.
type request struct {
	who  string
	edit func(*zone.Txn) error
	done chan struct{} // closed when the rest is set
	made zone.Changeset
	err  error
}

// Apply changes the zone. edit is called with a transaction that holds the
// present version and the edits before it in the same commit; it may be called
// again if a commit has to be repeated, and must not call methods of the zone.
// Concurrent edits are joined to one commit; one that gives an error is undone
// alone, and the error is what Apply gives.
//
// When Apply returns without an error, the change is durable and visible. The
// changeset is that of the whole commit, and empty if the commit changed nothing;
// then the serial stays. The records of edits made one commit are one changeset. A change that sets no later serial gets one by the
// policy. who is kept in the history. An error of the store wraps what the system
// gave, and nothing was changed; ErrNotLoaded, ErrBusy and ErrRecords are others,
// and journal.ErrClosed if no lease holds the zone. A context that ends before the edit is made gives its error.
func (z *Zone) Apply(ctx context.Context, who string, edit func(*zone.Txn) error) (zone.Changeset, error) {
	r := &request{who: who, edit: edit, done: make(chan struct{})}
	z.queueMu.Lock()
	if len(z.queue) == maxQueue {
		z.queueMu.Unlock()
		return zone.Changeset{}, ErrBusy
	}
	z.queue = append(z.queue, r)
	z.queueMu.Unlock()
	for {
		select {
		case <-r.done:
			return r.made, r.err
		case <-ctx.Done():
			if z.giveUp(r) {
				return zone.Changeset{}, ctx.Err()
			}
			<-r.done
			return r.made, r.err
		case z.writer <- struct{}{}: // whoever gets here works for all who wait
			z.batch(z.next())
			<-z.writer
		}
	}
}

// next takes the requests of the next batch from the queue.
func (z *Zone) next() []*request {
	z.queueMu.Lock()
	defer z.queueMu.Unlock()
	n := min(len(z.queue), maxBatch)
	batch := slices.Clone(z.queue[:n])
	z.queue = slices.Delete(z.queue, 0, n)
	return batch
}

// giveUp takes a request out of the queue; it gives false if a batch has it.
func (z *Zone) giveUp(r *request) bool {
	z.queueMu.Lock()
	defer z.queueMu.Unlock()
	i := slices.Index(z.queue, r)
	if i >= 0 {
		z.queue = slices.Delete(z.queue, i, i+1)
	}
	return i >= 0
}

// batch makes one commit of the requests; the token of the writer is held.
func (z *Zone) batch(batch []*request) {
	if len(batch) == 0 {
		return
	}
	change, err := z.commitBatch(batch)
	if _, ok := errors.AsType[noZoneError](err); ok && len(batch) > 1 { // whose edit it was shows if each is made alone
		for _, r := range batch {
			z.batch([]*request{r})
		}
		return
	}
	for _, r := range batch {
		if r.err == nil {
			r.made, r.err = change, err
		}
		close(r.done)
	}
	crashPoint("acknowledged")
	if err == nil && !change.IsEmpty() {
		z.feed.Publish(z.current.Load(), &change)
		crashPoint("announced")
	}
}

// commitBatch gives the change that was committed for all requests whose err is
// nil afterwards, or why there is none.
func (z *Zone) commitBatch(batch []*request) (zone.Changeset, error) {
	for range maxConflicts {
		next, change, err := z.edit(batch)
		if err != nil || change.IsEmpty() {
			return zone.Changeset{}, err
		}
		err = z.step(journal.Commit{Next: next, Change: change})
		if !errors.Is(err, journal.ErrConflict) {
			return change, err
		}
		if err := z.restore(); err != nil {
			return zone.Changeset{}, err
		}
	}
	return zone.Changeset{}, fmt.Errorf("%w, %d times", journal.ErrConflict, maxConflicts)
}

// edit makes the edits of a batch one version.
func (z *Zone) edit(batch []*request) (*zone.Snapshot, zone.Changeset, error) {
	base := z.current.Load()
	switch {
	case z.closed:
		return nil, zone.Changeset{}, journal.ErrClosed
	case base == nil:
		return nil, zone.Changeset{}, ErrNotLoaded
	}
	spec := z.Spec()
	txn := base.Begin()
	var who []string
	for _, r := range batch {
		point := txn.Savepoint()
		r.err = r.edit(txn)
		if _, ok := txn.Serial(); r.err == nil && !ok {
			r.err = zone.ErrNoSOA
		}
		if limit := spec.Options.MaxRecords; r.err == nil && limit > 0 && txn.Records() > max(limit, base.Records()) {
			r.err = ErrRecords
		}
		switch {
		case r.err != nil:
			txn.Rollback(point)
		case !slices.Contains(who, r.who):
			who = append(who, r.who)
		}
	}
	if !txn.Changed() {
		return nil, zone.Changeset{}, nil
	}
	now := time.Now()
	if s, ok := txn.Serial(); !ok || !s.After(base.Serial()) {
		if err := txn.SetSerial(spec.Serial.Next(base.Serial(), now)); err != nil {
			return nil, zone.Changeset{}, noZoneError{err}
		}
	}
	next, change, err := txn.Commit()
	if err != nil {
		return nil, zone.Changeset{}, noZoneError{err}
	}
	change.Who, change.When = strings.Join(who, " "), now
	return next, change, nil
}

// noZoneError is that of edits which leave what is no zone.
type noZoneError struct{ error }

func (e noZoneError) Unwrap() error { return e.error }

// step makes a version durable and then visible; the token of the writer is
// held.
func (z *Zone) step(c journal.Commit) error {
	if z.closed {
		return journal.ErrClosed
	}
	spec := z.Spec()
	c.Base, c.Keep = z.revision, spec.History
	crashPoint("prepared")
	start := time.Now()
	rev, err := z.store.Commit(context.Background(), spec.Origin, c)
	z.db.committed(z, time.Since(start), err)
	if err != nil {
		return err
	}
	crashPoint("durable")
	z.revision = rev
	z.current.Store(c.Next)
	crashPoint("visible")
	return nil
}

// restore puts the zone in service as it is in the store; the token of the writer
// is held. The error is journal.ErrNotExist if it is not there; then what is in
// service stays.
func (z *Zone) restore() error {
	state, err := z.store.Load(context.Background(), z.Spec().Origin)
	if errors.Is(err, journal.ErrNotExist) {
		z.revision, z.noted = 0, note{}
	}
	if err != nil {
		return err
	}
	z.revision, z.noted = state.Revision, parseNote(state.Notes[noteName])
	z.current.Store(state.Snapshot)
	z.feed.Publish(state.Snapshot, nil)
	return nil
}

// close ends all changes; it waits for the one that is being made.
func (z *Zone) close() {
	z.writer <- struct{}{}
	z.closed = true
	<-z.writer
}
