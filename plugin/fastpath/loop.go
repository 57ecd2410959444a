package fastpath

import (
	"errors"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
	"unsafe"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/metrics/vars"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/udp"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
)

// loop reads one socket.
type loop struct {
	in      *instance
	server  *dnsserver.Server
	conn    *net.UDPConn
	socket  *udp.Socket
	lanes   map[dnsname.Name]*work // nil for zones that go through the chain
	only    *work                  // there is no other zone; else nil
	zone    dnsname.Name           // of only
	opcodes map[int]struct{}       // that plugins have asked for
	chain   *chainServer
	meter   loopMeter
	foreign *series // of queries about zones of no server block; nil before the first

	slow []packet // for the chain, at most maxWaiting

	query  wire.Question
	folded [dnsname.MaxLen]byte
	name   dnsname.Name // of the query, in folded

	// Of the batch; answers that are not counted are not among them.
	answers int
	batches int                    // since the metrics were brought up to date
	now     time.Time              // when it was needed first
	series  [udp.BatchSize]*series // of the answers

	done chan struct{}
}

// flushAfter is how many batches are counted before the metrics are brought up to
// date under load.
const flushAfter = 256

// newLoop prepares to serve a socket.
func newLoop(in *instance, s *dnsserver.Server, conn *net.UDPConn, ls lanes) (*loop, error) {
	opcodes, err := opcodesOf(s)
	if err != nil {
		return nil, err
	}
	socket, err := udp.Open(conn)
	if err != nil {
		return nil, err
	}
	l := &loop{in: in, server: s, conn: conn, socket: socket, opcodes: opcodes, meter: newLoopMeter(s.Addr), done: make(chan struct{})}
	ls.newWork(s, l)
	return l, nil
}

// work is a lane as a loop works on it.
type work struct {
	*lane
	wire.Responder
	guard *guard // nil without limits and cookies
	meter *meter // nil without the plugin prometheus
	plain int    // plain queries so far
}

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
		w := &work{lane: lane, Responder: lane.Responder(s, shape), guard: newGuard(lane.chain, s), meter: newMeter(s, lane)}
		l.lanes[n] = w
		if len(ls) == 1 {
			l.only, l.zone = w, n
		}
	}
}

// view gives b as a name without copying; b must not change while it is used.
func view(b []byte) dnsname.Name { return dnsname.Name(unsafe.String(unsafe.SliceData(b), len(b))) }

// find gives the lane of a query, or nil for the chain: that of the longest zone of
// a server block that the name is in, as the server has it. DS is for the chain
// where zones lie within each other. known is false if there is no such zone.
func (l *loop) find(q *wire.Question) (w *work, known bool) {
	name := view(dnsname.AppendFold(l.folded[:0], q.Name))
	l.name = name
	if l.only != nil {
		if name.IsBelow(l.zone) {
			return l.only, true
		}
		return nil, false
	}
	for n := name; ; n = n.Parent() {
		if w, known = l.lanes[n]; known || len(n) <= 1 {
			break
		}
	}
	if q.Type == dns.TypeDS {
		w = nil
	}
	return w, known
}

// Answer implements udp.Handler. As in the chain, a panic costs one response.
func (l *loop) Answer(dst []byte, p *udp.Packet) (response []byte) {
	defer func() {
		if r := recover(); r != nil {
			vars.Panic.Inc()
			log.Errorf("%s: recovered from a panic: %v\n%s", l.server.Addr, r, debug.Stack())
			response = nil
		}
	}()
	return l.answer(dst, p)
}

func (l *loop) answer(dst []byte, p *udp.Packet) []byte {
	q := &l.query
	switch wire.ParseQuestion(p.Data, q) {
	case wire.Plain:
	case wire.Drop:
		l.meter.dropped++
		return nil
	default:
		l.handOn(p, false)
		return nil
	}
	way, s, response := l.respond(dst, q, p)
	if way != atOnce {
		l.handOn(p, way == sampled)
		return nil
	}
	l.meter.fast++
	if s != nil {
		s.count(q, p.IsIPv6(), p.Data, response)
		l.time()
		l.series[l.answers] = s
		l.answers++
	}
	return response
}

