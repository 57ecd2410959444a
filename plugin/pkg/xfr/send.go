package xfr

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of transfers that go out.
const (
	// MaxTransfers is how many go out at a time, in the whole process; a client has
	// a quarter of them at most.
	MaxTransfers = 64
	// MaxWaiting is how many wait for their turn for each one that goes out; a client
	// has a quarter of these, too.
	MaxWaiting = 16
	// SlotWait is how long one waits.
	SlotWait = 5 * time.Second
	// StallTime is how long a client may take for one message.
	StallTime = 15 * time.Second
	// MaxTime is how long a transfer may take.
	MaxTime = 2 * time.Hour
)

// Out is the Sender of the process.
var Out = NewSender(MaxTransfers)

// A Sender writes answers to clients, so many at a time. Its methods may be
// called concurrently.
type Sender struct {
	places int

	mu      sync.Mutex
	taken   int
	clients map[netip.Prefix]*share // those that have a place or wait for one
	waiting []*turn                 // in the order in which they came
}

// share is what a client has of a Sender.
type share struct {
	places, waiting int
}

// turn is that of one who waits.
type turn struct {
	client netip.Prefix
	comes  chan struct{} // closed when it has a place
}

// NewSender makes a Sender of at most so many transfers at a time.
func NewSender(transfers int) *Sender {
	return &Sender{places: transfers, clients: make(map[netip.Prefix]*share)}
}

// clientOf gives what counts as one client: an address, or with IPv6 a network,
// as there a host has as many addresses as it likes.
func clientOf(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // all without an address are one
	return p
}

// Sent is what a client got.
type Sent struct {
	Messages int
	Octets   int64 // of the messages
}

// Send writes the messages of an answer to a client with write, which must not
// keep them. It returns when the last is written.
//
// With ErrBusy, or the error of ctx, and no message sent the client waits for an
// answer; Rcode gives it. It is waited for a place among the transfers for
// SlotWait, if not too many wait already; answers that are a SOA record, or go over
// UDP, need none. All addresses of an IPv6 network of 64 bits are one client, so
// that nobody holds all places.
//
// When a message is not written within StallTime, the transfer takes longer than
// MaxTime, ctx ends between two messages or anything else goes wrong after the
// first message was begun, cut is called, once. It must close the connection, which
// tells the client (RFC 5936 §2.2), and lets a write that hangs return.
func (s *Sender) Send(ctx context.Context, to netip.Addr, st *Stream, write func(msg []byte) error, cut func()) (Sent, error) {
	if st.options.UDP == 0 && (st.Form == Incremental || st.Form == Whole) {
		client := clientOf(to)
		if err := s.enter(ctx, client); err != nil {
			return Sent{}, err
		}
		defer s.leave(client)
	}
	var sent Sent
	w := watchdog{cut: cut, end: time.Now().Add(MaxTime)}
	for msg, err := range st.Messages() {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil {
			err = w.watch(func() error { return write(msg) })
			w.begun = true
		}
		if err != nil {
			if w.begun {
				w.bite()
			}
			return sent, fmt.Errorf("after %d messages: %w", sent.Messages, err)
		}
		sent.Messages++
		sent.Octets += int64(len(msg))
	}
	return sent, nil
}

// enter waits for a place.
func (s *Sender) enter(ctx context.Context, client netip.Prefix) error {
	t, err := s.queue(client)
	if t == nil {
		return err
	}
	timer := time.NewTimer(SlotWait)
	defer timer.Stop()
	select {
	case <-t.comes:
		return nil
	case <-timer.C:
		err = fmt.Errorf("%w: %d", ErrBusy, s.places)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if !s.giveUp(t) { // its turn has come meanwhile
		return nil
	}
	return err
}

// queue takes a place if there is one, or gives the turn to wait for.
func (s *Sender) queue(client netip.Prefix) (*turn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[client]
	if c == nil {
		c = new(share)
	}
	switch {
	case s.admits(c):
		s.taken++
		c.places++
		s.clients[client] = c
		return nil, nil
	case len(s.waiting) >= s.places*MaxWaiting || c.waiting >= s.quarter()*MaxWaiting:
		return nil, fmt.Errorf("%w: %d, and as many wait as may", ErrBusy, s.places)
	}
	t := &turn{client: client, comes: make(chan struct{})}
	s.waiting = append(s.waiting, t)
	c.waiting++
	s.clients[client] = c
	return t, nil
}

// quarter is how many places a client may have.
func (s *Sender) quarter() int { return max(s.places/4, 1) }

// admits tells whether a client may have one more place; s.mu is held.
func (s *Sender) admits(c *share) bool { return s.taken < s.places && c.places < s.quarter() }

// giveUp takes back a turn, unless it has come.
func (s *Sender) giveUp(t *turn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, t)
	if i < 0 {
		return false
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	s.clients[t.client].waiting--
	s.forget(t.client)
	return true
}

// leave gives a place back, to the first who waits and may have it.
func (s *Sender) leave(client netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	s.clients[client].places--
	i := slices.IndexFunc(s.waiting, func(t *turn) bool { return s.admits(s.clients[t.client]) })
	if i >= 0 {
		t := s.waiting[i]
		s.waiting = slices.Delete(s.waiting, i, i+1)
		c := s.clients[t.client]
		s.taken++
		c.places, c.waiting = c.places+1, c.waiting-1
		close(t.comes)
	}
	s.forget(client)
}

// forget drops what is known of a client that has nothing; s.mu is held.
func (s *Sender) forget(client netip.Prefix) {
	if *s.clients[client] == (share{}) {
		delete(s.clients, client)
	}
}

// A watchdog cuts a connection when it makes no progress. It runs only while
// something is written.
type watchdog struct {
	cut   func()
	end   time.Time // of the transfer
	begun bool      // a message was
	bit   bool      // cut was called
	timer *time.Timer
	done  chan struct{} // closed when cut, called by timer, has returned
}

// watch runs do and cuts when it takes too long.
func (w *watchdog) watch(do func() error) error {
	patience, excuse := StallTime, ErrStalled
	if left := time.Until(w.end); left < patience {
		patience, excuse = left, ErrTooLong
	}
	if patience <= 0 {
		return excuse
	}
	if w.timer == nil {
		w.done = make(chan struct{})
		w.timer = time.AfterFunc(patience, func() {
			defer close(w.done)
			w.cut()
		})
	} else {
		w.timer.Reset(patience)
	}
	err := do()
	if !w.timer.Stop() {
		<-w.done
		w.bit = true
		return excuse
	}
	return err
}

// bite cuts the connection unless that is done.
func (w *watchdog) bite() {
	if !w.bit {
		w.bit = true
		w.cut()
	}
}
