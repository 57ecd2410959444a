package xfr

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Target is a secondary that is told of new versions of a zone.
type Target struct {
	Address netip.AddrPort
	Source  netip.Addr // to send from; the zero value lets the system choose
	Key     Key        // the zero value is for none
}

// to gives the address to send to, and that an answer comes from.
func (t *Target) to() netip.AddrPort {
	return netip.AddrPortFrom(t.Address.Addr().Unmap(), t.Address.Port())
}

// Outcome is what became of a NOTIFY that was sent, or could not be.
type Outcome uint8

const (
	// Answered is with NOERROR.
	Answered Outcome = iota
	// Refused is an answer with another response code. It is not tried again.
	Refused
	// Unanswered is no answer in time; it is tried again.
	Unanswered
	// Superseded is no answer before there was a newer version to tell of.
	Superseded
	// Unsent could not be sent; it is tried again.
	Unsent
)

// String gives the word for the outcome that metrics and logs use.
func (o Outcome) String() string {
	switch o {
	case Answered:
		return "answered"
	case Refused:
		return "refused"
	case Unanswered:
		return "unanswered"
	case Superseded:
		return "superseded"
	case Unsent:
		return "unsent"
	default:
		return "unknown"
	}
}

// Result is what became of one NOTIFY.
type Result struct {
	Origin  dnsname.Name
	Target  Target
	Serial  zone.Serial
	Outcome Outcome
	// Rcode is that of the answer, if there was one.
	Rcode int
	// Err says why it was not sent, or what was wrong with what came for an answer. It
	// may be nil.
	Err error
	// Changed is set on the first failure after success and on the first success
	// after failure: those are worth a line in a log.
	Changed bool
}

// timing is when a Notifier does what.
type timing struct {
	delay    time.Duration // from a change to its NOTIFY, to take others along
	interval time.Duration // between two to the same target about the same zone, unless it is tried again
	wait     time.Duration // for an answer; it counts for as long as sent
	retries  []time.Duration
	later    time.Duration // between tries after retries
	rate     int           // a second, in all
	burst    int           // that may go out at once
	inFlight int           // that wait for an answer at a time
}

// usual is the timing of RFC 1996 §3.6 made quicker at the start: more than one
// try in the first minute, and it goes on.
var usual = timing{
	delay: 100 * time.Millisecond, interval: time.Second, wait: 2 * time.Second,
	retries: []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute, time.Minute},
	later:   5 * time.Minute,
	rate:    200, burst: 50, inFlight: 256,
}

// packetConn is what a Notifier needs of a net.UDPConn.
type packetConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (n int, err error)
	Close() error
}

// A Notifier sends NOTIFY messages (RFC 1996) over UDP and sends them again until
// they are answered. It has one goroutine while there are targets, and one socket
// with a goroutine for each source address that it waits for answers at; what it
// holds is one entry for each zone and target. Its methods may be called
// concurrently.
type Notifier struct {
	report func(Result)
	timing timing
	listen func(network string, source netip.Addr) (packetConn, error)
	wake   chan struct{}
	quit   chan struct{}
	wg     sync.WaitGroup

	mu       sync.Mutex
	running  bool
	closed   bool
	zones    map[any]*told
	sockets  map[netip.Addr]*socket // by source address; unspecified, of the family, if that is free
	waiting  schedule
	fresh    []*notice // due, first tries about changes
	bulk     []*notice // due, others: they let three fresh ones pass for each of them
	turn     int
	inFlight int
	tokens   float64 // that may go out now
	counted  time.Time
}

// socket sends from one address.
type socket struct {
	source netip.Addr
	conn   packetConn
	uses   int // notices that are sent from it
	sent   map[sentKey]*notice
}

// sentKey finds the NOTIFY that an answer is for.
type sentKey struct {
	to netip.AddrPort
	id uint16
}

// told is a zone and who is told of it.
type told struct {
	origin  dnsname.Name
	notices map[Target]*notice
}

// notice is what one target is told of one zone.
type notice struct {
	zone   *told
	target Target
	uses   int // calls of Add less those of Remove
	soa    zone.Set
	serial zone.Serial
	state  noticeState
	due    time.Time // of the next step, if the state has one
	place  int       // in the schedule, -1 if not there

	sent    bool // something was, before
	sentAt  time.Time
	tries   int // without an answer
	failing bool
	lastErr error // about what came for an answer
	asked   asked
	socket  *socket // that asked was sent from; nil if no answer is awaited
}

