package update

import (
	"sync"
	"time"

	"github.com/miekg/dns"
)

// signature is that of a request. Its zero value is none, or one that is not
// known, as with stock tsig.
type signature struct {
	mac    string // in octets
	signed uint64 // seconds since 1970
	fudge  uint16 // seconds
}

// maxRemembered is how many signatures are remembered.
const maxRemembered = 1 << 16

// replays remembers for the whole process, so that a reload forgets nothing.
var replays = memory{known: make(map[mac]*seen), size: maxRemembered}

// memory knows the signatures of the requests that may come again: those that are
// still good (RFC 8945 §10). It holds so many at the most. When it is full the
// oldest goes, and from then on what was signed no later than that one, and is not
// known, is refused, as it might be a replay.
type memory struct {
	mu    sync.Mutex
	known map[mac]*seen
	queue []*seen // in the order in which they came
	size  int
	lost  uint64 // the latest time at which one that was forgotten too early was signed
}

// mac is the beginning of a MAC. Nobody makes two that agree in it.
type mac [16]byte

// seen is a request that has come.
type seen struct {
	mac    mac
	signed uint64
	until  uint64        // when the signature is no longer good
	done   chan struct{} // closed when out is set
	out    outcome
}

// once does the work of a request that was not there yet. For one that was it
// gives what came of it: a copy changes nothing, and a client that has missed the
// response gets it.
func (m *memory) once(s signature, now time.Time, work func() outcome) outcome {
	if s.mac == "" {
		return work()
	}
	e, first := m.enter(s, uint64(now.Unix()))
	switch {
	case e == nil:
		return outcome{err: deny("stale", "signed too long ago for the present load: sign it again")}
	case !first:
		<-e.done
		replaysTotal.Inc()
		out := e.out
		out.replay = true
		return out
	}
	defer close(e.done)
	e.out = work()
	if rcode, _, _ := e.out.rcode(); rcode == dns.RcodeServerFailure {
		m.forget(e) // the client may try again
	}
	return e.out
}

// enter gives the request with that signature, and whether it is the first. It
// gives nil if that is not known.
func (m *memory) enter(s signature, now uint64) (e *seen, first bool) {
	e = &seen{signed: s.signed, until: s.signed + uint64(s.fudge), done: make(chan struct{})}
	copy(e.mac[:], s.mac)
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.known[e.mac]; ok {
		return old, false
	}
	if s.signed <= m.lost {
		return nil, false
	}
	for len(m.queue) > 0 && (len(m.queue) >= m.size || m.queue[0].until < now) {
		oldest := m.queue[0]
		m.queue[0] = nil
		m.queue = m.queue[1:]
		if m.known[oldest.mac] != oldest {
			continue
		}
		delete(m.known, oldest.mac)
		if oldest.until >= now {
			m.lost = max(m.lost, oldest.signed)
		}
	}
	m.known[e.mac] = e
	m.queue = append(m.queue, e)
	return e, true
}

func (m *memory) forget(e *seen) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, e.mac)
}
