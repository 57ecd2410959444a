package fastpath

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
)

// loop reads one socket.
type loop struct {
	in     *instance
	server *dnsserver.Server
	conn   *net.UDPConn
	lanes  map[dnsname.Name]*work // nil for zones that go through the chain
	only   *work                  // there is no other zone; else nil
	zone   dnsname.Name           // of only
	chain  *chainServer
	meter  loopMeter
	timed  bool // a lane has a meter

	query  wire.Question
	folded [dnsname.MaxLen]byte

	stop atomic.Bool
	done chan struct{}
	once sync.Once
}

// work is a lane as a loop works on it.
type work struct {
	*lane
	respond func(dst []byte, q *wire.Question) []byte
	meter   *meter // nil without the plugin prometheus
	plain   int    // plain queries so far
}

// verdict is what becomes of a packet.
type verdict uint8

const (
	answered verdict = iota // there is a response
	handOn                  // to the chain
	handOnSampled
	dropped
)

// newWork prepares to answer for a server.
func (ls lanes) newWork(s *dnsserver.Server, l *loop) {
	l.lanes = make(map[dnsname.Name]*work, len(ls))
	cache := wire.NewCache()
	for n, lane := range ls {
		if lane == nil {
			l.lanes[n] = nil
			continue
		}
		shape := lane.shape
		shape.Cache = cache
		w := &work{lane: lane, respond: lane.Responder(s, shape), meter: newMeter(s, lane)}
		l.lanes[n] = w
		l.timed = l.timed || w.meter != nil
		if len(ls) == 1 {
			l.only, l.zone = w, n
		}
	}
}

// view gives b as a name without copying; b must not change while it is used.
func view(b []byte) dnsname.Name { return dnsname.Name(unsafe.String(unsafe.SliceData(b), len(b))) }

// find gives the lane of a query, or nil: that of the longest zone of a server
// block that the name is in, as the server has it. DS is for the chain where zones
// lie within each other.
func (l *loop) find(q *wire.Question) *work {
	folded := dnsname.AppendFold(l.folded[:0], q.Name)
	name := view(folded)
	if l.only != nil {
		if name.IsBelow(l.zone) {
			return l.only
		}
		return nil
	}
	if q.Type == dns.TypeDS {
		return nil
	}
	for n := name; ; n = n.Parent() {
		if w, ok := l.lanes[n]; ok || len(n) <= 1 {
			return w
		}
	}
}

// answer appends the response to a packet to dst, if there is one to be given at
// once.
func (l *loop) answer(dst, request []byte) ([]byte, *work, verdict) {
	q := &l.query
	switch wire.ParseQuestion(request, q) {
	case wire.Plain:
	case wire.Drop:
		return nil, nil, dropped
	default:
		return nil, nil, handOn
	}
	w := l.find(q)
	if w == nil || w.slow(q) {
		return nil, nil, handOn
	}
	if w.sample > 0 {
		if w.plain++; w.plain >= w.sample {
			w.plain = 0
			if w.logged {
				return nil, nil, handOn
			}
			return nil, nil, handOnSampled
		}
	}
	response := w.respond(dst, q)
	if response == nil {
		return nil, nil, handOn
	}
	return response, w, answered
}

// run reads the socket until end is called; then the socket is closed.
func (l *loop) run() {
	defer close(l.done)
	l.chain = newChainServer(l.server, l.conn)
	if err := l.read(); err != nil {
		log.Errorf("%s: %v", l.server.Addr, err)
	}
	l.chain.end()
	l.meter.flush()
	_ = l.conn.Close() // it was only read from
}

// end ends the loop and waits for it.
func (l *loop) end() {
	l.stop.Store(true)
	l.once.Do(func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) }) // it fails if the socket is closed, and then nobody waits
	<-l.done
}
