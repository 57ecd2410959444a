// Package memory keeps zones in the memory of the process: for tests, and for
// servers whose zones come from elsewhere at each start.
package memory

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Store is a journal.Store. What it holds is gone with Close.
type Store struct {
	mu     sync.RWMutex
	closed bool
	zones  map[dnsname.Name]*held
	floor  journal.Revision // the greatest of the zones that were deleted
}

// held is a zone. Histories are kept as stored, so that they do not hold on to
// the memory of old versions.
type held struct {
	journal.State
	history []step // oldest first
	octets  int64
}

type step struct {
	from, to zone.Serial
	change   []byte
}

var _ journal.Store = (*Store)(nil)

// New gives an empty store.
func New() *Store { return &Store{zones: make(map[dnsname.Name]*held)} }

// open tells whether the store may be used; the lock is held.
func (s *Store) open(ctx context.Context) error {
	if s.closed {
		return journal.ErrClosed
	}
	return ctx.Err()
}

// Load is journal.Store's.
func (s *Store) Load(ctx context.Context, origin dnsname.Name) (journal.State, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.open(ctx); err != nil {
		return journal.State{}, err
	}
	z := s.zones[origin]
	if z == nil {
		return journal.State{}, journal.ErrNotExist
	}
	state := z.State
	state.Notes = maps.Clone(z.Notes)
	return state, nil
}

// Commit is journal.Store's.
func (s *Store) Commit(ctx context.Context, origin dnsname.Name, c journal.Commit) (journal.Revision, error) {
	var change []byte
	_, join := c.Kept()
	if join {
		change = journal.AppendChangeset(nil, &c.Change)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return 0, err
	}
	z := s.zones[origin]
	var present zone.Serial
	if z != nil {
		present = z.Snapshot.Serial()
	}
	if z == nil && c.Base != 0 || z != nil && c.Base != z.Revision {
		return 0, journal.ErrConflict
	}
	if err := c.Check(origin, present); err != nil {
		return 0, err
	}
	if z == nil {
		z = &held{State: journal.State{Revision: s.floor, Notes: make(journal.Notes)}}
		s.zones[origin] = z
	}
	z.Revision++
	z.Snapshot = c.Next
	for name, value := range c.Notes {
		if value == nil {
			delete(z.Notes, name)
		} else {
			z.Notes[name] = value
		}
	}
	if drop, _ := c.Kept(); drop {
		z.trim(len(z.history))
	}
	if join {
		z.history = append(z.history, step{c.Change.From, c.Change.To, change})
		z.octets += int64(len(change))
	}
	z.trim(len(z.history) - max(0, c.Keep.Depth))
	for z.octets > c.Keep.Octets && len(z.history) > 0 {
		z.trim(1)
	}
	return z.Revision, nil
}

// trim drops the n oldest changesets. Readers may be going through them: they
// are not overwritten, and gone when the slice next grows.
func (z *held) trim(n int) {
	n = max(0, n)
	for _, h := range z.history[:n] {
		z.octets -= int64(len(h.change))
	}
	z.history = z.history[n:]
}

// Changes is journal.Store's.
func (s *Store) Changes(ctx context.Context, origin dnsname.Name, from, to zone.Serial) iter.Seq2[zone.Changeset, error] {
	return func(yield func(zone.Changeset, error) bool) {
		steps, err := s.steps(ctx, origin, from, to)
		for _, h := range steps {
			c, err := journal.ParseChangeset(h.change)
			if err == nil {
				err = ctx.Err()
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
		if err != nil {
			yield(zone.Changeset{}, err)
		}
	}
}

// steps gives the part of the history of a zone that leads from one serial to
// another. It is not changed afterwards.
func (s *Store) steps(ctx context.Context, origin dnsname.Name, from, to zone.Serial) ([]step, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	z := s.zones[origin]
	if z == nil {
		return nil, journal.ErrNotExist
	}
	if from == to {
		return nil, nil
	}
	end := len(z.history)
	for end > 0 && z.history[end-1].to != to {
		end--
	}
	for i := end - 1; i >= 0; i-- {
		if z.history[i].from == from {
			return z.history[i:end:end], nil
		}
	}
	return nil, journal.ErrTrimmed
}

// HistorySize is journal.Store's.
func (s *Store) HistorySize(origin dnsname.Name) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if z := s.zones[origin]; z != nil {
		return z.octets
	}
	return 0
}

// List is journal.Store's.
func (s *Store) List(ctx context.Context) iter.Seq2[dnsname.Name, error] {
	return func(yield func(dnsname.Name, error) bool) {
		s.mu.RLock()
		err := s.open(ctx)
		origins := slices.Collect(maps.Keys(s.zones))
		s.mu.RUnlock()
		for _, o := range origins {
			if err = ctx.Err(); err != nil {
				break
			}
			if !yield(o, nil) {
				return
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

// Delete is journal.Store's.
func (s *Store) Delete(ctx context.Context, origin dnsname.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return err
	}
	if z := s.zones[origin]; z != nil {
		s.floor = max(s.floor, z.Revision)
		delete(s.zones, origin)
	}
	return nil
}

// Close is journal.Store's.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.zones = true, nil
	return nil
}
