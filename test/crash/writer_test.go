package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// errKilled is the error of a request whose answer will never come.
var errKilled = errors.New("the server was killed")

// A link is a connection to the server.
type link struct {
	*dns.Conn
	server *server.Server
	key    *server.Key
	id     uint16 // of the last request
}

// Bounds of a request: how long an answer is waited for, and how often it is sent.
const (
	answerTime = time.Second
	attempts   = 15
)

// connect connects to the server, over "udp" or "tcp".
func connect(s *server.Server, network string, key *server.Key) (*link, error) {
	l := &link{server: s, key: key}
	conn, err := net.DialTimeout(network, s.Addr.String(), patience)
	if err != nil {
		return nil, l.lost(err)
	}
	l.Conn = &dns.Conn{Conn: conn, UDPSize: dns.MaxMsgSize}
	go func() { // over UDP nobody else tells that there will be no answer
		<-s.Ended()
		_ = conn.Close()
	}()
	return l, nil
}

// lost gives errKilled if the server is dead, or will be at once, else the error.
func (l *link) lost(err error) error {
	deadline := time.NewTimer(answerTime)
	defer deadline.Stop()
	select {
	case <-l.server.Ended():
		return errKilled
	case <-deadline.C:
		return fmt.Errorf("the server lives, and does not answer: %w", err)
	}
}

// exchange sends a request, an UPDATE with a signature, and the same octets again if the answer is late.
func (l *link) exchange(m *dns.Msg) (*dns.Msg, error) {
	l.id++
	m.Id = l.id
	var b []byte
	var mac string
	var err error
	if m.Opcode == dns.OpcodeUpdate {
		m.SetTsig(l.key.Name, dns.Fqdn(l.key.Algorithm), 300, time.Now().Unix())
		b, mac, err = dns.TsigGenerate(m, l.key.Secret, "", false)
	} else {
		b, err = m.Pack()
	}
	if err != nil {
		return nil, err
	}
	for range attempts {
		var r *dns.Msg
		if err = l.SetDeadline(time.Now().Add(answerTime)); err == nil {
			if _, err = l.Write(b); err == nil {
				r, err = l.receive(m, mac)
			}
		}
		switch {
		case err == nil:
			return r, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, l.lost(err)
		case l.server.State() != "":
			return nil, errKilled
		}
	}
	return nil, l.lost(err)
}

// receive waits for the answer to a request.
func (l *link) receive(m *dns.Msg, mac string) (*dns.Msg, error) {
	for {
		b, err := l.ReadMsgHeader(nil)
		if err != nil {
			return nil, err
		}
		r := new(dns.Msg)
		if err := r.Unpack(b); err != nil {
			return nil, err
		}
		if r.Id != m.Id { // to one that was sent twice
			continue
		}
		if mac != "" {
			if err := dns.TsigVerify(b, l.key.Secret, mac, false); err != nil {
				return nil, fmt.Errorf("%w in %v", err, r)
			}
		}
		if !r.Response || r.Opcode != m.Opcode {
			return nil, fmt.Errorf("no answer: %v", r.MsgHdr)
		}
		return r, nil
	}
}

// update sends an UPDATE whose response code is known.
func (l *link) update(m *dns.Msg, rcode int) error {
	r, err := l.exchange(m)
	if err == nil && r.Rcode != rcode {
		err = fmt.Errorf("%s, not %s, for\n%v", dns.RcodeToString[r.Rcode], dns.RcodeToString[rcode], m)
	}
	return err
}

// A writer is a client that has names of its own, and changes a few that all have.
type writer struct {
	*storm
	label, network string
	ids            uint16 // where its IDs begin: two who count in the same second must not send the same octets, a replay
	link           *link
	rng            *rand.Rand

	books               // of its names
	present   []dns.RR  // at its names, as sure as books are
	following []dns.RR  // what was asked for after that
	leases    []*leased // at names of their own
	made      int       // records so far, of which no two are the same
}

// run changes things until the server is dead, which is no error.
func (w *writer) run() error {
	var err error
	if w.link, err = connect(w.server, w.network, w.key); err == nil {
		defer w.link.Close()
		w.link.id = w.ids
		for err == nil {
			err = w.act()
		}
	}
	if errors.Is(err, errKilled) {
		return nil
	}
	return fmt.Errorf("%s over %s: %w", w.label, w.network, err)
}

// act makes one change, or a request that must not change anything.
func (w *writer) act() error {
	switch n := w.rng.IntN(100); {
	case n < 20:
		return w.add()
	case n < 32:
		return w.replaceAll()
	case n < 40:
		return w.move()
	case n < 52:
		return w.remove()
	case n < 60:
		return w.nothing()
	case n < 68:
		return w.refused()
	case n < 88:
		return w.lease()
	default:
		return w.count()
	}
}