type noticeState uint8

const (
	idle    noticeState = iota // nothing to tell
	waiting                    // until due, to be sent
	ready                      // to be sent as soon as may be
	flying                     // sent; until due, for an answer
	gone                       // nobody wants it
)

// NewNotifier makes a Notifier that gives the result of everything it sends to
// report. That is called by its goroutines and by Notify, concurrently; it must not
// wait for long.
func NewNotifier(report func(Result)) *Notifier { return newNotifier(report, usual, listenUDP) }

func newNotifier(report func(Result), t timing, listen func(string, netip.Addr) (packetConn, error)) *Notifier {
	return &Notifier{
		report: report, timing: t, listen: listen,
		wake: make(chan struct{}, 1), quit: make(chan struct{}),
		zones: make(map[any]*told), sockets: make(map[netip.Addr]*socket), tokens: float64(t.burst), counted: time.Now(),
	}
}

func listenUDP(network string, source netip.Addr) (packetConn, error) {
	return net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0)))
}

// Close ends everything and waits for it. Nothing is sent or reported afterwards.
func (n *Notifier) Close() {
	n.mu.Lock()
	if !n.closed {
		n.closed = true
		close(n.quit)
		for _, s := range n.sockets {
			_ = s.conn.Close() // its reader ends with an error that nobody needs
		}
	}
	n.mu.Unlock()
	n.wg.Wait()
}

// Add makes targets of a zone, which is known by a key of the caller's and has that
// origin. A target that is there already stays what it is, and has to be removed
// once more.
func (n *Notifier) Add(key any, origin dnsname.Name, targets []Target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || len(targets) == 0 {
		return
	}
	z := n.zones[key]
	if z == nil {
		z = &told{origin, make(map[Target]*notice)}
		n.zones[key] = z
	}
	for _, t := range targets {
		a := z.notices[t]
		if a == nil {
			a = &notice{zone: z, target: t, place: -1}
			z.notices[t] = a
		}
		a.uses++
	}
	if !n.running {
		n.running = true
		n.wg.Go(n.run)
	}
}

// Remove takes back what Add did. A target that was added as often as it is
// removed is forgotten, with what it was to be told.
func (n *Notifier) Remove(key any, targets []Target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	z := n.zones[key]
	if z == nil {
		return
	}
	for _, t := range targets {
		a := z.notices[t]
		if a == nil {
			continue
		}
		if a.uses--; a.uses == 0 {
			n.land(a)
			n.schedule(a, gone, time.Time{})
			delete(z.notices, t)
		}
	}
	if len(z.notices) == 0 {
		delete(n.zones, key)
	}
	if len(n.zones) == 0 {
		n.wakeUp() // to end
	}
}

// Notify tells the targets of a zone of the version that has that SOA record. The
// first of several changes goes out soon, the others together a second later, as
// the newest of them.
func (n *Notifier) Notify(key any, soa zone.Set) {
	n.mu.Lock()
	var results []Result
	if z := n.zones[key]; z != nil && !n.closed && soa.Type == rrset.TypeSOA && rrset.Check(soa.Type, soa.First()) == nil {
		now := time.Now()
		for _, a := range z.notices {
			if r, ok := n.announce(a, soa, now); ok {
				results = append(results, r)
			}
		}
		n.wakeUp()
	}
	n.mu.Unlock()
	n.tell(results)
}

// announce takes note of a version to tell of. A result is about what this one
// takes the place of.
func (n *Notifier) announce(a *notice, soa zone.Set, now time.Time) (r Result, ok bool) {
	serial := serialOf(soa)
	first := a.state == waiting && a.tries == 0 || a.state == ready
	if a.state != idle && a.serial == serial && a.soa.Equal(soa.RRset) {
		return Result{}, false // it is on its way
	}
	if a.state == flying {
		r, ok = n.result(a, Superseded, 0, nil), true
	}
	a.soa, a.serial, a.tries, a.lastErr = soa, serial, 0, nil
	n.land(a)
	if first {
		return r, ok
	}
	n.schedule(a, waiting, later(now.Add(n.timing.delay), a.sentAt.Add(n.timing.interval)))
	return r, ok
}

