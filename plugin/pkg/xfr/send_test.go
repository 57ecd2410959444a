package xfr

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// client is the other end of a connection: it takes each message after a while,
// and none once it is cut off.
type client struct {
	pace    time.Duration
	err     error // of the message after the last it takes
	takes   int   // messages; -1: all
	cut     chan struct{}
	cuts    int
	octets  int64
	written int
}

var errCut = errors.New("connection closed")

func newClient(pace time.Duration, takes int, err error) *client {
	return &client{pace: pace, takes: takes, err: err, cut: make(chan struct{})}
}

func (c *client) write(msg []byte) error {
	if c.written == c.takes {
		if c.err != nil {
			return c.err
		}
		<-c.cut
		return errCut
	}
	select {
	case <-time.After(c.pace):
	case <-c.cut:
		return errCut
	}
	c.written++
	c.octets += int64(len(msg))
	return nil
}

func (c *client) close() {
	c.cuts++
	close(c.cut)
}

// messages makes a stream of so many messages: each but the first and the last has
// one record.
func messages(t testing.TB, n int) *Stream {
	t.Helper()
	var records []string
	for i := range n {
		records = append(records, fmt.Sprintf("t%d TXT %s", i, strings.Repeat(strings.Repeat("x", 250)+" ", 60)))
	}
	return planned(t, axfr(origin), newZone(t, 1, records...), nil, Options{})
}

func count(t testing.TB, st *Stream) (n int, octets int64) {
	t.Helper()
	for msg, err := range st.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		n++
		octets += int64(len(msg))
	}
	return n, octets
}

// TestSend: what is sent, and how a transfer ends that does not get on.
func TestSend(t *testing.T) {
	large := messages(t, 600)
	broken := errors.New("broken pipe")
	all, _ := count(t, large)
	for _, tc := range []struct {
		name    string
		client  *client
		want    error
		sent    int
		elapsed time.Duration
		cuts    int
	}{
		{"a fast client", newClient(0, -1, nil), nil, all, 0, 0},
		{"a slow client that gets on", newClient(11*time.Second, -1, nil), nil, all, time.Duration(all) * 11 * time.Second, 0},
		{"one that takes nothing", newClient(0, 0, nil), ErrStalled, 0, StallTime, 1},
		{"one that takes no more", newClient(time.Second, 7, nil), ErrStalled, 7, 7*time.Second + StallTime, 1},
		{"one that takes too long for a message", newClient(StallTime+1, -1, nil), ErrStalled, 0, StallTime, 1},
		{"one that takes too long in all", newClient(14*time.Second, -1, nil), ErrTooLong, int(MaxTime / (14 * time.Second)), MaxTime, 1},
		{"a connection that breaks", newClient(time.Second, 3, broken), broken, 3, 3 * time.Second, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := tc.client
				c.cut = make(chan struct{})
				start := time.Now()
				sent, err := NewSender(1).Send(t.Context(), netip.Addr{}, large, c.write, c.close)
				if !errors.Is(err, tc.want) || err != nil && tc.want == nil {
					t.Errorf("%v, want %v", err, tc.want)
				}
				if sent.Messages != tc.sent || c.written != tc.sent || sent.Octets != c.octets {
					t.Errorf("sent %+v, the client has %d and %d octets, want %d", sent, c.written, c.octets, tc.sent)
				}
				if got := time.Since(start); got != tc.elapsed || c.cuts != tc.cuts { // the clock is that of the bubble
					t.Errorf("after %v, cut %d times; want %v, %d", got, c.cuts, tc.elapsed, tc.cuts)
				}
			})
		})
	}
}

// held is clients whose transfers go on when hold is closed.
type held struct {
	t      *testing.T
	sender *Sender
	stream *Stream
	hold   chan struct{}
	ended  chan error
	count  int
}

func newHeld(t *testing.T, s *Sender) *held {
	return &held{t: t, sender: s, stream: messages(t, 5), hold: make(chan struct{}), ended: make(chan error)}
}

// begin begins transfers to a client, one after another, and tells how many hold a
// place.
func (h *held) begin(to string, n int) (hold int) {
	h.t.Helper()
	before := h.sender.taken
	for range n {
		h.count++
		go func() {
			write := func([]byte) error { <-h.hold; return nil }
			_, err := h.sender.Send(h.t.Context(), netip.MustParseAddr(to), h.stream, write, func() { h.t.Error("cut") })
			h.ended <- err
		}()
		synctest.Wait()
	}
	return h.sender.taken - before
}

// end lets all get on, and gives their errors.
func (h *held) end() (errs []error) {
	close(h.hold)
	for range h.count {
		errs = append(errs, <-h.ended)
	}
	return errs
}

// empty checks that nothing is kept of those who have ended.
func (h *held) empty() {
	h.t.Helper()
	if h.sender.taken != 0 || len(h.sender.waiting) != 0 || len(h.sender.clients) != 0 {
		h.t.Errorf("left: %d transfers, %d waiting, %d clients", h.sender.taken, len(h.sender.waiting), len(h.sender.clients))
	}
}