// owner gives a name of the writer, in its own part of the zone or another.
func (w *writer) owner(first string, part ...string) string {
	labels := slices.Concat([]string{first, w.label}, part, []string{w.client.Zone})
	return strings.Join(labels, ".")
}

// record makes one that was never there.
func (w *writer) record(owner string) dns.RR {
	w.made++
	return txt(owner, fmt.Sprintf("%s %d", w.label, w.made))
}

// txt makes a TXT record.
func txt(owner, text string) dns.RR {
	return &dns.TXT{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{text}}
}

// at gives copies of the records that the writer's names have: a message changes the class of its own.
func (w *writer) at(owners ...string) (rrs []dns.RR) {
	for _, rr := range w.present {
		if slices.Contains(owners, rr.Header().Name) {
			rrs = append(rrs, dns.Copy(rr))
		}
	}
	return rrs
}

// message makes an UPDATE without content.
func (w *writer) message() *dns.Msg {
	m := new(dns.Msg)
	m.SetUpdate(w.client.Zone)
	return m
}

// change sends an UPDATE that replaces records of the writer's names.
func (w *writer) change(m *dns.Msg, removed, added []dns.RR) error {
	var following []dns.RR
	for _, rr := range w.present {
		if !slices.ContainsFunc(removed, func(r dns.RR) bool { return r.String() == rr.String() }) {
			following = append(following, rr)
		}
	}
	for _, rr := range added {
		following = append(following, dns.Copy(rr))
	}
	w.mu.Lock()
	w.following = following
	err := w.ask(append([]dns.RR{w.soa}, following...))
	w.mu.Unlock()
	if err != nil {
		return err
	}
	if err := w.link.update(m, dns.RcodeSuccess); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acknowledged(len(w.asked) - 1)
	w.present = following
	w.changes++
	return nil
}

// Names of a writer: of those that change alone, and of those that always change together.
var (
	single   = []string{"n0", "n1", "n2"}
	together = []string{"t0", "t1", "t2"}
)

// most is how many records a name that changes alone has.
const most = 3

func (w *writer) single() string { return w.owner(single[w.rng.IntN(len(single))]) }

// add adds a record; the RRset is begun anew when it has many.
func (w *writer) add() error {
	owner := w.single()
	m, rr := w.message(), w.record(owner)
	removed := w.at(owner)
	if len(removed) < most {
		removed = nil
	} else {
		m.RemoveRRset([]dns.RR{rr})
	}
	m.Insert([]dns.RR{dns.Copy(rr)})
	return w.change(m, removed, []dns.RR{rr})
}

// replaceAll gives the names that change together new records, on condition that they are as they were.
func (w *writer) replaceAll() error {
	m := w.message()
	var owners []string
	var added []dns.RR
	for _, t := range together {
		owner := w.owner(t)
		owners = append(owners, owner)
		added = append(added, w.record(owner))
	}
	removed := w.at(owners...)
	if len(removed) > 0 {
		m.Used(w.at(owners...))
		m.RemoveRRset(added)
	} else {
		m.NameNotUsed(added)
	}
	if w.rng.IntN(4) == 0 && len(removed) > 0 { // they go
		added = nil
	}
	for _, rr := range added {
		m.Insert([]dns.RR{dns.Copy(rr)})
	}
	return w.change(m, removed, added)
}

// move takes a record from one name to another.
func (w *writer) move() error {
	from, to := w.single(), w.single()
	removed := w.at(from)
	if from == to || len(removed) == 0 || len(w.at(to)) >= most {
		return w.add()
	}
	removed = removed[:1]
	added := []dns.RR{w.record(to)}
	m := w.message()
	m.RRsetUsed(w.at(from))
	m.Insert([]dns.RR{dns.Copy(added[0])})
	m.Remove([]dns.RR{dns.Copy(removed[0])})
	return w.change(m, removed, added)
}

// remove deletes what a name has, in one of the three forms.
func (w *writer) remove() error {
	removed := w.at(w.single())
	if len(removed) == 0 {
		return w.add()
	}
	m := w.message()
	m.NameUsed(removed)
	switch w.rng.IntN(3) {
	case 0:
		m.RemoveName(removed)
	case 1:
		m.RemoveRRset(removed)
	default:
		removed = removed[:1]
		m.Remove([]dns.RR{dns.Copy(removed[0])})
	}
	return w.change(m, removed, nil)
}

// nothing asks for what is so already.
func (w *writer) nothing() error {
	m := w.message()
	m.Insert(w.at(w.single(), w.owner(together[0])))
	m.Remove([]dns.RR{w.record(w.single())})
	m.RemoveName([]dns.RR{w.record(w.owner("nobody"))})
	return w.link.update(m, dns.RcodeSuccess)
}

