package update

import (
	"errors"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// signature is that of a request. Its zero value is none, or one that is not
// known, as with stock tsig.
type signature struct {
	key    dnsname.Name
	mac    string // in octets
	signed uint64 // seconds since 1970
	fudge  uint16 // seconds
}

// maxRemembered is how many signatures are remembered.
const maxRemembered = 1 << 16

// replays remembers for the whole process, so that a reload forgets nothing.
var replays = newMemory(maxRemembered)

// memory knows the signatures of the requests that may come again: those that are
// still good (RFC 8945 §10). It holds so many at the most, besides those that are
// being worked on. When it is full the oldest goes, and from then on what the same
// key has signed no later than that one, and is not known, is refused, as it might
// be a replay. Other keys do not suffer from one whose clock is ahead.
//
// What is settled is kept without pointers, as there is much of it.
type memory struct {
	mu      sync.Mutex
	size    int
	working map[mac]*working
	known   map[mac]uint32 // places in ring
	ring    []settled      // in the order in which they were settled
	first   int            // the oldest
	count   int
	errs    map[uint32]error // of those in ring that failed, by place
	keys    map[dnsname.Name]uint32
	lost    []uint64 // by key, the latest time at which one that was forgotten too early was signed
}

func newMemory(size int) *memory {
	return &memory{
		size: size, working: make(map[mac]*working), known: make(map[mac]uint32),
		errs: make(map[uint32]error), keys: make(map[dnsname.Name]uint32),
	}
}

// mac is the beginning of a MAC. Nobody makes two that agree in it.
type mac [16]byte

// working is a request in hand.
type working struct {
	done chan struct{} // closed when out is set
	out  outcome
}

// settled is a request that has its answer.
type settled struct {
	mac     mac
	signed  uint64
	until   uint64 // when the signature is no longer good
	key     uint32
	serial  zone.Serial
	lease   granted
	leased  bool
	changed bool
}

// errUnfinished is what comes of a request whose work ended in a panic.
var errUnfinished = errors.New("not decided")

// once does the work of a request that was not there yet. For one that was it
// gives what came of it: a copy changes nothing, and a client that has missed the
// response gets it.
func (m *memory) once(s signature, now time.Time, work func() outcome) outcome {
	if s.mac == "" {
		return work()
	}
	var id mac
	copy(id[:], s.mac)
	out, w, first := m.enter(id, &s)
	switch {
	case w == nil:
		return out
	case !first:
		<-w.done
		out = w.out
		out.replay = true
		replaysTotal.Inc()
		return out
	}
	w.out.err = errUnfinished
	defer func() {
		m.settle(id, &s, uint64(now.Unix()), &w.out)
		close(w.done)
	}()
	w.out = work()
	return w.out
}

// enter gives the work on the request with that signature, and whether it is the
// caller's to do. If there is none, it gives what has come of the request.
func (m *memory) enter(id mac, s *signature) (out outcome, w *working, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.working[id]; w != nil {
		return outcome{}, w, false
	}
	if at, ok := m.known[id]; ok {
		replaysTotal.Inc()
		r := &m.ring[at]
		return outcome{err: m.errs[at], serial: r.serial, changed: r.changed, lease: r.lease, leased: r.leased, replay: true}, nil, false
	}
	if s.signed <= m.lost[m.key(s.key)] {
		return outcome{err: deny("stale", "signed too long ago for the present load: sign it again")}, nil, false
	}
	w = &working{done: make(chan struct{})}
	m.working[id] = w
	return outcome{}, w, true
}

// key gives the number of a key; m.mu is held.
func (m *memory) key(name dnsname.Name) uint32 {
	n, ok := m.keys[name]
	if !ok {
		n = uint32(len(m.lost))
		m.keys[name] = n
		m.lost = append(m.lost, 0)
	}
	return n
}

// settle remembers what came of a request, unless the client may try again.
func (m *memory) settle(id mac, s *signature, now uint64, out *outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.working, id)
	if rcode, _, _ := out.rcode(); rcode == dns.RcodeServerFailure {
		return
	}
	for m.count > 0 && (m.count == m.size || m.ring[m.first].until < now) {
		oldest := &m.ring[m.first]
		delete(m.known, oldest.mac)
		delete(m.errs, uint32(m.first))
		if oldest.until >= now {
			m.lost[oldest.key] = max(m.lost[oldest.key], oldest.signed)
		}
		m.first = (m.first + 1) % m.size
		m.count--
	}
	if m.ring == nil {
		m.ring = make([]settled, m.size)
	}
	at := (m.first + m.count) % m.size
	m.count++
	m.ring[at] = settled{id, s.signed, s.signed + uint64(s.fudge), m.key(s.key), out.serial, out.lease, out.leased, out.changed}
	m.known[id] = uint32(at)
	if out.err != nil {
		m.errs[uint32(at)] = out.err
	}
}