// TestSendBound: so many transfers at a time; those that wait too long are told so,
// and what is short needs no place.
func TestSendBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender := NewSender(3)
		h := newHeld(t, sender)
		for _, to := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
			if h.begin(to, 1) != 1 {
				t.Fatalf("no place for %s", to)
			}
		}
		n, _ := count(t, h.stream)
		other := netip.MustParseAddr("192.0.2.4")
		never := func() { t.Error("cut") }
		start := time.Now()
		nothing := func([]byte) error {
			t.Error("a message was written")
			return nil
		}
		if sent, err := sender.Send(t.Context(), other, h.stream, nothing, never); !errors.Is(err, ErrBusy) || sent != (Sent{}) || time.Since(start) != SlotWait {
			t.Errorf("one too many: %+v, %v after %v", sent, err, time.Since(start))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		time.AfterFunc(time.Second, func() { cancel(gone) })
		if _, err := sender.Send(ctx, other, h.stream, nothing, never); !errors.Is(err, gone) {
			t.Errorf("whose client is gone: %v", err)
		}
		past := newHistory(newZone(t, 1, "a A 192.0.2.1", "b A 192.0.2.1", "d A 192.0.2.1"), newZone(t, 2, "a A 192.0.2.1", "c A 192.0.2.1", "d A 192.0.2.1"))
		for serial, form := range map[zone.Serial]Form{2: UpToDate, 1: Incremental} {
			c := newClient(0, -1, nil)
			short := planned(t, ixfr(origin, serial), past.last(), past.changes, Options{UDP: 512})
			if _, err := sender.Send(t.Context(), other, short, c.write, c.close); err != nil || c.written != 1 || short.Form != form {
				t.Errorf("%s over UDP: %v, %d messages", short.Form, err, c.written)
			}
		}
		time.AfterFunc(time.Second, func() { // all get on, and one that waits gets a place
			if err := errors.Join(h.end()...); err != nil {
				t.Error(err)
			}
		})
		c := newClient(0, -1, nil)
		if sent, err := sender.Send(t.Context(), other, h.stream, c.write, c.close); err != nil || sent.Messages != n {
			t.Errorf("afterwards: %+v, %v", sent, err)
		}
		synctest.Wait()
		h.empty()
	})
}

// TestSendShares: a client has a quarter of the places, and of those to wait for one,
// by as many connections and addresses as it likes; the next gets its turn before it.
func TestSendShares(t *testing.T) {
	const places, share = 16, 4
	for _, tc := range []struct {
		name     string
		one, too string // addresses
		same     bool
	}{
		{"an address", "192.0.2.1", "192.0.2.1", true},
		{"an address in its IPv6 form", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"the next address", "192.0.2.1", "192.0.2.2", false},
		{"a network of IPv6", "2001:db8::1", "2001:db8::ffff:2", true},
		{"the next network", "2001:db8::1", "2001:db8:0:1::1", false},
		{"a link", "fe80::1%eth0", "fe80::2%eth1", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHeld(t, NewSender(places))
				if n := h.begin(tc.one, share+1); n != share {
					t.Errorf("%s holds %d places, want %d", tc.one, n, share)
				}
				if n := h.begin(tc.too, 1); (n == 0) != tc.same {
					t.Errorf("beside it %s holds %d", tc.too, n)
				}
				if err := errors.Join(h.end()...); err != nil { // those that wait get a place of those before
					t.Error(err)
				}
				h.empty()
			})
		})
	}
	t.Run("waiting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHeld(t, NewSender(places))
			h.begin("192.0.2.1", share+share*MaxWaiting)
			start := time.Now()
			_, err := h.sender.Send(t.Context(), netip.MustParseAddr("192.0.2.1"), h.stream, func([]byte) error { return nil }, nil)
			if !errors.Is(err, ErrBusy) || time.Since(start) != 0 {
				t.Errorf("one too many that waits: %v after %v", err, time.Since(start))
			}
			for _, to := range []string{"192.0.2.2", "192.0.2.3", "192.0.2.4"} {
				if n := h.begin(to, share+share*MaxWaiting); n != share {
					t.Errorf("%s holds %d places", to, n)
				}
			}
			_, err = h.sender.Send(t.Context(), netip.MustParseAddr("192.0.2.5"), h.stream, func([]byte) error { return nil }, nil)
			if !errors.Is(err, ErrBusy) || time.Since(start) != 0 {
				t.Errorf("one more than may wait: %v after %v", err, time.Since(start))
			}
			if err := errors.Join(h.end()...); err != nil {
				t.Error(err)
			}
			h.empty()
		})
	})
}

// TestSendEnds: when its context ends between two messages, a transfer is cut
// off; before the first there is nothing to cut.
func TestSendEnds(t *testing.T) {
	st := messages(t, 5)
	ctx, cancel := context.WithCancel(t.Context())
	cuts := 0
	sent, err := NewSender(1).Send(ctx, netip.Addr{}, st, func([]byte) error { cancel(); return nil }, func() { cuts++ })
	if !errors.Is(err, context.Canceled) || sent.Messages != 1 || cuts != 1 {
		t.Errorf("%+v, %v, cut %d times", sent, err, cuts)
	}
	sent, err = NewSender(1).Send(ctx, netip.Addr{}, st, func([]byte) error { t.Error("written"); return nil }, func() { cuts++ })
	if !errors.Is(err, context.Canceled) || sent.Messages != 0 || cuts != 1 {
		t.Errorf("%+v, %v, cut %d times", sent, err, cuts)
	}
}

// TestSendLarge: those who pack a large zone end with a transfer that is cut off.
func TestSendLarge(t *testing.T) {
	large := planned(t, axfr("\x03big\x07example\x00"), registry(t, 20_000), nil, Options{})
	synctest.Test(t, func(t *testing.T) {
		c := newClient(0, 30, nil)
		if sent, err := NewSender(1).Send(t.Context(), netip.Addr{}, large, c.write, c.close); !errors.Is(err, ErrStalled) || sent.Messages != 30 || c.cuts != 1 {
			t.Errorf("%+v, %v, cut %d times", sent, err, c.cuts)
		}
	})
}