// refused asks for changes on conditions that are not met.
func (w *writer) refused() error {
	owner := w.single()
	m := w.message()
	rcode := dns.RcodeNXRrset
	if now := w.at(owner); w.rng.IntN(2) == 0 || len(now) == 0 {
		m.Used([]dns.RR{w.record(owner)})
	} else {
		m.NameNotUsed(now)
		rcode = dns.RcodeYXDomain
	}
	m.RemoveName([]dns.RR{w.record(owner), w.record(w.owner(together[1]))})
	m.Insert([]dns.RR{w.record(owner), w.record(w.single())})
	return w.link.update(m, rcode)
}

// mostLeases is how many times leased records a writer has.
const mostLeases = 3

// lease adds records with a lease, renews them, makes them stay or deletes them.
func (w *writer) lease() error {
	now := time.Now()
	w.leases = slices.DeleteFunc(w.leases, func(l *leased) bool { return !l.ends.After(now) })
	p := promise{seconds: []uint32{1, 2, 3600}[w.rng.IntN(3)], since: now}
	var l *leased
	fresh := len(w.leases) < mostLeases && w.rng.IntN(3) > 0 || len(w.leases) == 0
	if fresh {
		l = &leased{rrs: []dns.RR{w.record(w.owner("a", leases)), w.record(w.owner("b", leases))}}
		w.leases = append(w.leases, l)
	} else {
		l = w.leases[w.rng.IntN(len(w.leases))]
		switch n := w.rng.IntN(10); {
		case n < 3:
			p.gone = true
		case n < 4:
			p.seconds = 0
		}
	}
	m := w.message()
	for _, rr := range l.rrs {
		if p.gone {
			m.Remove([]dns.RR{dns.Copy(rr)})
		} else {
			m.Insert([]dns.RR{dns.Copy(rr)})
		}
	}
	if p.seconds > 0 && !p.gone {
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_UL{Code: dns.EDNS0UL, Lease: p.seconds}}
	}
	l.ask(p)
	if err := w.link.update(m, dns.RcodeSuccess); err != nil {
		return err
	}
	l.acknowledge(time.Now())
	if fresh {
		w.mu.Lock()
		w.changes++
		w.mu.Unlock()
	}
	return nil
}

// A counter is a number that all writers count up, each by an UPDATE on condition that nobody was faster. Version n of
// its books has the number n, at two names.
type counter struct {
	label string
	books
	counted map[int]string // by whom, for sure
	lost    map[int]bool   // those that were asked for when the server was killed
}

// records gives those of a number.
func (c *counter) records(zone string, n int) []dns.RR {
	text := fmt.Sprint(n)
	return []dns.RR{txt("c."+c.label+"."+zone, text), txt("m."+c.label+"."+zone, text)}
}

// count counts one of the counters up.
func (w *writer) count() error {
	c := w.counters[w.rng.IntN(len(w.counters))]
	n, err := w.read(c)
	if err != nil {
		return err
	}
	next := c.records(w.client.Zone, n+1)
	w.mu.Lock()
	if len(c.asked) == n+1 {
		err = c.ask(append([]dns.RR{w.soa}, c.records(w.client.Zone, n+1)...))
	}
	w.mu.Unlock()
	if err != nil {
		return err
	}
	m := w.message()
	m.Used(c.records(w.client.Zone, n))
	m.RemoveRRset(next)
	m.Insert(next)
	r, err := w.link.exchange(m)
	if err == nil && r.Rcode == dns.RcodeNXRrset {
		if now, err := w.read(c); err != nil || now > n {
			return err
		}
		return fmt.Errorf("%s was not %d, and is", c.label, n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case errors.Is(err, errKilled):
		c.lost[n+1] = true
		return err
	case err != nil:
		return err
	case r.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("%s for\n%v", dns.RcodeToString[r.Rcode], m)
	case c.counted[n+1] != "":
		return fmt.Errorf("%s counted %s to %d, and %s did too", c.counted[n+1], c.label, n+1, w.label)
	}
	c.counted[n+1] = w.label
	c.acknowledged(n + 1)
	w.changes++
	return nil
}

// read asks for a counter's number. It must not be less than one that was read or acknowledged before the question, nor more than
// one that was asked for before the answer.
func (w *writer) read(c *counter) (int, error) {
	w.mu.Lock()
	least := c.sure
	w.mu.Unlock()
	m := new(dns.Msg)
	m.SetQuestion(c.records(w.client.Zone, 0)[w.rng.IntN(2)].Header().Name, dns.TypeTXT)
	r, err := w.link.exchange(m)
	if err != nil {
		return 0, err
	}
	if len(r.Answer) != 1 {
		return 0, fmt.Errorf("no counter:\n%v", r)
	}
	var n int
	if _, err := fmt.Sscan(strings.Join(r.Answer[0].(*dns.TXT).Txt, ""), &n); err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n < least || n >= len(c.asked) {
		return 0, fmt.Errorf("%s is %d, not from %d to %d", c.label, n, least, len(c.asked)-1)
	}
	c.acknowledged(n)
	return n, nil
}
