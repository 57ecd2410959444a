package clients

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/miekg/dns"
)

// Clients that make compare-and-swap of TXT records, and look at them.
const (
	casClients = 100
	casOps     = 200 // of each client
	casNames   = 8   // at a time
	casMove    = 50  // operations, then a client goes on with other names: histories stay short enough to be checked
	casCheck   = 15 * time.Second
)

// An op is what a client does: it swaps the value old of a name for another one, tests whether the name has the value
// old by an update that changes nothing, or reads it. The value "" is no record.
type op struct {
	kind     string // "swap", "test" or "read"
	name     string
	old, new string
}

// An outcome is what came of it.
type outcome struct {
	done  bool   // swapped; the test said yes
	value string // that was read
	lost  bool   // no answer: a swap may have been done, or be done later
}

// register is the model of one name.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		names := make(map[string][]porcupine.Operation)
		for _, o := range history {
			name := o.Input.(op).name
			names[name] = append(names[name], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range names {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		is, o, out := state.(string), input.(op), output.(outcome)
		holds := is == o.old
		switch {
		case o.kind == "read":
			return out.lost || out.value == is, is
		case o.kind == "swap" && holds && (out.done || out.lost):
			return true, o.new
		default:
			return out.lost || out.done == holds, is
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

// check tells whether a history is linearizable.
//
// Before it asks porcupine, it narrows the intervals of operations to where the model leaves room for them, which makes the
// search short. No value comes twice, and nothing is what a name has first. So what saw a value comes after the swap that
// set it and before the one that replaced it, and what did not see it comes after that if it cannot come before.
func check(history []porcupine.Operation) porcupine.CheckResult {
	type value struct{ name, value string }
	set, replaced := make(map[value]int), make(map[value]int)
	for i, h := range history {
		if o := h.Input.(op); o.kind == "swap" && h.Output.(outcome).done {
			set[value{o.name, o.new}], replaced[value{o.name, o.old}] = i, i
		}
	}
	history = slices.Clone(history)
	for i := range history { // so that there is room between two moments
		history[i].Call <<= 20
		history[i].Return <<= 20
	}
	follow := func(before, after int) {
		history[after].Call = max(history[after].Call, history[before].Call+1)
		history[before].Return = min(history[before].Return, history[after].Return-1)
	}
	for range 3 { // what is narrowed narrows others
		for i, h := range history {
			o, out := h.Input.(op), h.Output.(outcome)
			saw := value{o.name, o.old}
			if o.kind == "read" {
				saw.value = out.value
			}
			s, isSet := set[saw]
			r, isReplaced := replaced[saw]
			switch {
			case out.lost:
			case o.kind == "read" || out.done: // it saw the value
				if isSet {
					follow(s, i)
				}
				if isReplaced && r != i {
					follow(i, r)
				}
			case isReplaced && (saw.value == "" || isSet && history[i].Call > history[s].Return):
				follow(r, i)
			}
		}
	}
	for _, h := range history {
		if h.Call > h.Return {
			return porcupine.Illegal
		}
	}
	return porcupine.CheckOperationsTimeout(register, history, casCheck)
}

// A casClient is one client.
type casClient struct {
	id      int
	addr    string
	client  dns.Client
	conn    net.Conn
	began   time.Time
	rng     *rand.Rand
	seen    map[string]string // values, as far as the client knows
	last    op
	history []porcupine.Operation
}

func newCASClient(id int, addr string, seed uint64, began time.Time) *casClient {
	network := "udp"
	if id%2 == 1 {
		network = "tcp"
	}
	return &casClient{
		id: id, addr: addr, began: began, rng: rand.New(rand.NewPCG(seed, uint64(id))), seen: make(map[string]string),
		client: dns.Client{Net: network, Timeout: 5 * time.Second, TsigSecret: map[string]string{zoneKey.Name: zoneKey.Secret}},
	}
}

// exchange sends a message and returns the answer; it does not send it again.
func (c *casClient) exchange(m *dns.Msg) (*dns.Msg, error) {
	if c.conn == nil {
		conn, err := c.client.Dial(c.addr)
		if err != nil {
			return nil, err
		}
		c.conn = conn.Conn
	}
	// The library signs the second request of a connection as if it were the second message of the first.
	r, _, err := c.client.ExchangeWithConn(m, &dns.Conn{Conn: c.conn})
	if err != nil {
		err = errors.Join(err, c.conn.Close())
		c.conn = nil // an answer that comes late must not be taken for that to the next message
	}
	return r, err
}

func txt(name, value string) *dns.TXT {
	return &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{value}}
}

// message returns the message that does it.
func (o op) message() *dns.Msg {
	m := new(dns.Msg)
	if o.kind == "read" {
		m.SetQuestion(o.name, dns.TypeTXT)
		m.RecursionDesired = false
		return m
	}
	m.SetUpdate(forward)
	if o.old == "" {
		m.RRsetNotUsed([]dns.RR{txt(o.name, "")})
	} else {
		m.Used([]dns.RR{txt(o.name, o.old)})
	}
	if o.kind == "swap" {
		if o.old != "" {
			m.Remove([]dns.RR{txt(o.name, o.old)})
		}
		if o.new != "" {
			m.Insert([]dns.RR{txt(o.name, o.new)})
		}
	}
	m.SetTsig(zoneKey.Name, dns.Fqdn(zoneKey.Algorithm), 300, time.Now().Unix())
	return m
}

// outcome says what an answer means.
func (o op) outcome(r *dns.Msg) (outcome, error) {
	if o.kind == "read" {
		switch {
		case (r.Rcode == dns.RcodeSuccess || r.Rcode == dns.RcodeNameError) && len(r.Answer) == 0:
			return outcome{}, nil
		case r.Rcode == dns.RcodeSuccess && len(r.Answer) == 1:
			if rr, ok := r.Answer[0].(*dns.TXT); ok {
				return outcome{value: strings.Join(rr.Txt, "")}, nil
			}
		}
		return outcome{}, fmt.Errorf("answer to %+v: %v", o, r)
	}
	no := dns.RcodeNXRrset
	if o.old == "" {
		no = dns.RcodeYXRrset
	}
	switch r.Rcode {
	case dns.RcodeSuccess:
		return outcome{done: true}, nil
	case no:
		return outcome{}, nil
	}
	return outcome{}, fmt.Errorf("answer to %+v: %s", o, dns.RcodeToString[r.Rcode])
}

// choose makes up what to do next, mostly such that it may succeed. Names that have a value keep one: were there times
// without a value that look alike, a history could take for ever to check.
func (c *casClient) choose() op {
	o := op{kind: "read", name: fmt.Sprintf("r%d.%s", len(c.history)/casMove*casNames+c.rng.IntN(casNames), forward)}
	if c.last.kind == "read" {
		o.name = c.last.name
	}
	o.old = c.seen[o.name]
	switch n := c.rng.IntN(20); {
	case c.last.kind != "read" && n < 16:
	case n < 3:
		o.kind = "test"
	default:
		o.kind, o.new = "swap", fmt.Sprintf("%d-%d", c.id, len(c.history))
	}
	return o
}

// run does a number of things, one after the other.
func (c *casClient) run(ops int) (err error) {
	defer func() {
		if c.conn != nil {
			err = errors.Join(err, c.conn.Close())
		}
	}()
	for range ops {
		o := c.choose()
		c.last = o
		m := o.message()
		call := time.Since(c.began)
		r, err := c.exchange(m)
		ret := time.Since(c.began)
		var out outcome
		var network net.Error
		switch {
		case errors.As(err, &network) || errors.Is(err, io.EOF):
			out, ret = outcome{lost: true}, time.Hour
		case err != nil:
			return fmt.Errorf("%+v: %w", o, err)
		default:
			if out, err = o.outcome(r); err != nil {
				return err
			}
		}
		switch {
		case o.kind == "read" && !out.lost:
			c.seen[o.name] = out.value
		case o.kind == "swap" && out.done:
			c.seen[o.name] = o.new
		}
		c.history = append(c.history, porcupine.Operation{ClientId: c.id, Input: o, Output: out, Call: int64(call), Return: int64(ret)})
	}
	return nil
}

// storm lets clients do a number of things each, all at the same time, and returns what they did.
func storm(t *testing.T, addr string, clients, ops int) (history []porcupine.Operation) {
	t.Helper()
	seed := rand.Uint64()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	began := time.Now()
	list := make([]*casClient, clients)
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for i := range list {
		list[i] = newCASClient(i, addr, seed, began)
		wg.Go(func() { errs[i] = list[i].run(ops) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		history = append(history, c.history...)
	}
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	return history
}

// summary counts what was done.
func summary(history []porcupine.Operation) (swaps, failed, others, lost int) {
	for _, o := range history {
		out := o.Output.(outcome)
		switch {
		case out.lost:
			lost++
		case o.Input.(op).kind != "swap":
			others++
		case out.done:
			swaps++
		default:
			failed++
		}
	}
	return swaps, failed, others, lost
}

// Updates are linearizable: what 100 clients see of a few names is what they would see if each update and each query
// were done at one moment between its request and its answer.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	p := start(t)
	began := time.Now()
	history := storm(t, p.Addr.String(), casClients, casOps)
	took := time.Since(began)
	swaps, failed, others, lost := summary(history)
	began = time.Now()
	if got := check(history); got != porcupine.Ok {
		t.Errorf("the history is not linearizable: %s", got)
	}
	t.Logf("linearizable: %d clients of %s, %d swaps, %d that failed, %d tests and reads, %d without answer, in %v; checked in %v",
		casClients, p.Name, swaps, failed, others, lost, took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	if swaps < 100 || failed < 100 || others < 100 || lost > len(history)/100 {
		t.Error("too little to show anything")
	}
	// The zone is as the history leaves it: no name has two values.
	records, serial := p.records(t, forward)
	if n := len(records) - len(seeded[forward]); n > casNames*casOps/casMove {
		t.Errorf("%d records of %d names: %q", n, casNames*casOps/casMove, records)
	}
	if want := uint32(1 + swaps); serial < want || serial > want+uint32(lost) {
		t.Errorf("serial %d after %d changes, and %d without answer", serial, swaps, lost)
	}
}

// The model finds mistakes in a history.
func TestLinearizableCanFail(t *testing.T) {
	operation := func(call, ret int64, o op, out outcome) porcupine.Operation {
		o.name = "r"
		return porcupine.Operation{Input: o, Output: out, Call: call, Return: ret}
	}
	a := operation(0, 10, op{kind: "swap", new: "a"}, outcome{done: true})
	for _, c := range []struct {
		name    string
		want    porcupine.CheckResult
		history []porcupine.Operation
	}{
		{"one after the other", porcupine.Ok, []porcupine.Operation{
			a, operation(20, 30, op{kind: "swap", old: "a", new: "b"}, outcome{done: true}), operation(40, 50, op{kind: "read"}, outcome{value: "b"}),
		}},
		{"seen early", porcupine.Ok, []porcupine.Operation{a, operation(1, 2, op{kind: "read"}, outcome{value: "a"})}},
		{"lost and done", porcupine.Ok, []porcupine.Operation{
			a, operation(20, 1000, op{kind: "swap", old: "a", new: "b"}, outcome{lost: true}), operation(40, 50, op{kind: "test", old: "b"}, outcome{done: true}),
		}},
		{"lost and not done", porcupine.Ok, []porcupine.Operation{
			a, operation(20, 1000, op{kind: "swap", old: "a", new: "b"}, outcome{lost: true}), operation(40, 50, op{kind: "test", old: "b"}, outcome{}),
		}},
		{"old value read", porcupine.Illegal, []porcupine.Operation{a, operation(20, 30, op{kind: "read"}, outcome{})}},
		{"seen and gone", porcupine.Illegal, []porcupine.Operation{
			operation(0, 100, op{kind: "swap", new: "a"}, outcome{done: true}),
			operation(10, 20, op{kind: "read"}, outcome{value: "a"}), operation(30, 40, op{kind: "read"}, outcome{}),
		}},
		{"two swaps of one value", porcupine.Illegal, []porcupine.Operation{
			a, operation(20, 30, op{kind: "swap", old: "a", new: "b"}, outcome{done: true}), operation(20, 30, op{kind: "swap", old: "a", new: "c"}, outcome{done: true}),
		}},
		{"refused although it holds", porcupine.Illegal, []porcupine.Operation{a, operation(20, 30, op{kind: "swap", old: "a", new: "b"}, outcome{})}},
	} {
		if got := check(c.history); got != c.want {
			t.Errorf("%s: %s, not %s", c.name, got, c.want)
		}
	}
}

// A server that looks at prerequisites and changes the zone in two steps is found out.
func TestLinearizableFindsRace(t *testing.T) {
	t.Parallel()
	racy := &racyServer{values: make(map[string]string)}
	addr := racy.start(t)
	history := storm(t, addr, 20, casOps)
	if got := check(history); got != porcupine.Illegal {
		t.Errorf("the history of a server with a race is %s, of %d operations", got, len(history))
	}
}

// A racyServer has TXT records, and forgets them between the prerequisites and the changes of an update.
type racyServer struct {
	mu     sync.Mutex
	values map[string]string
}

// start starts the server on a free port.
func (s *racyServer) start(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	pc, err := net.ListenPacket("udp4", addr)
	for attempt := 1; err != nil; attempt++ {
		if err := l.Close(); err != nil || attempt == 10 {
			t.Fatal("no port that is free for UDP and TCP", err)
		}
		if l, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		addr = l.Addr().String()
		pc, err = net.ListenPacket("udp4", addr)
	}
	for _, server := range []*dns.Server{{Listener: l}, {PacketConn: pc}} {
		server.Handler, server.TsigSecret = s, map[string]string{zoneKey.Name: zoneKey.Secret}
		server.MaxTCPQueries = -1
		server.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		ended := make(chan error, 1)
		go func() { ended <- server.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-ended:
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(server.Shutdown(), <-ended); err != nil {
				t.Error(err)
			}
		})
	}
	return addr
}

func (s *racyServer) get(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[name]
}

func (s *racyServer) set(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[name] = value
}

func (s *racyServer) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(r)
	if r.Opcode == dns.OpcodeUpdate {
		m.Rcode = s.update(r)
		m.SetTsig(zoneKey.Name, dns.Fqdn(zoneKey.Algorithm), 300, time.Now().Unix())
	} else if v := s.get(r.Question[0].Name); v != "" {
		m.Answer = []dns.RR{txt(r.Question[0].Name, v)}
	}
	_ = w.WriteMsg(m) // the client notices
}

func (s *racyServer) update(r *dns.Msg) (rcode int) {
	switch rr := r.Answer[0].(type) {
	case *dns.TXT:
		if is := s.get(rr.Hdr.Name); rr.Hdr.Class == dns.ClassNONE && is != "" {
			return dns.RcodeYXRrset
		} else if rr.Hdr.Class == dns.ClassINET && is != strings.Join(rr.Txt, "") {
			return dns.RcodeNXRrset
		}
	default:
		return dns.RcodeFormatError
	}
	<-time.After(time.Millisecond) // the race
	for _, rr := range r.Ns {
		value := ""
		if rr.Header().Class == dns.ClassINET {
			value = strings.Join(rr.(*dns.TXT).Txt, "")
		}
		s.set(rr.Header().Name, value)
	}
	return dns.RcodeSuccess
}
