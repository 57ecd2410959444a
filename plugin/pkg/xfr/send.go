package xfr

import (
	"context"
	"fmt"
	"time"
)

// Bounds of transfers that go out.
const (
	// MaxTransfers is how many go out at a time, in the whole process.
	MaxTransfers = 64
	// SlotWait is how long another waits for its turn.
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
	slots chan struct{}
}

// NewSender makes a Sender of at most so many transfers at a time.
func NewSender(transfers int) *Sender {
	return &Sender{slots: make(chan struct{}, transfers)}
}

// Sent is what a client got.
type Sent struct {
	Messages int
	Octets   int64 // of the messages
}

// Send writes the messages of an answer with write, which must not keep them. It
// returns when the last is written.
//
// With ErrBusy, or the error of ctx, and no message sent the client waits for an
// answer; Rcode gives it. It is waited for a place among the transfers for
// SlotWait; answers that are a SOA record, or go over UDP, need none.
//
// When a message is not written within StallTime, the transfer takes longer than
// MaxTime, ctx ends between two messages or anything else goes wrong after the
// first message was begun, cut is called, once. It must close the connection, which
// tells the client (RFC 5936 §2.2), and lets a write that hangs return.
func (s *Sender) Send(ctx context.Context, st *Stream, write func(msg []byte) error, cut func()) (Sent, error) {
	if st.options.UDP == 0 && (st.Form == Incremental || st.Form == Whole) {
		if err := s.enter(ctx); err != nil {
			return Sent{}, err
		}
		defer func() { <-s.slots }()
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
func (s *Sender) enter(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(SlotWait)
	defer timer.Stop()
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("%w: %d", ErrBusy, cap(s.slots))
	case <-ctx.Done():
		return context.Cause(ctx)
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