// time gives when the first query of the batch was answered.
func (l *loop) time() time.Time {
	if l.now.IsZero() {
		l.now = time.Now()
	}
	return l.now
}

// way is how a query is answered.
type way uint8

const (
	atOnce  way = iota // or dropped
	chained            // by the chain
	sampled            // by the chain, and logged
)

// respond deals with a plain query. If it is answered at once, it appends the response
// to dst, nil if there is none, and tells where it is counted, nil for nowhere.
func (l *loop) respond(dst []byte, q *wire.Question, p *udp.Packet) (how way, s *series, response []byte) {
	w, known := l.find(q)
	if !known {
		return l.refuse(dst, q)
	}
	if w == nil || w.slow(q) {
		return chained, nil, nil
	}
	if w.sample > 0 {
		if w.plain++; w.plain >= w.sample {
			w.plain = 0
			if w.logged {
				return chained, nil, nil
			}
			return sampled, nil, nil
		}
	}
	if w.limit > 0 {
		q.UDPSize = min(q.UDPSize, w.limit)
	}
	if !w.Takes(q) {
		return chained, nil, nil
	}
	if w.guard == nil {
		response, _ = w.Append(dst, q, nil)
	} else {
		response = w.guard.respond(dst, q, l.name, p.Addr(), len(p.Data), l.time(), w)
	}
	if w.meter != nil {
		s = w.meter.of(q)
	}
	return atOnce, s, response
}

// refuse responds to a query about a zone of no server block as the server does, but
// for those whose EDNS flags it would repeat.
func (l *loop) refuse(dst []byte, q *wire.Question) (how way, s *series, response []byte) {
	if q.CO || q.Reserved {
		return chained, nil, nil
	}
	if l.foreign == nil {
		l.foreign = newSeries(l.server.Addr, vars.Dropped, "")
	}
	return atOnce, l.foreign, wire.AppendError(dst, q, dns.RcodeRefused, nil)
}

// Sent implements udp.Handler.
func (l *loop) Sent(int) {
	if l.answers > 0 {
		took := time.Since(l.now).Seconds()
		for _, s := range l.series[:l.answers] {
			s.duration.Observe(took)
		}
		l.answers = 0
	}
	l.now = time.Time{}
	if l.batches++; l.batches >= flushAfter {
		l.batches = 0
		l.meter.flush()
	}
}

// Turn implements udp.Handler: one packet goes to the chain at a time, so that what
// the chain does with many keeps no query waiting.
func (l *loop) Turn() bool {
	if len(l.slow) == 0 {
		return false
	}
	select {
	case l.chain.conn.waiting <- l.slow[0]:
		l.slow[0] = packet{}
		l.slow = l.slow[1:]
	case <-l.chain.ended: // by an error that was logged
		l.meter.overflow += len(l.slow)
		l.slow = nil
	default:
	}
	return len(l.slow) > 0
}

// Idle implements udp.Handler.
func (l *loop) Idle() { l.meter.flush() }

// handOn has a packet go to the chain.
func (l *loop) handOn(p *udp.Packet, sampled bool) {
	if len(l.slow) == maxWaiting {
		l.meter.overflow++
		return
	}
	l.meter.chain++
	l.slow = append(l.slow, packet{slices.Clone(p.Data), &sender{p.From(), slices.Clone(p.Control()), sampled}})
}

// run serves the socket until end is called; then the socket is closed.
func (l *loop) run() {
	defer close(l.done)
	l.chain = newChainServer(l.server, l.conn, l.opcodes)
	err := l.socket.Serve(l)
	if !l.inherited() {
		err = errors.Join(err, l.socket.Leave(l))
	}
	for until := time.Now().Add(shutdownTime); l.Turn() && time.Now().Before(until); {
		runtime.Gosched()
	}
	l.meter.overflow += len(l.slow)
	if err != nil {
		log.Errorf("%s: %v", l.server.Addr, err)
	}
	l.chain.end()
	l.meter.flush()
	_ = l.conn.Close() // it was only read from
}

// inherited tells whether another instance reads the same socket. Then what has
// come to it is for that one.
func (l *loop) inherited() bool {
	for conn := range l.in.successors() {
		if udp.Same(conn, l.conn) {
			return true
		}
	}
	return false
}