// serialOf gives the serial of a SOA record.
func serialOf(soa zone.Set) zone.Serial {
	r := soa.First()
	return zone.Serial(binary.BigEndian.Uint32([]byte(r[len(r)-20:])))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// result makes a Result of what a was last sent for, and takes note of failure and
// success.
func (n *Notifier) result(a *notice, o Outcome, rcode int, err error) Result {
	r := Result{Origin: a.zone.origin, Target: a.target, Serial: a.serial, Outcome: o, Rcode: rcode, Err: err}
	if failed := o != Answered; o != Superseded && failed != a.failing {
		a.failing, r.Changed = failed, true
	}
	return r
}

func (n *Notifier) tell(results []Result) {
	for _, r := range results {
		n.report(r)
	}
}

// land ends the waiting for an answer.
func (n *Notifier) land(a *notice) {
	if a.state == flying {
		n.inFlight--
		a.state = idle
	}
	if s := a.socket; s != nil {
		delete(s.sent, sentKey{a.target.to(), a.asked.id})
		a.socket = nil
		if s.uses--; s.uses == 0 {
			n.drop(s)
		}
	}
}

// drop closes a socket.
func (n *Notifier) drop(s *socket) {
	if n.sockets[s.source] == s {
		delete(n.sockets, s.source)
	}
	_ = s.conn.Close() // its reader ends with an error that nobody needs
}

// schedule gives a notice another state, which ends when due unless that is zero.
func (n *Notifier) schedule(a *notice, state noticeState, due time.Time) {
	a.state, a.due = state, due
	switch {
	case due.IsZero() && a.place >= 0:
		heap.Remove(&n.waiting, a.place)
	case due.IsZero():
	case a.place >= 0:
		heap.Fix(&n.waiting, a.place)
	default:
		heap.Push(&n.waiting, a)
	}
}

func (n *Notifier) wakeUp() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run sends what is due until there are no targets, or Close.
func (n *Notifier) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		results, out, wait := n.step(time.Now())
		n.tell(results)
		if wait < 0 {
			return
		}
		if out != nil {
			if _, err := out.conn.WriteToUDPAddrPort(out.msg, out.to); err != nil {
				n.tell(n.unsent(out, err))
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-n.wake:
		case <-n.quit:
			return
		}
	}
}

// parcel is a message that is to be written.
type parcel struct {
	notice *notice
	conn   packetConn
	to     netip.AddrPort
	msg    []byte
	id     uint16
}

// idleTime is how long run sleeps when there is nothing to do.
const idleTime = time.Hour

// step does what is due: at most one message is to be written, else wait says how
// long there is nothing to do; less than 0 is for ever.
func (n *Notifier) step(now time.Time) (results []Result, out *parcel, wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || len(n.zones) == 0 {
		n.running = false
		return nil, nil, -1
	}
	for len(n.waiting) > 0 && !n.waiting[0].due.After(now) {
		a := n.waiting[0]
		if a.state == flying {
			results = append(results, n.result(a, Unanswered, 0, a.lastErr))
			n.inFlight--
			n.schedule(a, waiting, a.sentAt.Add(n.timing.pause(a.tries)))
			continue
		}
		n.schedule(a, ready, time.Time{})
		if a.sent && a.tries == 0 {
			n.fresh = append(n.fresh, a)
		} else {
			n.bulk = append(n.bulk, a)
		}
	}
	n.tokens = min(n.tokens+now.Sub(n.counted).Seconds()*float64(n.timing.rate), float64(n.timing.burst))
	n.counted = now
	wait = idleTime
	for n.inFlight < n.timing.inFlight {
		if n.tokens < 1 && len(n.fresh)+len(n.bulk) > 0 {
			wait = time.Second / time.Duration(n.timing.rate)
			break
		}
		a := n.pop()
		if a == nil {
			break
		}
		n.tokens--
		var err error
		if out, err = n.prepare(a, now); err == nil {
			break
		}
		results = append(results, n.result(a, Unsent, 0, err))
		n.schedule(a, waiting, now.Add(n.timing.pause(a.tries)))
	}
	if len(n.waiting) > 0 {
		wait = min(wait, max(0, n.waiting[0].due.Sub(now)))
	}
	return results, out, wait
}

// pause gives the time from the so many-th try to the next.
func (t *timing) pause(tries int) time.Duration {
	if tries <= len(t.retries) {
		return t.retries[tries-1]
	}
	return t.later
}

