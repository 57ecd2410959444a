// Package feed tells of committed changes of zones. A Feed belongs to one zone;
// a Subscription may be to many of them and is read by one goroutine. Publishing
// never waits: what a slow reader has not taken is joined, and when it is more
// than the reader asked to be kept, the single changes are dropped and only the
// newest version is left.
package feed

import (
	"context"
	"errors"
	"sync"

	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// ErrClosed is what Next gives after Close.
var ErrClosed = errors.New("subscription is closed")

// Event is what became of one zone since the reader last heard of it.
type Event struct {
	Tag      any            // given to Subscribe
	Snapshot *zone.Snapshot // the newest version
	// Changes lead to Snapshot from the version of the event before, oldest first.
	// It is nil if they were dropped, or there was no version to start from.
	Changes []zone.Changeset
}

// Feed is where the changes of one zone are published. Its zero value is ready
// for use. Its methods may be called concurrently, but events reach a reader in
// the order of the calls of Publish only if those come one after the other.
type Feed struct {
	mu          sync.Mutex
	subscribers []subscriber
}

type subscriber struct {
	to  *Subscription
	tag any
}

// Subscribe makes the subscription hear of changes from now on; tag comes with
// each event and tells the zones of a subscription apart: it must be comparable
// and used once.
func (f *Feed) Subscribe(s *Subscription, tag any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subscribers = append(f.subscribers, subscriber{s, tag})
}

// Unsubscribe ends what Subscribe with the same arguments began.
func (f *Feed) Unsubscribe(s *Subscription, tag any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, sub := range f.subscribers {
		if sub.to == s && sub.tag == tag {
			f.subscribers = append(f.subscribers[:i:i], f.subscribers[i+1:]...)
			return
		}
	}
}

// Publish tells all subscriptions of a version and the change that led to it; nil
// if the version follows no other. It never blocks.
func (f *Feed) Publish(snapshot *zone.Snapshot, change *zone.Changeset) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, sub := range f.subscribers {
		sub.to.add(sub.tag, snapshot, change)
	}
}

// Subscription collects events for one reader. It holds one event for each zone,
// and a bounded number of changes.
type Subscription struct {
	limit int
	ready chan struct{} // holds a token while there may be an event

	mu      sync.Mutex
	waiting []*Event // in the order in which the zones changed first
	byTag   map[any]*Event
	changes int // in all of them
	closed  bool
}

// NewSubscription gives one that keeps up to that many changes; with 0 its events
// have versions only.
func NewSubscription(limit int) *Subscription {
	return &Subscription{limit: limit, ready: make(chan struct{}, 1), byTag: make(map[any]*Event)}
}

func (s *Subscription) add(tag any, snapshot *zone.Snapshot, change *zone.Changeset) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	e, found := s.byTag[tag]
	if !found {
		e = &Event{Tag: tag}
		s.byTag[tag] = e
		s.waiting = append(s.waiting, e)
	}
	e.Snapshot = snapshot
	switch {
	case change != nil && s.changes < s.limit && (!found || e.Changes != nil):
		e.Changes = append(e.Changes, *change)
		s.changes++
	default:
		s.changes -= len(e.Changes)
		e.Changes = nil
	}
	s.signal()
}

// signal wakes the reader; s.mu is held.
func (s *Subscription) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Next gives the event that has waited longest, and waits if there is none. The
// error is that of ctx or ErrClosed.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		if e, ok, err := s.take(); ok || err != nil {
			return e, err
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

func (s *Subscription) take() (Event, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		s.signal() // for other readers
		return Event{}, false, ErrClosed
	case len(s.waiting) == 0:
		return Event{}, false, nil
	}
	e := s.waiting[0]
	s.waiting = s.waiting[1:]
	delete(s.byTag, e.Tag)
	s.changes -= len(e.Changes)
	return *e, true, nil
}

// Close ends the subscription: nothing more is kept for it, and Next gives
// ErrClosed.
func (s *Subscription) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.waiting, s.byTag = true, nil, nil
	s.signal()
}