// pop takes the notice that is to be sent next, or nil.
func (n *Notifier) pop() *notice {
	for len(n.fresh)+len(n.bulk) > 0 {
		q := &n.fresh
		if n.turn++; len(n.fresh) == 0 || n.turn%4 == 0 && len(n.bulk) > 0 {
			q = &n.bulk
		}
		a := (*q)[0]
		(*q)[0] = nil
		*q = (*q)[1:]
		if a.state == ready {
			return a
		}
	}
	return nil
}

// prepare makes the message of a notice, which is flying afterwards.
func (n *Notifier) prepare(a *notice, now time.Time) (*parcel, error) {
	n.land(a)
	a.sent, a.lastErr = true, nil
	a.tries++
	a.sentAt = now
	s, err := n.socketFor(a.target)
	if err != nil {
		return nil, err
	}
	key := sentKey{a.target.to(), uint16(rand.Uint32())}
	for s.sent[key] != nil {
		key.id++
	}
	msg, mac, err := packNotify(key.id, a.zone.origin, &a.soa, &a.target.Key, now)
	if err != nil {
		if s.uses == 0 {
			n.drop(s)
		}
		return nil, fmt.Errorf("NOTIFY cannot be made: %w", err)
	}
	a.asked = asked{key.id, a.zone.origin, a.target.Key, mac}
	a.socket = s
	s.uses++
	s.sent[key] = a
	n.inFlight++
	n.schedule(a, flying, now.Add(n.timing.wait))
	return &parcel{a, s.conn, key.to, msg, key.id}, nil
}

// unsent takes note that a message could not be written.
func (n *Notifier) unsent(out *parcel, err error) []Result {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := out.notice
	if n.closed || a.state != flying || a.asked.id != out.id {
		return nil // it is about something else now
	}
	n.land(a)
	n.schedule(a, waiting, a.sentAt.Add(n.timing.pause(a.tries)))
	return []Result{n.result(a, Unsent, 0, err)}
}

// socketFor gives the socket to send to a target from.
func (n *Notifier) socketFor(t Target) (*socket, error) {
	network, source := "udp4", t.Source.Unmap()
	if t.to().Addr().Is6() {
		network = "udp6"
	}
	if !source.IsValid() {
		if source = netip.IPv4Unspecified(); network == "udp6" {
			source = netip.IPv6Unspecified()
		}
	}
	if s := n.sockets[source]; s != nil {
		return s, nil
	}
	conn, err := n.listen(network, source)
	if err != nil {
		return nil, err
	}
	s := &socket{source: source, conn: conn, sent: make(map[sentKey]*notice)}
	n.sockets[source] = s
	n.wg.Go(func() { n.read(s) })
	return s, nil
}

// maxReply is the greatest size of an answer that is looked at, in octets.
const maxReply = 4096

// read takes the answers to what was sent from a socket until it is closed.
func (n *Notifier) read(s *socket) {
	buf := make([]byte, maxReply)
	for {
		size, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // what comes next uses another socket
			n.mu.Lock()
			n.drop(s)
			n.mu.Unlock()
			return
		}
		if r, ok := n.answer(s, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), buf[:size]); ok {
			n.report(r)
			n.wakeUp() // there is room for another
		}
	}
}

// answer takes what came from an address for the answer of a target, if it is.
func (n *Notifier) answer(s *socket, from netip.AddrPort, msg []byte) (r Result, ok bool) {
	if len(msg) < 12 {
		return Result{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	a := s.sent[sentKey{from, uint16(msg[0])<<8 | uint16(msg[1])}]
	if n.closed || a == nil {
		return Result{}, false
	}
	rcode, err := parseReply(msg, &a.asked)
	if err != nil {
		a.lastErr = err
		return Result{}, false
	}
	n.land(a)
	n.schedule(a, idle, time.Time{})
	a.tries = 0
	outcome := Answered
	if rcode != dns.RcodeSuccess {
		outcome = Refused
	}
	return n.result(a, outcome, rcode, nil), true
}

// schedule is a heap of notices by when they are due.
type schedule []*notice

// Len, Less, Swap, Push and Pop are for package heap.
func (s schedule) Len() int { return len(s) }

// Less has those first that are due first.
func (s schedule) Less(i, j int) bool { return s[i].due.Before(s[j].due) }

// Swap keeps the places of notices.
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}

// Push adds a *notice.
func (s *schedule) Push(x any) {
	a := x.(*notice)
	a.place = len(*s)
	*s = append(*s, a)
}

// Pop takes the last.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	a := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	a.place = -1
	return a
}
